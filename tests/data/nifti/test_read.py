"""Reading into RAS and writing back on the file's own grid."""

import gzip
import itertools
from pathlib import Path

import nibabel
import numpy as np
import pytest

from mets3d.data import DataError
from mets3d.data.nifti import (
    read_header,
    read_image,
    read_labels,
    read_probabilities,
    write_image,
    write_labels,
    write_probabilities,
)

SPACING = np.array([0.9, 1.1, 5.5])


def affine_of(codes: str, spacing: np.ndarray = SPACING) -> np.ndarray:
    """File axis i points to codes[i] with its own spacing."""
    axes = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, code in enumerate(codes):
        row, sign = axes[code]
        affine[row, column] = sign * spacing[column]
    affine[:3, 3] = [-30.0, 239.0, 7.5]
    return affine


def oblique() -> np.ndarray:
    angle = np.deg2rad(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ affine_of("LAS")


AFFINES = {codes: affine_of(codes) for codes in ("RAS", "LPS", "LAS", "SRA", "AIL")} | {"oblique": oblique()}


def saved(path: Path, data: np.ndarray, affine: np.ndarray, *, qform: int = 1, sform: int = 1) -> Path:
    image = nibabel.Nifti1Image(data, affine)
    image.set_qform(affine, qform)
    image.set_sform(affine, sform)
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("orientation", AFFINES)
def test_a_voxel_keeps_its_place_in_the_world(tmp_path: Path, orientation: str) -> None:
    affine = AFFINES[orientation]
    stored = np.zeros((5, 6, 7), dtype=np.int16)
    stored[1, 2, 4] = 77
    image = read_image(saved(tmp_path / "a.nii.gz", stored, affine))
    (index,) = np.argwhere(image.data == 77)
    np.testing.assert_allclose(image.affine @ [*index, 1], affine @ [1, 2, 4, 1], atol=1e-4)
    assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
    np.testing.assert_allclose(np.linalg.norm(image.affine[:3, :3], axis=0), image.spacing_mm, rtol=1e-5)


@pytest.mark.parametrize(
    ("codes", "spacing"), [("LPS", (0.9, 1.1, 5.5)), ("SRA", (1.1, 5.5, 0.9)), ("AIL", (5.5, 0.9, 1.1))]
)
def test_spacing_is_in_ras_order(tmp_path: Path, codes: str, spacing: tuple[float, float, float]) -> None:
    path = saved(tmp_path / "a.nii.gz", np.ones((5, 6, 7), dtype=np.int16), affine_of(codes))
    assert read_image(path).spacing_mm == spacing
    header = read_header(path)
    assert header.spacing_mm == spacing
    assert header.source.orientation == codes
    assert header.source.shape == (5, 6, 7)
    assert header.shape == read_image(path).data.shape
    np.testing.assert_array_equal(header.affine, read_image(path).affine)


@pytest.mark.parametrize("orientation", AFFINES)
@pytest.mark.parametrize(("qform", "sform"), [(1, 1), (1, 0), (0, 2), (0, 0)])
def test_labels_come_back_as_they_were(tmp_path: Path, orientation: str, qform: int, sform: int) -> None:
    stored = np.random.default_rng(0).integers(0, 5, (5, 6, 7)).astype(np.uint8)
    path = saved(tmp_path / "in.nii.gz", stored, AFFINES[orientation], qform=qform, sform=sform)
    volume = read_labels(path)
    write_labels(tmp_path / "out.nii.gz", volume.labels, volume.source)
    before, after = nibabel.load(path), nibabel.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(np.asarray(after.dataobj), stored)
    assert after.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(after.affine, before.affine)
    for key in ("qform_code", "sform_code", "xyzt_units", "pixdim"):
        np.testing.assert_array_equal(after.header[key], before.header[key], err_msg=key)


def test_a_slice_axis_stored_first_is_undone_and_redone(tmp_path: Path) -> None:
    stored = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    image = read_image(saved(tmp_path / "a.nii.gz", stored, affine_of("SRA")))
    np.testing.assert_array_equal(image.data, np.transpose(stored, (1, 2, 0)))
    image = read_image(saved(tmp_path / "b.nii.gz", stored, affine_of("LPS")))
    np.testing.assert_array_equal(image.data, stored[::-1, ::-1])


def test_probabilities_have_the_region_axis_last(tmp_path: Path) -> None:
    stored = np.zeros((5, 6, 7), dtype=np.uint8)
    volume = read_labels(saved(tmp_path / "a.nii.gz", stored, affine_of("LPS")))
    probabilities = np.random.default_rng(0).random((3, *volume.labels.shape), dtype=np.float32)
    write_probabilities(tmp_path / "p.nii.gz", probabilities, volume.source, ("WT", "TC", "ET"))
    written = nibabel.load(tmp_path / "p.nii.gz")
    assert written.get_data_dtype() == np.float32
    for region in range(3):
        expected = probabilities[region][::-1, ::-1]
        np.testing.assert_array_equal(np.asarray(written.dataobj)[..., region], expected)
    np.testing.assert_array_equal(written.affine, volume.source.affine)
    for affine, code in (written.get_sform(coded=True), written.get_qform(coded=True)):
        np.testing.assert_allclose(affine, volume.source.affine, atol=1e-5)
        assert code == 1


@pytest.mark.parametrize("axes", ["RAS", "PSL"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_probabilities_come_back_with_their_names(tmp_path: Path, axes: str, suffix: str) -> None:
    volume = read_labels(saved(tmp_path / "a.nii.gz", np.zeros((5, 6, 7), dtype=np.uint8), affine_of(axes)))
    probabilities = np.random.default_rng(0).random((2, *volume.labels.shape), dtype=np.float32)
    write_probabilities(tmp_path / f"p{suffix}", probabilities, volume.source, ("WT", "RC"))
    found = read_probabilities(tmp_path / f"p{suffix}")
    assert found.names == ("WT", "RC")
    np.testing.assert_array_equal(found.data, probabilities)
    assert found.data.dtype == np.float32
    np.testing.assert_allclose(found.affine, volume.affine)
    assert found.spacing_mm == volume.spacing_mm
    assert found.source.shape == (5, 6, 7)


def test_equal_probabilities_are_equal_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = read_labels(saved(tmp_path / "a.nii.gz", np.zeros((5, 6, 7), dtype=np.uint8), affine_of("RAS")))
    probabilities = np.random.default_rng(0).random((1, 5, 6, 7), dtype=np.float32)
    write_probabilities(tmp_path / "one.nii.gz", probabilities, volume.source, ["WT"])
    monkeypatch.setattr("time.time", lambda: 1e9)
    write_probabilities(tmp_path / "other.nii.gz", list(probabilities), volume.source, ["WT"])
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "other.nii.gz").read_bytes()


def test_probabilities_without_the_names_of_their_channels_are_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 3, 4, 3), dtype=np.float32), np.eye(4)), tmp_path / "p.nii.gz")
    with pytest.raises(DataError, match=r"p\.nii\.gz: expected a header that names 3 channels, such as 'WT TC ET'"):
        read_probabilities(tmp_path / "p.nii.gz")
    volume = read_labels(saved(tmp_path / "a.nii.gz", np.zeros((5, 6, 7), dtype=np.uint8), affine_of("RAS")))
    with pytest.raises(DataError, match="expected a 4-D volume"):
        read_probabilities(tmp_path / "a.nii.gz")
    for names in (["WT"], ["WT", "T C"], ["WT", "x" * 90]):
        with pytest.raises(DataError, match="expected 2 names without spaces"):
            write_probabilities(tmp_path / "q.nii.gz", np.zeros((2, 5, 6, 7), np.float32), volume.source, names)
    with pytest.raises(DataError, match=r"grid of \(5, 6, 7\), found \(5, 6, 8\)"):
        write_probabilities(tmp_path / "q.nii.gz", np.zeros((1, 5, 6, 8), np.float32), volume.source, ["WT"])
    assert not (tmp_path / "q.nii.gz").exists()


def test_an_array_of_another_shape_is_refused(tmp_path: Path) -> None:
    volume = read_labels(saved(tmp_path / "a.nii.gz", np.zeros((5, 6, 7), dtype=np.uint8), affine_of("LPS")))
    with pytest.raises(DataError, match=r"grid of \(5, 6, 7\), found \(5, 6, 8\)"):
        write_labels(tmp_path / "out.nii.gz", np.zeros((5, 6, 8), dtype=np.uint8), volume.source)
    with pytest.raises(DataError, match="labels from 0 to 255, found 0 to 300"):
        write_labels(tmp_path / "out.nii.gz", np.full((5, 6, 7), 300) * np.eye(7, dtype=int)[:6], volume.source)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii.gz"]


def test_scaled_integers_are_read_as_what_they_mean(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.array([[[1, 2, 3]]], dtype=np.int16), np.eye(4))
    image.header.set_slope_inter(0.5, -10)
    nibabel.save(image, tmp_path / "a.nii")
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii").data, [[[-9.5, -9.0, -8.5]]])


def test_nifti_2_and_uncompressed_files(tmp_path: Path) -> None:
    data = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nibabel.save(nibabel.Nifti2Image(data, np.eye(4)), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii").data, data)


def test_integers_stored_as_floats_are_labels(tmp_path: Path) -> None:
    stored = np.zeros((4, 4, 4), dtype=np.float32)
    stored[1, 1, 1], stored[2, 2, 2] = 2.9995, 1.0005
    labels = read_labels(saved(tmp_path / "a.nii.gz", stored, np.eye(4))).labels
    assert labels.dtype == np.uint8
    assert (labels[1, 1, 1], labels[2, 2, 2], int(labels.sum())) == (3, 1, 4)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.5, "whole numbers as labels, found others in 1 voxel, for example 1.5"),
        (np.nan, "whole numbers"),
        (-1.0, "labels from 0 to 255, found -1 to 0"),
        (300.0, "labels from 0 to 255, found 0 to 300"),
    ],
)
def test_what_is_no_label_is_refused_with_the_value(tmp_path: Path, value: float, message: str) -> None:
    stored = np.zeros((4, 4, 4), dtype=np.float32)
    stored[1, 1, 1] = value
    path = saved(tmp_path / "a.nii.gz", stored, np.eye(4))
    with pytest.raises(DataError, match=message) as caught:
        read_labels(path)
    assert str(path) in str(caught.value)


def random_file(path: Path) -> Path:
    return saved(path, np.random.default_rng(0).integers(0, 999, (20, 20, 20)).astype(np.int16), np.eye(4))


@pytest.mark.parametrize("kept", [0.9, 0.5, 0.001])
def test_a_truncated_file_is_named(tmp_path: Path, kept: float) -> None:
    path = random_file(tmp_path / "cut.nii.gz")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(DataError, match=r"cut\.nii\.gz: cannot be read as NIfTI, truncated or corrupt"):
        read_image(path)


def test_one_wrong_byte_is_found_by_the_checksum(tmp_path: Path) -> None:
    path = random_file(tmp_path / "flipped.nii.gz")
    content = bytearray(gzip.decompress(path.read_bytes()))
    packed = bytearray(gzip.compress(bytes(content), compresslevel=0))
    packed[len(packed) // 2] ^= 1
    path.write_bytes(packed)
    with pytest.raises(DataError, match="flipped"):
        read_image(path)


@pytest.mark.parametrize("cuts", [(0.5,), (0.3, 0.6), (0.0,), (1.0,)])
def test_a_file_of_several_gzip_streams_is_one(tmp_path: Path, cuts: tuple[float, ...]) -> None:
    """Also of two equally long ones, where the length at the end is that of the first."""
    path = random_file(tmp_path / "joined.nii.gz")
    expected = read_image(path).data
    content = gzip.decompress(path.read_bytes())
    ends = [0, *(int(cut * len(content)) for cut in cuts), len(content)]
    path.write_bytes(b"".join(gzip.compress(content[a:b]) for a, b in itertools.pairwise(ends)))
    assert np.array_equal(read_image(path).data, expected)


def test_what_lies_behind_a_gzip_stream_is_no_image(tmp_path: Path) -> None:
    path = random_file(tmp_path / "more.nii.gz")
    content = path.read_bytes()
    expected = read_image(path).data
    path.write_bytes(content + bytes(512))  # padding, as tapes have it
    assert np.array_equal(read_image(path).data, expected)
    for behind in (b"something else", b"junk\5\0\0\0"):  # as lengths: a huge one, and 5
        path.write_bytes(content + behind)
        with pytest.raises(DataError, match="more"):
            read_image(path)


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", "<u2", "<i4", "<f4", ">f4", "<f8", "<i8"])
@pytest.mark.parametrize("slope", [None, 0.25])
def test_values_of_every_number_type_are_those_of_nibabel(tmp_path: Path, dtype: str, slope: float | None) -> None:
    values = np.random.default_rng(0).integers(0, 200, (5, 6, 7)).astype(dtype)
    image = nibabel.Nifti1Image(values, affine_of("LPS"), nibabel.Nifti1Header(endianness=">" if ">" in dtype else "<"))
    image.set_data_dtype(np.dtype(dtype))
    image.header.set_slope_inter(slope, None if slope is None else -3)
    nibabel.save(image, tmp_path / "a.nii.gz")
    found = read_image(tmp_path / "a.nii.gz").data
    expected = nibabel.as_closest_canonical(nibabel.load(tmp_path / "a.nii.gz")).get_fdata(dtype=np.float32)
    assert found.flags.c_contiguous
    assert np.array_equal(found, expected)


def test_labels_that_fill_little_or_nothing_of_the_grid(tmp_path: Path) -> None:
    grid = read_image(saved(tmp_path / "image.nii.gz", np.ones((5, 6, 7), np.int16), affine_of("SRA"))).source
    labels = np.zeros((6, 7, 5), np.uint8)
    for corner in (None, (5, 0, 4), (0, 6, 2)):
        if corner is not None:
            labels[corner] = 3
        write_labels(tmp_path / "labels.nii.gz", labels, grid)
        assert np.array_equal(read_labels(tmp_path / "labels.nii.gz").labels, labels)


def test_what_is_no_nifti_and_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"PK" * 400)
    (tmp_path / "empty.nii.gz").touch()
    for name in ("a.nii", "empty.nii.gz"):
        for read in (read_image, read_header):
            with pytest.raises(DataError, match=name):
                read(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"gone\.nii"):
        read_image(tmp_path / "gone.nii")


def test_a_volume_that_is_not_3d_is_refused_with_its_shape(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 4, 5, 2), dtype=np.int16), np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(DataError, match=r"expected a 3-D volume, found shape \(3, 4, 5, 2\)"):
        read_image(tmp_path / "a.nii.gz")


def test_a_volume_without_orientation_is_refused(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), dtype=np.int16), np.eye(4))
    image.header.set_sform(np.diag([1.0, 1.0, 0.0, 1.0]), 1)
    (tmp_path / "a.nii").write_bytes(bytes(image.header.binaryblock) + bytes(4 + 2 * 60))
    with pytest.raises(DataError, match="affine has no inverse"):
        read_image(tmp_path / "a.nii")


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nibabel, "save", lambda image, path: Path(path).write_bytes(b"half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_image(tmp_path / "a.nii.gz", np.zeros((2, 2, 2), dtype=np.int16), np.eye(4))
    assert list(tmp_path.iterdir()) == []
