"""The viewer of a case in a real browser: jumps to lesions, works by keyboard, with NiiVue and without it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

import mets3d
from mets3d.data.nifti import read_header, write_probabilities, write_scalar
from mets3d.regions import ET
from mets3d.reporting import report
from mets3d.reporting.lesion_lines import PLACE
from mets3d.reporting.viewer import assets
from mets3d.rundir import PredictionsDir

# ORIGIN: where in mm the first voxel is. The two voxels are of ET, and of NETC in the middle of the lesion.
ORIGIN = (-20.0, 5.0, 30.0)
ET_VOXEL, NETC_VOXEL = (22, 15, 10), (25, 15, 10)

pytestmark = pytest.mark.usefixtures("empty_curves")


@pytest.fixture
def case_page(make_run, data_set, scores_of, tmp_path, monkeypatch):
    """Writes a report of two cases with everything that a viewer can show; returns the page of the worse one."""
    monkeypatch.setattr("mets3d.reporting.page.case_pictures", lambda records, figures, progress: None)
    folder, cases = data_set(("A", "B")), ("A", "B")
    for file in folder.rglob("*.nii.gz"):
        affine = nibabel.affines.from_matvec(np.eye(3), ORIGIN)
        nibabel.save(nibabel.Nifti1Image(np.asarray(nibabel.load(file).dataobj), affine), file)
    scores = scores_of(cases, 0)
    for region in ("WT", "TC", "ET"):
        scores["A", region]["lesion_wise_dice"], scores["B", region]["lesion_wise_dice"] = 0.25, 0.75
    run = make_run(cases=cases, data=folder, scores=scores)
    maps = PredictionsDir(run / "predictions")
    grid = read_header(maps.label_map("A")).source
    labels = np.asarray(nibabel.load(maps.label_map("A")).dataobj)
    for name in (maps.probabilities, maps.uncertainties):
        name.mkdir()
    soft = np.stack([0.75 * (labels > 0), 0.75 * np.isin(labels, (1, 3)), 0.75 * (labels == 3)]).astype(np.float32)
    write_probabilities(maps.probability_map("A"), soft, grid, ("WT", "TC", "ET"))
    write_scalar(maps.uncertainty_map("A"), (0.5 * (labels > 0)).astype(np.float32), grid)
    lesion_table(run)
    return report([run], tmp_path / "out").parent / "cases" / "A.html"


def lesion_table(run: Path) -> None:
    with (run / "lesions.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "region", "rules", "lesion", "kind", "reference_volume_mm3", "dice", *PLACE, "i"])
        for number, (kind, voxel) in enumerate((("found", ET_VOXEL), ("missed", NETC_VOXEL)), 1):
            writer.writerow(["A", "ET", "brats2023", number, kind, 5.0, 0.5, *np.add(voxel, ORIGIN), voxel[0]])


def ready(opened) -> str:
    opened.page.wait_for_selector(".viewer[data-ready]")
    return opened.page.get_attribute(".viewer", "data-mode")


def place(opened) -> tuple[float, ...]:
    """The voxel of the crosshair."""
    mm = opened.page.get_attribute(".viewer", "data-mm").split()
    return tuple(np.subtract([float(value) for value in mm], ORIGIN).tolist())


def settled(opened) -> None:
    """Waits for what is being decoded and drawn."""
    opened.page.evaluate(
        "new Promise((done) => setTimeout(() => requestAnimationFrame(() => setTimeout(done, 50)), 100))"
    )


def picture(opened, selector: str) -> np.ndarray:
    settled(opened)
    return np.asarray(Image.open(io.BytesIO(opened.page.locator(selector).screenshot())).convert("RGB")).astype(int)


def amount_of(colour: str, pixels: np.ndarray) -> int:
    rgb = np.array([*bytes.fromhex(colour.removeprefix("#"))])
    return int((np.abs(pixels - rgb).max(axis=2) <= 6).sum())


def letter(opened, side: str) -> np.ndarray:
    """What is written at the left or right edge of the axial slice, half up; white where it is light."""
    opened.page.evaluate(
        "document.querySelectorAll('input[data-kind=overlay]').forEach((one) => { one.checked = false; })"
    )
    shown = picture(opened, '.viewer-screens canvas[data-plane="axial"]').min(axis=2)
    middle = shown.shape[0] // 2
    band = shown[middle - 9 : middle + 9]
    return (band[:, 4:20] if side == "left" else band[:, -20:-4]) > 200


def press(opened, selector: str, *keys: str) -> None:
    opened.page.focus(selector)
    for key in keys:
        opened.page.keyboard.press(key)
    settled(opened)


def jumps_and_keys(opened, plane: str, screen: str) -> None:
    """What both viewers do: the lesion of the address, links, keys in the picture, sliders, switches."""
    page = opened.page
    assert place(opened) == NETC_VOXEL, "the missed lesion comes first"
    assert "Reference NETC" in page.inner_text(".viewer-place")
    press(opened, "#lesion-ET-1 a", "Enter")
    assert place(opened) == ET_VOXEL
    assert page.evaluate("location.hash") == "#lesion-ET-1"
    assert page.get_attribute("#lesion-ET-1", "aria-current") == "true"
    assert "Reference ET" in page.inner_text(".viewer-place")
    page.goto(opened.file.resolve().as_uri() + "#lesion-ET-2")
    page.reload()
    ready(opened)
    assert place(opened) == NETC_VOXEL, "the address names the lesion"
    press(opened, f'canvas[data-plane="{plane}"]', "ArrowLeft", "ArrowUp", "ArrowUp", "PageUp")
    assert place(opened) == tuple(np.add(NETC_VOXEL, [1, 2, 1])), "the patient's right is on the left"
    press(opened, f'canvas[data-plane="{plane}"]', "ArrowRight", "ArrowDown", "ArrowDown", "PageDown")
    assert place(opened) == NETC_VOXEL
    press(opened, 'input[data-axis="2"]', "ArrowRight")
    assert place(opened) == tuple(np.add(NETC_VOXEL, [0, 0, 1]))
    press(opened, 'input[data-axis="2"]', "ArrowLeft")
    switches(opened, screen)


def switches(opened, screen: str) -> None:
    press(opened, "input[data-opacity]", "End")
    covered = picture(opened, screen)
    assert amount_of(ET.colour, covered) > 100
    overlays = [box.get_attribute("value") for box in opened.page.locator('input[data-kind="overlay"]:checked').all()]
    for value in overlays:
        press(opened, f'input[value="{value}"]', "Space")
    bare = picture(opened, screen)
    assert amount_of(ET.colour, bare) == 0
    press(opened, 'input[data-kind="image"]:checked', "ArrowRight")
    assert np.abs(picture(opened, screen) - bare).max() > 50, "another sequence"
    names = [label.inner_text().strip() for label in opened.page.locator('label:has(input[data-kind="overlay"])').all()]
    assert names == [
        "Reference",
        "Prediction",
        *(f"Probability of {name}" for name in ("ET", "TC", "WT")),
        "Uncertainty",
    ]
    for value, share in (("map-2", "Probability of WT 0.7"), ("map-3", "Uncertainty 0.5")):
        before = picture(opened, screen)
        press(opened, f'input[value="{value}"]', "Space")
        assert np.abs(picture(opened, screen) - before).max() > 50
        assert share in opened.page.inner_text(".viewer-place")


def test_the_plain_viewer(case_page, open_page, monkeypatch):
    for file in (case_page.parent.parent / "viewer").glob("*"):
        file.unlink()
    html = case_page.read_text(encoding="utf-8").replace('<script src="../viewer/niivue.js"></script>', "")
    case_page.write_text(html, encoding="utf-8")
    opened = open_page(case_page)
    assert ready(opened) == "plain"
    assert opened.page.inner_text(".viewer-note") in (assets.NOT_BESIDE, assets.NOT_BUILT_IN)
    jumps_and_keys(opened, "axial", '.viewer-screens canvas[data-plane="axial"]')
    frame = opened.page.locator('canvas[data-plane="coronal"]').bounding_box()
    opened.page.mouse.click(frame["x"] + 1, frame["y"] + 1)
    x, y, z = place(opened)
    assert (x, z) == (39.0, 19.0), "the corner above on the left is the last voxel on the patient's right, at the top"
    assert y == NETC_VOXEL[1]
    assert "Plain viewer" in opened.page.inner_text(".viewer-note")
    assert opened.page.evaluate(
        "getComputedStyle(document.querySelector('.viewer-note')).color"
    ) == opened.page.evaluate("getComputedStyle(document.querySelector('.small')).color")
    legend = opened.page.inner_text(".viewer-legend")
    assert all(
        words in legend for words in ("NETC, necrosis", "SNFH, oedema", "ET, enhancing", "WT: NETC, SNFH and ET")
    )
    assert opened.barriers() == opened.barriers("dark") == []
    assert opened.overflow() == []
    assert opened.errors == opened.requests == []


def test_the_sides_of_the_patient_are_marked_by_the_affine(case_page, open_page):
    html = case_page.read_text(encoding="utf-8").replace('<script src="../viewer/niivue.js"></script>', "")
    turned = html.replace('"affine":[[1.0,', '"affine":[[-1.0,')
    assert turned != html
    marks = []
    for name, text in (("plain", html), ("turned", turned)):
        page = case_page.with_name(f"{name}.html")
        page.write_text(text, encoding="utf-8")
        opened = open_page(page)
        assert ready(opened) == "plain"
        marks.append([letter(opened, side) for side in ("left", "right")])
    (left, right), (turned_left, turned_right) = marks
    assert min(left.sum(), right.sum()) > 10, "something is written"
    assert (left != turned_left).sum() > 5, "R on the one side, L on the other"
    assert (right != turned_right).sum() > 5


def test_a_lesion_s_coordinates_are_those_of_the_table_until_the_crosshair_moves(case_page, open_page):
    """They lie in the voxel of the crosshair, but need not be its middle."""
    html = case_page.read_text(encoding="utf-8").replace('<script src="../viewer/niivue.js"></script>', "")
    x, y, z = np.add(ET_VOXEL, ORIGIN)
    before = f'data-mm="{x:.3f} {y:.3f} {z:.3f}"'
    assert before in html
    case_page.write_text(html.replace(before, f'data-mm="{x + 0.3:.3f} {y - 0.4:.3f} {z:.3f}"'), encoding="utf-8")
    opened = open_page(case_page)
    ready(opened)
    press(opened, "#lesion-ET-1 a", "Enter")
    assert place(opened) == ET_VOXEL
    assert opened.page.inner_text(".viewer-place").startswith(f"R {x + 0.3:.1f}, A {y - 0.4:.1f}, S {z:.1f} mm")
    press(opened, 'canvas[data-plane="axial"]', "ArrowLeft")
    assert opened.page.inner_text(".viewer-place").startswith(f"R {x + 1:.1f}, A {y:.1f}, S {z:.1f} mm")


def test_niivue(case_page, open_page):
    if not assets.has_niivue():
        pytest.skip("NiiVue is not there: python mets3d/reporting/viewer/fetch.py, which needs npm")
    opened = open_page(case_page)
    if ready(opened) != "niivue":
        pytest.skip(opened.page.inner_text(".viewer-note"))  # a browser without WebGL2
    assert not opened.page.locator(".viewer-note").is_visible()
    jumps_and_keys(opened, "all", ".viewer-screens .all")
    assert opened.overflow() == opened.barriers() == opened.errors == []
    assert {address.rpartition("/")[2] for address in opened.requests} == {"niivue.js"}
    assert opened.strangers(case_page.parent.parent) == []
    assert "BSD 2-Clause" in (case_page.parent.parent / "viewer" / "LICENSE.txt").read_text(encoding="utf-8")


def test_a_report_written_without_niivue_says_so(case_page, open_page, make_run, tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "NIIVUE", tmp_path / "nowhere.js")
    out = report([tmp_path / "runs" / "base"], tmp_path / "plain")
    assert not (out.parent / "viewer").exists()
    opened = open_page(out.parent / "cases" / "B.html")
    assert ready(opened) == "plain"
    assert opened.page.inner_text(".viewer-note") == assets.NOT_BUILT_IN
    assert opened.errors == opened.requests == []


def test_a_frame_in_a_notebook(data_set, open_page, tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "NIIVUE", tmp_path / "nowhere.js")  # so that the test is quick
    frame = mets3d.view(data_set(("A",)) / "A")._repr_html_()
    file = tmp_path / "notebook.html"
    file.write_text(f"<!DOCTYPE html><meta charset='utf-8'><title>A notebook</title>{frame}", encoding="utf-8")
    opened = open_page(file)
    inside = opened.page.frame_locator("iframe")
    inside.locator(".viewer[data-ready=plain]").wait_for()
    assert inside.locator(".viewer-place").inner_text().startswith("R ")
    assert inside.locator("canvas[data-plane=axial]").bounding_box()["height"] > 200
    assert opened.errors == opened.requests == []
