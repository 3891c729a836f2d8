"""Each finding of the check, and that all of them are told together."""

import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any, Literal

import nibabel
import numpy as np
import pytest

from mets3d.config import Data
from mets3d.data import quiet
from mets3d.data.cases import Case, Finding, find_cases
from mets3d.data.check import check, check_case, check_headers, each_case
from mets3d.data.nifti import write_image
from mets3d.processes import LostError
from tests.builders.cases import RAS, SHAPE, make_case, scan, two_lesions


def by_what(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings}


def found_in(tmp_path: Path, *, cavity: bool = False, **arguments: Any) -> dict[str, Finding]:
    return by_what(check_case(make_case(tmp_path, **arguments), Data(cavity=cavity)))


def changed(image: np.ndarray, where: tuple[int, int, int], value: float, kind: str = "float32") -> np.ndarray:
    image = image.astype(kind)
    image[where] = value
    return image


def moved(mm: float) -> np.ndarray:
    affine = RAS.copy()
    affine[0, 3] = mm
    return affine


def test_a_sound_case_has_no_findings(tmp_path: Path) -> None:
    assert check_case(make_case(tmp_path), Data()) == []


def test_a_missing_sequence(tmp_path: Path) -> None:
    finding = found_in(tmp_path, volumes={"t2w": None})["missing sequence"]
    assert finding.severity == "error"
    assert "found t1n, t1c, t2f; t2w missing" in finding.detail


def test_shapes_that_differ(tmp_path: Path) -> None:
    finding = found_in(tmp_path, volumes={"t1c": scan(0, (12, 14, 11))})["shapes differ"]
    assert finding.severity == "error"
    assert "t1n 12x14x10, t1c 12x14x11, t2w 12x14x10" in finding.detail


def test_a_reference_of_another_shape(tmp_path: Path) -> None:
    finding = found_in(tmp_path, volumes={"seg": two_lesions((12, 14, 12))})["shapes differ"]
    assert "seg 12x14x12" in finding.detail


def test_affines_that_differ_are_both_named(tmp_path: Path) -> None:
    finding = found_in(tmp_path, affines={"t2f": moved(0.4)})["affines differ"]
    assert finding.severity == "error"
    assert "t2f [[1.0, 0.0, 0.0, 0.4]" in finding.detail
    assert "t1n [[1.0, 0.0, 0.0, 0.0]" in finding.detail
    assert "0.4 mm apart" in finding.detail


def test_rounding_of_an_affine_is_no_finding(tmp_path: Path) -> None:
    assert found_in(tmp_path, affines={"t2f": moved(1e-3)}) == {}


@pytest.mark.parametrize("kind", ["t2f", "seg"])
@pytest.mark.parametrize(("mm", "found"), [(0.09, []), (0.11, ["affines differ"])])
def test_a_tenth_of_a_voxel_decides(tmp_path: Path, kind: str, mm: float, found: list[str]) -> None:
    assert list(found_in(tmp_path, affines={kind: moved(mm)})) == found


def test_a_scan_stored_in_another_orientation_is_the_same_grid(tmp_path: Path) -> None:
    """The voxels of t1c run right to left in the file; the positions are those of the other scans."""
    mirrored = RAS.copy()
    mirrored[0, 0], mirrored[0, 3] = -1, SHAPE[0] - 1
    assert found_in(tmp_path, affines={"t1c": mirrored}) == {}


def test_a_reference_of_another_voxel_size_is_an_error_here_as_in_evaluate(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    assert case.labels is not None
    image = nibabel.load(case.labels)
    image = nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header)
    image.header.set_qform(None, 0)
    image.header["pixdim"][1] = 1.02
    nibabel.save(image, case.labels)
    finding = by_what(check_case(case, Data()))["voxel sizes differ"]
    assert finding.severity == "error"
    assert "t1n has voxels of 1 x 1 x 1 mm, seg of 1.02 x 1 x 1 mm" in finding.detail


def test_spacing_and_affine_that_disagree(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    image = nibabel.load(case.sequences["t2w"].path)
    image = nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header)
    image.header.set_qform(None, 0)
    image.header["pixdim"][1] = 2
    nibabel.save(image, case.sequences["t2w"].path)
    finding = by_what(check_case(case, Data()))["spacing and affine differ"]
    assert finding.severity == "warning"
    assert "2 x 1 x 1 mm by its header, 1 x 1 x 1 mm by its affine" in finding.detail


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    finding = found_in(tmp_path, volumes={"t1c": changed(scan(0), (5, 5, 5), value)})["not a number"]
    assert finding.severity == "error"
    assert finding.detail.startswith("t1c is NaN or infinite in 1 voxel")


@pytest.mark.parametrize("value", [0, 7])
def test_a_constant_image(tmp_path: Path, value: int) -> None:
    finding = found_in(tmp_path, volumes={"t2w": np.full(SHAPE, value, dtype=np.int16)})["constant image"]
    assert finding.severity == "error"
    assert f"t2w is {value} everywhere" in finding.detail


def test_an_image_that_is_a_mask(tmp_path: Path) -> None:
    finding = found_in(tmp_path, volumes={"t1c": (scan(0) > 0).astype(np.int16)})["constant image"]
    assert finding.severity == "error"
    assert "t1c is 1 everywhere in the brain" in finding.detail


def test_labels_outside_the_known_ones(tmp_path: Path) -> None:
    labels = two_lesions()
    labels[5, 5, 4], labels[4:6, 5, 5] = 8, 6
    finding = found_in(tmp_path, volumes={"seg": labels})["unknown label"]
    assert finding.severity == "error"
    assert "expected labels 0 to 4, found label 6 in 2 voxels, label 8 in 1 voxel" in finding.detail


def test_labels_that_are_not_whole(tmp_path: Path) -> None:
    finding = found_in(tmp_path, volumes={"seg": changed(two_lesions(), (4, 4, 4), 1.5)})["not a label map"]
    assert finding.severity == "error"
    assert "for example 1.5" in finding.detail


def test_labels_where_nothing_was_scanned(tmp_path: Path) -> None:
    labels = two_lesions()
    labels[0, 0, :3] = 2
    finding = found_in(tmp_path, volumes={"seg": labels})["label outside the brain"]
    assert finding.severity == "error"
    assert "3 label voxels" in finding.detail


def test_a_voxel_that_one_sequence_shows_is_brain(tmp_path: Path) -> None:
    labels = two_lesions()
    labels[0, 0, 0] = 2
    assert found_in(tmp_path, volumes={"seg": labels, "t2f": changed(scan(0), (0, 0, 0), 5, "int16")}) == {}


def test_a_truncated_file(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    path = case.sequences["t1n"].path
    path.write_bytes(path.read_bytes()[:-200])
    finding = by_what(check_case(case, Data()))["unreadable file"]
    assert finding.severity == "error"
    assert str(path) in finding.detail


def test_a_file_cut_within_its_header_is_told_once(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    path = case.sequences["t1n"].path
    path.write_bytes(path.read_bytes()[:30])
    assert [finding.what for finding in check_case(case, Data())] == ["unreadable file"]


def test_a_volume_that_is_not_3d(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    nibabel.save(nibabel.Nifti1Image(np.zeros((*SHAPE, 2), dtype=np.int16), RAS), case.sequences["t2f"].path)
    assert "found shape (12, 14, 10, 2)" in by_what(check_headers(case))["unreadable file"].detail


def test_a_skull_that_is_still_there(tmp_path: Path) -> None:
    air = np.random.default_rng(0).integers(1, 9, SHAPE).astype(np.int16)  # noise: a constant would be a background
    volumes = {kind: np.maximum(scan(1), air) for kind in ("t1n", "t1c", "t2w", "t2f")}
    finding = found_in(tmp_path, volumes=volumes)["skull not stripped?"]
    assert finding.severity == "warning"
    assert "only 0.0%" in finding.detail


def test_what_is_legal_is_a_note(tmp_path: Path) -> None:
    cavity = two_lesions()
    cavity[5, 5, 5] = 4
    notes = found_in(tmp_path / "a", volumes={"t1n": changed(scan(0), (5, 5, 5), -52, "int16"), "seg": cavity})
    notes |= found_in(tmp_path / "b", volumes={"seg": np.zeros(SHAPE, dtype=np.uint8)})
    assert {finding.severity for finding in notes.values()} == {"note"}
    assert set(notes) == {"negative values", "cavity present", "empty reference"}
    assert "t1n has 1, down to -52" in notes["negative values"].detail
    assert found_in(tmp_path / "a2", cavity=True, volumes={"seg": cavity}) == {}


def test_a_case_without_reference_is_fine(tmp_path: Path) -> None:
    assert found_in(tmp_path, volumes={"seg": None}) == {}


def bad_data(data: Path) -> Path:
    """Three cases: a sound one, one with two faults, one with a note; and a sound one that is there twice."""
    make_case(data, "A-000")
    nan, short = changed(scan(0), (5, 5, 5), np.nan), scan(0, (12, 14, 11))
    make_case(data, "B-000", volumes={"t1n": nan, "t2f": short, "t2w": None})
    make_case(data, "0-000", volumes={"seg": np.zeros(SHAPE, dtype=np.uint8)})
    make_case(data / "again", "A-000")
    return data


def test_all_findings_are_told_together(tmp_path: Path) -> None:
    steps: list[tuple[int, int, str]] = []
    report = check(bad_data(tmp_path), lambda done, total, name: steps.append((done, total, name)))
    assert steps == [(1, 3, "0-000"), (2, 3, "A-000"), (3, 3, "B-000")]
    assert report.unusable == ["A-000", "B-000"]
    told = {(finding.case, finding.what) for finding in report.findings}
    faults = {("B-000", what) for what in ("missing sequence", "shapes differ", "not a number")}
    assert told == {("A-000", "case named twice"), ("0-000", "empty reference"), *faults}
    table = report.table()
    for case, what in told:
        assert any(line.startswith(case) and what in line for line in table.splitlines())
    assert table.splitlines()[-1] == "3 cases, 2 cannot be used: A-000, B-000 (4 errors, 0 warnings, 1 note)"
    assert f"3 cases in {tmp_path}" in table


def test_the_report_as_json(tmp_path: Path) -> None:
    tree = json.loads(json.dumps(check(bad_data(tmp_path)).as_json()))
    assert tree["unusable"] == ["A-000", "B-000"]
    (note,) = [finding for finding in tree["findings"] if finding["severity"] == "note"]
    assert note["case"] == "0-000"


def test_two_processes_find_the_same(tmp_path: Path) -> None:
    data = bad_data(tmp_path)
    assert check(data, jobs=2).findings == check(data).findings


def test_worst_first(tmp_path: Path) -> None:
    rows = check(bad_data(tmp_path)).table().splitlines()
    levels = [row.split()[1] for row in rows if row.startswith(("A-000", "B-000", "0-000"))]
    assert levels == ["error"] * 4 + ["note"]


def killed_at_b(case: Case, parent: int) -> str:
    """Ends its worker, but never the process of the tests, for case B-000."""
    if case.name == "B-000" and os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    return case.name


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_lost_worker_is_named_with_its_case(tmp_path: Path) -> None:
    cases = [make_case(tmp_path, name) for name in ("A-000", "B-000")]
    with pytest.raises(LostError, match=r"killed, most likely .*memory ran out, with .*B-000.* in hand; use fewer"):
        list(each_case(partial(killed_at_b, parent=os.getpid()), cases, 2, quiet))


@pytest.mark.parametrize(
    ("brain", "said"), [("nonzero", "all sequences are zero"), ("file", "outside the brain's mask")]
)
def test_a_label_outside_the_brain_is_said_to_lie_outside_what_the_brain_is(
    tmp_path: Path, brain: Literal["nonzero", "file"], said: str
) -> None:
    labels = two_lesions()
    labels[0, 0, :4] = 3  # zero in all sequences, and outside the mask
    case = make_case(tmp_path, volumes={"seg": labels})
    write_image(case.folder / f"{case.name}-mask.nii.gz", (scan(1) != 0).astype(np.uint8), np.eye(4))
    (case,) = find_cases(tmp_path)
    (finding,) = [found for found in check_case(case, Data(), brain) if found.what == "label outside the brain"]
    assert finding.severity == "error"
    assert said in finding.detail
