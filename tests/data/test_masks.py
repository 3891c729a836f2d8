"""Brain masks from files, and scans without a skull stripped: preprocess.brain."""

from pathlib import Path

import numpy as np
import pytest

from mets3d.config import Preprocess
from mets3d.data.cases import Case, Finding, find_cases
from mets3d.data.check import check, check_case, read_case
from mets3d.data.nifti import write_image
from mets3d.data.preprocess import preprocess
from mets3d.data.store import open_store
from mets3d.settings import Data
from tests.builders.cases import RAS, SHAPE, brain_box, make_case, scan

NAME = "BraTS-MET-00001-000"


def brain() -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[brain_box()] = 1
    mask[2, 2, 2:5] = 0
    return mask


def heads() -> dict[str, np.ndarray]:
    """Scans with noise all around the brain."""
    air = np.random.default_rng(0).integers(1, 60, SHAPE).astype(np.int16)
    return {kind: np.maximum(scan(k), air) for k, kind in enumerate(("t1n", "t1c", "t2w", "t2f"))}


def with_mask(data: Path, mask: np.ndarray | None = None, ending: str = "-mask", affine: np.ndarray = RAS) -> Case:
    write_image(data / NAME / f"{NAME}{ending}.nii.gz", brain() if mask is None else mask, affine)
    return make_case(data, NAME, volumes=heads())


def errors(findings: list[Finding]) -> list[str]:
    return [finding.what for finding in findings if finding.severity == "error"]


@pytest.mark.parametrize("ending", ["-mask", "_brainmask", "-brain_mask", "_bet_mask", "_space-T1w_desc-brain_mask"])
def test_a_mask_is_found_by_its_name_and_read(tmp_path: Path, ending: str) -> None:
    case = with_mask(tmp_path, ending=ending)
    assert case.mask == tmp_path / NAME / f"{NAME}{ending}.nii.gz"
    assert find_cases(tmp_path).findings == []
    checked = read_case(case, Data(), "file")
    assert checked.findings == []
    np.testing.assert_array_equal(checked.brain, brain() == 1)


def test_a_mask_of_the_only_case_in_a_folder_needs_no_name(tmp_path: Path) -> None:
    with_mask(tmp_path)
    (tmp_path / NAME / f"{NAME}-mask.nii.gz").rename(tmp_path / NAME / "brainmask.nii.gz")
    (case,) = find_cases(tmp_path)
    assert case.mask == tmp_path / NAME / "brainmask.nii.gz"


def test_a_reference_that_is_called_mask_is_no_brain(tmp_path: Path) -> None:
    for kind, volume in heads().items():
        write_image(tmp_path / f"P1_{kind}.nii.gz", volume, RAS)
    write_image(tmp_path / "P1_mask.nii.gz", brain(), RAS)
    write_image(tmp_path / "P1_brainmask.nii.gz", brain(), RAS)
    (case,) = find_cases(tmp_path)
    assert case.labels == tmp_path / "P1_mask.nii.gz"
    assert case.mask == tmp_path / "P1_brainmask.nii.gz"
    (tmp_path / "P1_brainmask.nii.gz").unlink()
    (case,) = find_cases(tmp_path)
    assert case.mask is None


def test_what_is_wrong_with_a_mask(tmp_path: Path) -> None:
    plain = make_case(tmp_path / "none", NAME)
    assert errors(check_case(plain, Data(), "file")) == ["no brain mask"]
    assert errors(check_case(with_mask(tmp_path / "empty", brain() * 0), Data(), "file")) == ["empty brain mask"]
    away = RAS.copy()
    away[0, 3] = 2
    moved = with_mask(tmp_path / "moved", affine=away)
    assert errors(check_case(moved, Data(), "file")) == ["brain mask on another grid"]
    assert "label outside the brain" in errors(check_case(moved, Data(grids="t1c"), "file"))
    away[0, 3] = 500
    lost = with_mask(tmp_path / "lost", affine=away)
    assert errors(check_case(lost, Data(grids="t1c"), "file")) == ["brain mask on another grid"]


def test_the_store_has_what_the_mask_says(tmp_path: Path) -> None:
    case = with_mask(tmp_path / "data")
    preprocess(tmp_path / "data", tmp_path / "store", Preprocess(brain="file"), data=Data())
    store = open_store(tmp_path / "store")
    assert store.plan.brain == "file"
    image = store.read(case.name).image().numpy().astype(np.float32)
    inside = brain()[brain_box()] == 1
    for channel, volume in enumerate(heads().values()):
        values = volume[brain() == 1].astype(np.float64)
        expected = (values - values.mean()) / values.std()
        np.testing.assert_allclose(image[channel][inside], expected, atol=2e-3)
        assert (image[channel][~inside] == 0).all()


def test_a_changed_mask_makes_its_case_anew(tmp_path: Path) -> None:
    with_mask(tmp_path / "data")
    settings = Preprocess(brain="file")
    preprocess(tmp_path / "data", tmp_path / "store", settings, data=Data())
    before = open_store(tmp_path / "store").read(NAME).image()
    write_image(tmp_path / "data" / NAME / f"{NAME}-mask.nii.gz", np.ones(SHAPE, np.uint8), RAS)
    preprocess(tmp_path / "data", tmp_path / "store", settings, data=Data())
    assert open_store(tmp_path / "store").read(NAME).image().shape != before.shape


def test_without_a_mask_the_whole_volume_is_taken(tmp_path: Path) -> None:
    make_case(tmp_path / "data", NAME, volumes=heads())
    assert {finding.what for finding in check(tmp_path / "data").findings} >= {"skull not stripped?"}
    assert check(tmp_path / "data", brain="none").findings == []
    preprocess(tmp_path / "data", tmp_path / "store", Preprocess(brain="none"), data=Data())
    store = open_store(tmp_path / "store")
    assert store.plan.brain == "none"
    image = store.read(NAME).image().numpy().astype(np.float64)
    assert image.shape == (4, *SHAPE)
    np.testing.assert_allclose(image.mean(axis=(1, 2, 3)), 0, atol=1e-3)
    np.testing.assert_allclose(image.std(axis=(1, 2, 3)), 1, atol=1e-3)
