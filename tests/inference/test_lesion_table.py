"""Where predicted lesions lie: in the scanner and in the file, by nibabel's own affine."""

import nibabel
import numpy as np
import pytest

from mets3d.data.nifti import read_labels
from mets3d.inference.decoding import decode
from mets3d.inference.lesion_table import as_stored, in_scanner_space
from mets3d.regions import Target
from tests.inference.test_decoding import settings_of

TURNED = np.array([[0.98, -0.17, 0.05], [0.17, 0.98, 0.02], [-0.05, -0.02, 0.99]])


def stored(path, axes):
    """A label map of two lesions in one orientation, at an angle to the scanner."""
    labels = np.zeros((9, 8, 7), np.uint8)
    labels[2:5, 3:6, 1:4] = 3
    labels[7, 6, 5] = 3
    affine = np.eye(4)
    affine[:3, :3] = TURNED @ np.diag([1.5, 1.0, 2.0])
    affine[:3, 3] = -40, 25, 10
    image = nibabel.Nifti1Image(labels, affine)
    wanted = nibabel.orientations.axcodes2ornt(axes)
    turned = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), wanted))
    nibabel.save(turned, path)
    return nibabel.load(path)


@pytest.mark.parametrize("axes", ["RAS", "LAS", "LPI", "SPR"])
def test_places_are_those_that_a_viewer_shows(tmp_path, axes):
    image = stored(tmp_path / "A.nii.gz", axes)
    volume = read_labels(tmp_path / "A.nii.gz")
    probability = (volume.labels == 3).astype(np.float32)
    rows = decode([probability] * 3, Target(), settings_of(Target()), volume.spacing_mm).lesions
    grid = volume.source
    rows = [row for row in as_stored(in_scanner_space(rows, volume.spacing_mm, grid), grid) if row["region"] == "ET"]
    content = np.asarray(image.dataobj)
    for row in rows:
        voxel = row["i"], row["j"], row["k"]
        assert content[voxel] == 3
        by_affine = (image.affine @ [*voxel, 1])[:3]
        assert [row["x_mm"], row["y_mm"], row["z_mm"]] == pytest.approx(by_affine, abs=1e-4)
    assert [row["voxels"] for row in rows] == [27, 1]


def test_a_lesion_bent_around_its_centroid_is_met_at_its_nearest_voxel():
    ring = np.zeros((7, 7, 1), np.float32)
    ring[1:6, 1:6] = 1
    ring[2:5, 2:5] = 0
    (row,) = decode([ring, ring * 0, ring * 0], Target(), settings_of(Target()), (2.0, 1.0, 1.0)).lesions[:1]
    assert (row["i"], row["j"], row["k"]) == (3, 1, 0), "two mm from the middle, the lower of two"
    assert (row["x_mm"], row["y_mm"]) == (6.0, 1.0)
