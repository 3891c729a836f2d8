"""Where voxels lie by headers that contradict themselves, leave something open or use another unit."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from mets3d.data.nifti import FileError, Header, read_header, read_image, read_labels, write_labels

SHAPE = (4, 5, 6)
SIDES = (1.0, 2.0, 3.0)
AFFINE = np.array([[-1.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 3, -72], [0, 0, 0, 1]])


def saved(
    path: Path,
    *,
    sform: np.ndarray | None = AFFINE,
    qform: np.ndarray | None = AFFINE,
    codes: tuple[int, int] = (1, 1),
    pixdim: Any = None,
    units: int = 2,
) -> Path:
    """Writes a file by its fields; None is code 0."""
    header = nibabel.Nifti1Header()
    header.set_data_shape(SHAPE)
    header.set_data_dtype(np.int16)
    header.set_qform(AFFINE if qform is None else qform, 0 if qform is None else codes[0])
    header.set_sform(AFFINE if sform is None else sform, 0 if sform is None else codes[1])
    if pixdim is not None:
        header["pixdim"][: len(pixdim)] = pixdim
    header["xyzt_units"], header["vox_offset"] = units, 352
    voxels = np.arange(np.prod(SHAPE), dtype="<i2").tobytes()
    path.write_bytes(header.binaryblock + bytes(4) + voxels)
    return path


def told(header: Header) -> list[tuple[str, str]]:
    return [(oddity.severity, oddity.what) for oddity in header.oddities]


def test_a_sound_header_has_no_oddity(tmp_path: Path) -> None:
    for units in (0, 2, 10):
        header = read_header(saved(tmp_path / "a.nii", units=units))
        assert header.oddities == ()
        assert header.source.located
        np.testing.assert_array_equal(header.source.affine, AFFINE)
        assert header.spacing_mm == SIDES


@pytest.mark.parametrize("bad", [np.nan, 0.0, -2.0, np.inf])
def test_a_voxel_size_that_is_none_is_taken_from_the_sform(tmp_path: Path, bad: float) -> None:
    path = saved(tmp_path / "a.nii", pixdim=(-1, 1, bad, 3))
    header = read_header(path)
    assert header.spacing_mm == SIDES
    assert told(header) == [("warning", "no voxel size")]
    assert "the affine's 1 x 2 x 3 mm" in header.oddities[0].detail
    labels = read_labels(path)
    write_labels(tmp_path / "out.nii", labels.labels, labels.source)
    assert nibabel.load(tmp_path / "out.nii").header.get_zooms() == SIDES
    np.testing.assert_array_equal(nibabel.load(tmp_path / "out.nii").affine, AFFINE)


@pytest.mark.parametrize("read", [read_header, read_image])
@pytest.mark.parametrize("bad", [np.nan, 0.0, np.inf])
@pytest.mark.parametrize("qform", [AFFINE, None])
def test_a_voxel_size_that_nothing_else_says_is_an_error(
    tmp_path: Path, read, bad: float, qform: np.ndarray | None
) -> None:
    message = "orientation is unknown" if qform is not None else "pixdim is 1 x .* and there is no sform"
    with pytest.raises(FileError, match=message):
        read(saved(tmp_path / "a.nii", sform=None, qform=qform, pixdim=(-1, 1, bad, 3)))


def test_a_negative_voxel_size_is_said(tmp_path: Path) -> None:
    header = read_header(saved(tmp_path / "a.nii", sform=None, pixdim=(-1, 1, -2, 3)))
    np.testing.assert_allclose(header.source.affine, AFFINE, atol=1e-5)
    assert told(header) == [("warning", "no voxel size")]


@pytest.mark.parametrize("qfac", [0.0, 7.0, np.nan])
def test_a_qfac_that_is_none_counts_as_one(tmp_path: Path, qfac: float) -> None:
    """As the standard says. The affine has a negative determinant, so its third axis turns round."""
    header = read_header(saved(tmp_path / "a.nii", sform=None, pixdim=(qfac,)))
    np.testing.assert_allclose(header.source.affine[:3, 2], -AFFINE[:3, 2], atol=1e-5)


@pytest.mark.parametrize(("factor", "expected"), [(1.05, True), (2.0, True), (1.02, True), (1.005, False)])
def test_voxel_sizes_off_the_affine(tmp_path: Path, factor: float, expected: bool) -> None:
    header = read_header(saved(tmp_path / "a.nii", qform=None, pixdim=(1, factor, 2, 3)))
    assert header.spacing_mm[0] == pytest.approx(factor)
    assert told(header) == ([("warning", "spacing and affine differ")] if expected else [])


def turned(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ AFFINE


@pytest.mark.parametrize(
    ("codes", "severity"), [((1, 1), "warning"), ((2, 2), "warning"), ((2, 1), "warning"), ((1, 4), "note")]
)
def test_qform_against_sform(tmp_path: Path, codes: tuple[int, int], severity: str) -> None:
    header = read_header(saved(tmp_path / "a.nii", qform=turned(10), codes=codes))
    np.testing.assert_array_equal(header.source.affine, AFFINE)
    assert told(header) == [(severity, "qform and sform differ")]
    far = max(np.linalg.norm((turned(10) - AFFINE) @ [x, y, z, 1]) for x in (0, 3) for y in (0, 4) for z in (0, 5))
    assert f"up to {far:.3g} mm apart" in header.oddities[0].detail


def test_rounding_between_qform_and_sform_is_no_oddity(tmp_path: Path) -> None:
    near = AFFINE.copy()
    near[0, 3] += 0.09
    assert read_header(saved(tmp_path / "a.nii", qform=near)).oddities == ()


def test_both_codes_0_is_a_guess_that_is_said(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.nii", sform=None, qform=None)
    header = read_header(path)
    assert not header.source.located
    assert header.source.orientation == "LAS"
    assert told(header) == [("warning", "no orientation")]
    assert header.spacing_mm == SIDES
    np.testing.assert_array_equal(header.source.affine, nibabel.load(path).affine)


def test_a_broken_sform_beside_a_good_qform(tmp_path: Path) -> None:
    for broken in (np.diag([1.0, 2.0, 0.0, 1.0]), np.full((4, 4), np.nan), np.zeros((4, 4))):
        header = read_header(saved(tmp_path / "a.nii", sform=broken))
        np.testing.assert_allclose(header.source.affine, AFFINE, atol=1e-5)
        assert told(header) == [("warning", "broken sform")]
        with pytest.raises(FileError, match="affine has no inverse"):
            read_header(saved(tmp_path / "b.nii", sform=broken, qform=None))


def sheared(degrees: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[:3, 2] = [3 * np.sin(np.deg2rad(degrees)), 0, 3 * np.cos(np.deg2rad(degrees))]
    return affine


@pytest.mark.parametrize("read", [read_header, read_image])
def test_sheared_axes(tmp_path: Path, read) -> None:
    assert read_header(saved(tmp_path / "a.nii", sform=sheared(0.3), qform=None)).oddities == ()
    header = read_header(saved(tmp_path / "b.nii", sform=sheared(4), qform=None))
    assert told(header) == [("warning", "sheared axes")]
    assert "4.0 degrees" in header.oddities[0].detail
    with pytest.raises(FileError, match=r"15\.0 degrees off right angles, so distances") as caught:
        read(saved(tmp_path / "c.nii", sform=sheared(15), qform=None))
    assert caught.value.what == "sheared axes"


def test_an_oblique_anisotropic_scan_is_not_sheared(tmp_path: Path) -> None:
    assert read_header(saved(tmp_path / "a.nii", sform=turned(33), qform=turned(33))).oddities == ()


@pytest.mark.parametrize(("units", "name", "factor"), [(1, "metre", 1e-3), (3, "micrometre", 1e3)])
@pytest.mark.parametrize("forms", ["both", "sform", "qform", "neither"])
def test_other_units_become_mm(tmp_path: Path, units: int, name: str, factor: float, forms: str) -> None:
    affine = AFFINE.copy()
    affine[:3] *= factor
    path = saved(
        tmp_path / "a.nii",
        sform=affine if forms in ("both", "sform") else None,
        qform=affine if forms in ("both", "qform") else None,
        pixdim=(-1, *(side * factor for side in SIDES)),
        units=units,
    )
    header = read_header(path)
    assert header.spacing_mm == SIDES
    if forms != "neither":
        np.testing.assert_allclose(header.source.affine, AFFINE, rtol=1e-5, atol=1e-4)
    assert ("warning", "unit is not mm") in told(header)
    assert f"{name}s by the header's unit, 1 x 2 x 3 mm" in header.oddities[-1].detail
    labels = read_labels(path)
    write_labels(tmp_path / "out.nii", labels.labels, labels.source)
    for field in ("pixdim", "xyzt_units", "srow_x", "srow_y", "srow_z", "qoffset_x"):
        np.testing.assert_allclose(
            nibabel.load(tmp_path / "out.nii").header[field], nibabel.load(path).header[field], rtol=1e-6
        )


@pytest.mark.parametrize("read", [read_header, read_image])
@pytest.mark.parametrize("units", [1, 3])
def test_a_unit_that_makes_no_mri_is_an_error(tmp_path: Path, read, units: int) -> None:
    with pytest.raises(FileError, match="which no MRI has; set xyzt_units to 2") as caught:
        read(saved(tmp_path / "a.nii", units=units))
    assert caught.value.what == "unlikely unit"


def test_an_unlikely_voxel_size_is_said(tmp_path: Path) -> None:
    small = AFFINE.copy()
    small[:3] *= 1e-2
    header = read_header(saved(tmp_path / "a.nii", sform=small, qform=None, pixdim=(1, 1e-2, 2e-2, 3e-2), units=0))
    assert told(header) == [("warning", "unlikely voxel size")]
