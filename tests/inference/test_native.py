"""Predictions of cases whose scans lie on different grids or are stored in different ways."""

from pathlib import Path

import nibabel
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
