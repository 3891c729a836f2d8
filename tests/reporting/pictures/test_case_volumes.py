from dataclasses import replace

import nibabel
import numpy as np
import pytest

from mets3d.data.cases import find_cases
from mets3d.reporting.pictures.case_volumes import read_volumes


@pytest.fixture
def case(tmp_path):
    """A case whose headers state voxels of 1 mm, and its reference, within the tolerance, of 0.995 mm along X."""
    for name, dtype, side in (
        *((name, np.float32, 1.0) for name in ("t1n", "t1c", "t2w", "t2f")),
        ("seg", np.uint8, 0.995),
    ):
        image = nibabel.Nifti1Image(np.ones((4, 5, 6), dtype), np.eye(4))
        image.set_qform(None, 0)
        image.header["pixdim"][1] = side
        (tmp_path / "P-1-000").mkdir(exist_ok=True)
        nibabel.save(image, tmp_path / "P-1-000" / f"P-1-000-{name}.nii.gz")
    return find_cases(tmp_path)[0]


def test_lesions_are_drawn_with_the_voxel_size_that_they_are_scored_with(case):
    assert read_volumes(case, {}, ["t1c"]).spacing_mm == (0.995, 1.0, 1.0)


def test_without_a_reference_the_scan_gives_the_voxel_size(case):
    assert read_volumes(replace(case, labels=None), {}, ["t1c"]).spacing_mm == (1.0, 1.0, 1.0)
