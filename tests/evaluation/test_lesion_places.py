"""Where lesions lie: scanner coordinates and voxels of lesions.csv, by nibabel's own affine and scipy's components."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff
from scipy import ndimage

from mets3d.evaluation.evaluate import Tables, evaluate
from mets3d.evaluation.lesion_columns import LESION_COLUMNS
from mets3d.evaluation.lesions import Asked, stored_scores
from mets3d.ops.voxels import points_inside, sizes_and_centres

SPACING = (0.9, 1.1, 2.0)
SHAPE = (24, 20, 14)


def oblique() -> np.ndarray:
    """An affine turned about two axes, with its origin far from 0."""
    a, b = np.radians(14), np.radians(-9)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_x @ about_z @ np.diag(SPACING)
    affine[:3, 3] = (-83.5, -121.25, 37.75)
    return affine


def reference() -> np.ndarray:
    """Two boxes of one size, a C whose centroid lies outside of it, and two voxels side by side."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:5, 2:5, 2:4] = labels[2:5, 2:5, 8:10] = 3
    labels[10:17, 3:10, 5] = 3
    labels[12:17, 5:8, 5] = 0
    labels[20:22, 15, 11] = 3
    return labels


def prediction() -> np.ndarray:
    labels = reference()
    labels[2:5, 2:5, 8:10] = 0  # missed
    labels[6:9, 15:18, 3:5] = 3  # false
    return labels


def save(path: Path, ras: np.ndarray, codes: str) -> None:
    """Writes an array and affine of RAS so that the file's axes point as `codes` say."""
    path.parent.mkdir(parents=True, exist_ok=True)
    turn = nibabel.orientations.ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    stored = nibabel.apply_orientation(ras, turn)
    nibabel.save(nibabel.Nifti1Image(stored, oblique() @ inv_ornt_aff(turn, ras.shape)), path)


def rows(folder: Path, codes: tuple[str, str]) -> list[dict[str, Any]]:
    for role, labels, code in zip(("predictions", "references"), (prediction(), reference()), codes, strict=True):
        save(folder / role / "A.nii.gz", labels, code)
    report = evaluate(folder / "predictions", folder / "references", Tables(folder / "s.csv", folder / "l.csv"))
    assert report.problems == []
    return [row for row in report.lesions if row["region"] == "ET"]


@pytest.mark.parametrize("codes", [("RAS", "RAS"), ("LAS", "LAS"), ("LPI", "RAS"), ("RAS", "LPI"), ("PSR", "LAS")])
def test_coordinates_land_on_the_lesion_in_the_file(tmp_path: Path, codes: tuple[str, str]) -> None:
    found = rows(tmp_path, codes)
    assert [row["kind"] for row in found] == ["found", "found", "missed", "found", "false"]
    image = nibabel.load(tmp_path / "references" / "A.nii.gz")
    assert "".join(nibabel.aff2axcodes(image.affine)) == codes[1]
    to_file = nibabel.orientations.ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes[1]))
    both = nibabel.apply_orientation(np.maximum(reference(), prediction()), to_file)
    numbers, _ = ndimage.label(both == 3, np.ones((3, 3, 3)))
    seen = set()
    for row in found:
        voxel = row["i"], row["j"], row["k"]
        component = numbers[voxel]
        assert component, "the voxel is one of the lesion"
        seen.add(component)
        position = [row["x_mm"], row["y_mm"], row["z_mm"]]
        at = np.linalg.inv(image.affine) @ [*position, 1.0]
        typed = numbers[tuple(np.round(at[:3] + 1e-4).astype(int))]
        assert typed == component, "a viewer that is given the millimetres lands on the lesion"
        centre = np.array(ndimage.center_of_mass(numbers == component))
        own = np.argwhere(numbers == component)
        least = np.linalg.norm((own - centre) * image.header.get_zooms(), axis=1).min()
        assert np.linalg.norm((voxel - centre) * image.header.get_zooms()) == pytest.approx(least, abs=1e-5)
        bent = len(own) == 34
        expected = image.affine @ [*(voxel if bent else centre), 1.0]
        assert position == pytest.approx(expected[:3], abs=1e-3)
    assert len(seen) == len(found)
    assert ",x_mm,y_mm,z_mm,i,j,k," in (tmp_path / "l.csv").read_text().splitlines()[0]
    assert {"i", "j", "k"} < set(LESION_COLUMNS)


def test_millimetres_and_numbers_do_not_depend_on_how_files_are_stored(tmp_path: Path) -> None:
    plain = rows(tmp_path / "plain", ("RAS", "RAS"))
    for other in (("LPI", "LPI"), ("SAL", "PIR")):
        for row, expected in zip(rows(tmp_path / "".join(other), other), plain, strict=True):
            names = ("lesion", "kind", "x_mm", "y_mm", "z_mm")
            assert [row[name] for name in names] == [
                pytest.approx(expected[name], abs=1e-3) if name.endswith("mm") else expected[name] for name in names
            ]


def test_points_by_hand() -> None:
    numbers = np.zeros((7, 7, 3), np.int64)
    numbers[0:2, 0, 0] = 1  # between two voxels
    numbers[2:7, 2:7, 1] = 2
    numbers[3:6, 3:6, 1] = 0  # a ring
    _, centres = sizes_and_centres(numbers)
    pair, ring = points_inside(numbers, centres, (10, 0, 0), (1.0, 1.0, 1.0))
    assert (pair.voxel, pair.place, pair.centroid) == ((10, 0, 0), (10.5, 0.0, 0.0), (10.5, 0.0, 0.0))
    assert (ring.voxel, ring.place, ring.centroid) == (
        (14, 2, 1),
        (14.0, 2.0, 1.0),
        (14.0, 4.0, 1.0),
    )  # of four as near, the one farthest back
    _, ring = points_inside(numbers, centres, (10, 0, 0), (1.0, 1.0, 1.0), ((0, 1), (1, -1), (2, 1)))
    assert ring.voxel == (14, 6, 1)
    _, ring = points_inside(numbers, centres, (0, 0, 0), (1.0, 2.0, 1.0))
    assert ring.voxel == (2, 4, 1)  # in mm it is nearer along X, and of these the leftmost


def test_orientations_that_are_none_are_refused() -> None:
    labels = np.zeros((3, 3, 3), np.uint8)
    for wrong in ("RA", "RAR", "LLA", "xyz", "RASL", ""):
        with pytest.raises(ValueError, match="expected an orientation such as RAS or LPS, found"):
            stored_scores(labels, labels, (1, 1, 1), Asked(), wrong)
