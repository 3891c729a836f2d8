"""A page for every case: what is on it, what is missing on it, where its lesions lie, and what is not drawn again."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from mets3d.data import quiet
from mets3d.reporting import report
from mets3d.reporting.case_order import ranked_cases
from mets3d.reporting.case_pages import file_names, write_case_pages
from mets3d.reporting.lesion_lines import PLACE
from mets3d.reporting.read_run import read_runs
from mets3d.reporting.sections.chosen_cases import chosen_cases
from mets3d.rundir import ReportDir

pytestmark = pytest.mark.usefixtures("empty_curves", "no_pictures")

LABEL_SCALE = 32


@pytest.fixture
def no_pictures(monkeypatch):
    """Those of the index have their own tests."""
    monkeypatch.setattr("mets3d.reporting.page.case_pictures", lambda records, figures, progress: None)


def viewer_data(page: Path) -> dict:
    html = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'class="case-data">(.*?)</script>', html, re.DOTALL).group(1))


def decoded(data: dict, name: str) -> np.ndarray:
    """A layer as an array [X, Y, Z], read as a browser does: tile by tile."""
    layer = next(layer for layer in data["layers"] if layer["name"] == name)
    mosaic = np.asarray(Image.open(io.BytesIO(base64.b64decode(layer["source"]))))
    nx, ny, nz = data["shape"]
    out = np.zeros((nx, ny, nz), np.uint8)
    for z in range(nz):
        top, left = ny * (z // data["columns"]), nx * (z % data["columns"])
        for y in range(ny):
            for x in range(nx):
                out[x, y, z] = mosaic[top + y, left + x]
    return out


def voxel_of(data: dict, mm: list[float]) -> tuple[int, ...]:
    affine = np.vstack([data["affine"], [0, 0, 0, 1]])
    return tuple(np.rint(np.linalg.solve(affine, [*mm, 1])[:3]).astype(int))


def lesion_table(run: Path, case: str, places: dict[int, np.ndarray]) -> None:
    with (run / "lesions.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "region", "rules", "lesion", "kind", "reference_volume_mm3", "dice", *PLACE, "i"])
        for number, mm in places.items():
            writer.writerow([case, "ET", "brats2023", number, "found", 5.0, 0.5, *mm, 0])


def test_a_case_has_one_rank_wherever_it_is_said_and_none_without_a_score(make_run, scores_of, tmp_path):
    scores = scores_of(tuple("ABCD"), 0)
    for region in ("WT", "TC", "ET"):
        scores["B", region]["lesion_wise_dice"] = ""
    records = read_runs([make_run(cases=tuple("ABCD"), scores=scores)])
    ranked = sorted("ACD", key=lambda case: sum(scores[case, name]["lesion_wise_dice"] for name in ("WT", "TC", "ET")))
    write_case_pages(records, ReportDir(tmp_path), ReportDir(tmp_path / "none"), jobs=1, progress=quiet)
    pages = {case: (tmp_path / "cases" / f"{case}.html").read_text(encoding="utf-8") for case in "ABCD"}
    for place, case in enumerate(ranked, 1):
        assert f"Case {place} of 3, worst first." in pages[case]
    assert "Without a rank: Lesion-wise Dice has no value here." in pages["B"]
    chosen = dict(chosen_cases(ranked_cases(records), [*"ABCD"]))
    assert chosen == {ranked[0]: "worst", ranked[1]: "case 2 of 3, median", ranked[2]: "best", "B": ""}


def test_every_held_out_case_has_a_page_with_its_neighbours(make_run, data_set, scores_of, read_page, tmp_path):
    cases = ("A", "B", "C")
    scores = scores_of(cases, 0)
    run = make_run(cases=cases, data=data_set(cases), scores=scores)
    index = report([run], tmp_path / "out")
    mean = {
        case: np.mean([scores[case, region]["lesion_wise_dice"] for region in ("WT", "TC", "ET")]) for case in cases
    }
    order = sorted(cases, key=mean.__getitem__)
    for place, case in enumerate(order):
        html = (index.parent / "cases" / f"{case}.html").read_text(encoding="utf-8")
        steps = re.findall(r'<a rel="(\w+)" href="(\w+)\.html"', html)
        assert steps == [("prev", name) for name in order[max(0, place - 1) : place]] + [
            ("next", name) for name in order[place + 1 : place + 2]
        ]
        assert 'href="../index.html#cases"' in html
        page = read_page(index.parent / "cases" / f"{case}.html")
        row = next(rows for rows in page.tables.values() if rows[0][0] == "Region")[1]
        assert row[:2] == ["WT", f"{scores[case, 'WT']['lesion_wise_dice']:.3f}"]
    data = viewer_data(index.parent / "cases" / "A.html")
    assert [layer["name"] for layer in data["layers"]] == ["t1c", "t2f", "Reference", "Prediction"]


def test_the_layers_are_the_files_voxel_by_voxel(make_run, data_set, scores_of, tmp_path):
    run = make_run(cases=("A",), data=data_set(("A",)), scores=scores_of(("A",), 0))
    index = report([run], tmp_path / "out")
    data = viewer_data(index.parent / "cases" / "A.html")
    box = tuple(slice(first, first + size) for first, size in zip(data["first"], data["shape"], strict=True))
    for name, file in (
        ("Reference", tmp_path / "data" / "A" / "A-seg.nii.gz"),
        ("Prediction", run / "predictions" / "A.nii.gz"),
    ):
        labels = np.asarray(nibabel.load(file).dataobj)
        assert (decoded(data, name) == LABEL_SCALE * labels[box]).all()
        assert (labels[box] > 0).sum() == (labels > 0).sum(), "nothing is cropped away"
    image = np.asarray(nibabel.load(tmp_path / "data" / "A" / "A-t1c.nii.gz").dataobj)[box]
    shown = decoded(data, "t1c").astype(float)
    assert np.corrcoef(shown[image > 0], image[image > 0])[0, 1] > 0.98
    assert np.percentile(shown[image == 0], 99) <= 12, "black around the brain but for what JPEG leaves"


@pytest.mark.parametrize("orientation", ["LAS", "PIR"])
def test_a_lesion_lies_where_the_scanner_saw_it(make_run, data_set, scores_of, tmp_path, orientation):
    """An oblique scan whose axes are stored in another order: the table's millimetres are its voxels' in the viewer."""
    folder = data_set(("A",)) / "A"
    turned = oblique(folder, orientation)
    predictions = make_run(cases=("A",), data=tmp_path / "data", scores=scores_of(("A",), 0)) / "predictions"
    labels = np.asarray(turned.dataobj)
    spots = np.argwhere(labels == 3)[[0, 20, -1]]
    lesion_table(
        predictions.parent,
        "A",
        {number: nibabel.affines.apply_affine(turned.affine, spot) for number, spot in enumerate(spots, 1)},
    )
    index = report([predictions.parent], tmp_path / "out")
    html = (index.parent / "cases" / "A.html").read_text(encoding="utf-8")
    data = viewer_data(index.parent / "cases" / "A.html")
    reference = decoded(data, "Reference")
    places = [[float(part) for part in found.split()] for found in re.findall(r'data-mm="([^"]+)"', html)]
    assert len(places) == len(spots)
    voxels = {voxel_of(data, mm) for mm in places}
    assert len(voxels) == len(spots)
    assert all(reference[voxel] == 3 * LABEL_SCALE for voxel in voxels)
    # A voxel's value is that of the file at the same millimetres.
    for spot in np.add(spots, [0, 0, 1]):
        assert (
            reference[voxel_of(data, nibabel.affines.apply_affine(turned.affine, spot))]
            == LABEL_SCALE * labels[tuple(spot)]
        )


def oblique(folder: Path, orientation: str) -> nibabel.Nifti1Image:
    """Writes the case's files anew, turned by 20 and 10 degrees, with unequal voxels, axes as `orientation`."""
    a, b = np.radians(20), np.radians(10)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = nibabel.affines.from_matvec(about_z @ about_x @ np.diag([1.0, 1.25, 2.0]), [-40.0, 13.0, 70.0])
    target = nibabel.orientations.axcodes2ornt(orientation)
    for file in folder.glob("*.nii.gz"):
        image = nibabel.Nifti1Image(np.asarray(nibabel.load(file).dataobj), affine)
        turned = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), target))
        assert "".join(nibabel.aff2axcodes(turned.affine)) == orientation
        nibabel.save(turned, file)
    return nibabel.load(folder / f"{folder.name}-seg.nii.gz")


@pytest.mark.parametrize(
    ("lost", "sentence", "layers"),
    [
        ("run/predictions/A.nii.gz", "base has no prediction of this case.", ["t1c", "t2f", "Reference"]),
        ("data/A/A-seg.nii.gz", "This case has no reference.", ["t1c", "t2f", "Prediction"]),
        ("data/A/A-t1c.nii.gz", "", ["t2f", "Reference", "Prediction"]),
        ("data/A", "No scans: this case is not in the folder that was predicted.", None),
        ("data", "No scans: the folder that was predicted is not there any more.", None),
    ],
)
def test_what_is_missing_is_a_sentence_on_the_page(
    make_run, data_set, scores_of, read_page, tmp_path, lost, sentence, layers
):
    cases = ("A", "B")
    run = make_run(cases=cases, data=data_set(cases), scores=scores_of(cases, 0))
    path = run / lost.removeprefix("run/") if lost.startswith("run/") else tmp_path / lost
    path.rename(tmp_path / "gone")
    page = report([run], tmp_path / "out").parent / "cases" / "A.html"
    assert sentence in read_page(page).text
    assert next(rows for rows in read_page(page).tables.values() if rows[0][0] == "Region")[1][0] == "WT"
    if layers is None:
        assert "case-data" not in page.read_text()
    else:
        assert [layer["name"] for layer in viewer_data(page)["layers"]] == layers


def test_files_that_cannot_be_used_are_sentences(make_run, data_set, scores_of, read_page, tmp_path):
    run = make_run(cases=("A",), data=data_set(("A",)), scores=scores_of(("A",), 0))
    (tmp_path / "data" / "A" / "A-t2f.nii.gz").write_bytes(b"not an image")
    whole = nibabel.load(run / "predictions" / "A.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.asarray(whole.dataobj)[:-1], whole.affine), run / "predictions" / "A.nii.gz")
    page = report([run], tmp_path / "out").parent / "cases" / "A.html"
    text = read_page(page).text
    assert "A-t2f.nii.gz" in text
    assert f"{run / 'predictions' / 'A.nii.gz'} lies on another grid than the scans and is not shown." in text
    assert [layer["name"] for layer in viewer_data(page)["layers"]] == ["t1c", "Reference"]


def test_arms_are_layers_and_a_case_that_one_was_trained_on_is_not_shown_as_its_prediction(
    make_run, data_set, scores_of, read_page, links_of, tmp_path
):
    cases = ("A", "B")
    folder = data_set(cases)
    first = make_run("base", cases=cases, data=folder, scores=scores_of(cases, 0))
    settings = {"seed": 9, "loss": {"boundary": "hausdorff_distance"}}
    second = make_run(
        "other", cases=("B",), trained_on=("A",), data=folder, scores=scores_of(cases, 1), settings=settings
    )
    for run in (first, second):
        lesion_table(run, "B", {1: np.array([24.0, 14.0, 10.0])})
        nibabel.save(nibabel.load(first / "predictions" / "A.nii.gz"), second / "predictions" / "A.nii.gz")
    out = report([first, second], tmp_path / "out").parent
    names = [layer["name"] for layer in viewer_data(out / "cases" / "B.html")["layers"]]
    assert names == ["t1c", "t2f", "Reference", "Prediction of base", "Prediction of other"]
    assert [layer["name"] for layer in viewer_data(out / "cases" / "A.html")["layers"]] == names[:-1]
    assert "other was trained on this case: its prediction is not shown." in read_page(out / "cases" / "A.html").text
    html = (out / "cases" / "B.html").read_text()
    assert 'id="lesion-ET-1"' in html
    assert 'id="lesion-2-ET-1"' in html
    assert "cases/B.html#lesion-2-ET-1" in (out / "index.html").read_text()


def test_a_page_whose_sources_are_as_before_is_taken_over(make_run, data_set, scores_of, tmp_path, monkeypatch):
    cases = ("A", "B")
    run = make_run(cases=cases, data=data_set(cases), scores=scores_of(cases, 0))
    drawn: list[str] = []
    first = report([run], tmp_path / "out", progress=lambda done, total, name: drawn.append(name))
    before = {case: (first.parent / "cases" / f"{case}.html").read_bytes() for case in cases}
    assert sorted(drawn) == ["A", "B"]
    moved = run / "predictions" / "B.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.asarray(nibabel.load(moved).dataobj)[::-1], np.eye(4)), moved)
    drawn.clear()
    report([run], tmp_path / "out", progress=lambda done, total, name: drawn.append(name))
    assert drawn == ["B"]
    after = {case: (first.parent / "cases" / f"{case}.html").read_bytes() for case in cases}
    assert after["A"] == before["A"]
    assert after["B"] != before["B"]


def test_processes_make_the_same_pages(make_run, data_set, scores_of, tmp_path):
    cases = ("A", "B")
    run = make_run(cases=cases, data=data_set(cases), scores=scores_of(cases, 0))
    alone, two = (report([run], tmp_path / f"out{jobs}", jobs=jobs).parent / "cases" for jobs in (1, 2))
    assert {file.name: file.read_bytes() for file in alone.iterdir()} == {
        file.name: file.read_bytes() for file in two.iterdir()
    }


def test_names_of_files_are_plain_and_no_two_alike():
    assert file_names(["A", "a", "x/y?#", "x_y__", "..", ""]) == [
        *("A.html", "a_2.html", "x_y__.html", "x_y___2.html", "_.html", "__2.html"),
    ]  # fmt: skip


def test_a_run_without_predictions_has_pages_without_a_viewer_and_says_why(make_run, scores_of, read_page, tmp_path):
    runs = [make_run(name, cases=("A", "B"), scores=scores_of(("A", "B"), seed)) for seed, name in enumerate("xy")]
    with (runs[0] / "lesions.csv").open("w", encoding="utf-8", newline="") as stream:
        stream.write("case,region,rules,lesion,kind,reference_volume_mm3,dice\nA,ET,brats2023,1,missed,5.0,\n")
    index = report(runs[:1], tmp_path / "out")
    page = read_page(index.parent / "cases" / "A.html")
    assert "No scans: this run has no saved predictions." in page.text
    assert "viewer" not in page.text
    assert next(rows for rows in page.tables.values() if rows[0][0] == "Lesion")[0][-1] == "Dice"
    assert "scans" not in read_page(index).text.partition("All cases")[2].partition("The tables behind")[0]
    both = read_page(report(runs, tmp_path / "both").parent / "cases" / "A.html")
    assert "No scans: these runs have no saved predictions." in both.text
