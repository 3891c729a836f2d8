"""Predictions of cases whose scans lie on different grids or are stored in different ways."""

import json
import shutil
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest

import mets3d
from mets3d.data import DataError
from mets3d.data.cases import SEQUENCES
from mets3d.data.nifti import read_image, write_image


@pytest.fixture
def case(phantom_data: Path, tmp_path: Path) -> Path:
    """A phantom whose t1n has a slab more at the left and whose t1c is stored from left to right and top to bottom."""
    source = sorted(phantom_data.iterdir())[0]
    folder = tmp_path / "data" / source.name
    for name in SEQUENCES:
        image = read_image(source / f"{source.name}-{name}.nii.gz")
        data, affine = image.data, image.affine.copy()
        if name == "t1n":
            data = np.pad(data, ((2, 0), (0, 0), (0, 0)))
            affine[:3, 3] -= 2 * affine[:3, 0]
        if name == "t1c":
            data = data[::-1, :, ::-1]
            turn = np.diag([-1.0, 1.0, -1.0, 1.0])
            turn[:3, 3] = [data.shape[0] - 1, 0, data.shape[2] - 1]
            affine = affine @ turn
        write_image(folder / f"{source.name}-{name}.nii.gz", data, affine)
    return folder


def test_predictions_lie_on_the_grid_of_t1c(trained_run: Path, phantom_data: Path, case: Path, tmp_path: Path) -> None:
    plain = mets3d.Predictor.from_pretrained(trained_run, device="cpu")
    with pytest.raises(DataError, match=r"set data\.grids to t1c"):
        plain.predict_files(case)
    native = mets3d.Predictor.from_pretrained(trained_run, device="cpu", overrides="--data.grids=t1c")
    expected = plain.predict_files(phantom_data / case.name, tmp_path / "plain")
    found = native.predict_files(case, tmp_path / "native")
    np.testing.assert_allclose(found.probabilities["WT"], expected.probabilities["WT"], atol=1e-4)
    written = nibabel.load(tmp_path / "native" / f"{case.name}.nii.gz")
    t1c = nibabel.load(case / f"{case.name}-t1c.nii.gz")
    assert written.shape == t1c.shape
    np.testing.assert_array_equal(written.affine, t1c.affine)
    assert nibabel.aff2axcodes(written.affine) == ("L", "A", "I")
    np.testing.assert_array_equal(read_image(tmp_path / "native" / f"{case.name}.nii.gz").data, found.labels)


def test_the_brain_of_a_mask(trained_run: Path, phantom_data: Path, tmp_path: Path) -> None:
    """A run that was trained with masks: with that of the plain rule it answers as without."""
    name = sorted(phantom_data.iterdir())[0].name
    files = {kind: phantom_data / name / f"{name}-{kind}.nii.gz" for kind in SEQUENCES}
    masked = shutil.copytree(trained_run, tmp_path / "run")
    plan = json.loads((masked / "plan.json").read_text(encoding="utf-8"))
    (masked / "plan.json").write_text(json.dumps(plan | {"brain": "file"}), encoding="utf-8")
    images = [read_image(file) for file in files.values()]
    brain = np.any([image.data != 0 for image in images], axis=0)
    write_image(tmp_path / "mask.nii.gz", brain.astype(np.uint8), images[0].affine)
    predictor = mets3d.Predictor.from_pretrained(masked, device="cpu")
    with pytest.raises(DataError, match="expected a brain mask"):
        predictor.predict_files(files)
    found = predictor.predict_files({**files, "mask": tmp_path / "mask.nii.gz"})
    expected = mets3d.Predictor.from_pretrained(trained_run, device="cpu").predict_files(files)
    np.testing.assert_array_equal(found.probabilities["WT"], expected.probabilities["WT"])


def test_nrrd_comes_back_as_nifti_on_its_grid(trained_run: Path, phantom_data: Path, tmp_path: Path) -> None:
    name = sorted(phantom_data.iterdir())[0].name
    files = {kind: phantom_data / name / f"{name}-{kind}.nii.gz" for kind in SEQUENCES}
    t1c = nibabel.load(files["t1c"])
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ t1c.affine
    fields = {"space": "LPS", "space directions": lps[:3, :3].T, "space origin": lps[:3, 3]}
    nrrd.write(str(tmp_path / f"{name}-t1c.nrrd"), np.asarray(t1c.dataobj), fields)
    predictor = mets3d.Predictor.from_pretrained(trained_run, device="cpu")
    found = predictor.predict_files({**files, "t1c": tmp_path / f"{name}-t1c.nrrd"}, tmp_path / "out")
    written = nibabel.load(tmp_path / "out" / f"{name}.nii.gz")
    np.testing.assert_allclose(written.affine, t1c.affine, atol=1e-4)
    np.testing.assert_array_equal(found.labels, predictor.predict_files(files).labels)
