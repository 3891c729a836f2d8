"""Shapes, number types, offsets and scaling of NIfTI headers."""

import struct
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from mets3d.data.nifti import (
    FileError,
    NotLabelsError,
    read_header,
    read_image,
    read_labels,
    read_probabilities,
    write_labels,
    write_probabilities,
)

READERS = [read_header, read_image]
VALUES = np.arange(1, 4 * 5 * 6 + 1, dtype=np.int16).reshape(4, 5, 6)


def saved(path: Path, data: np.ndarray = VALUES, affine: np.ndarray | None = None, **fields: Any) -> Path:
    """Writes a file and then single fields of its header, as no tool that checks them would."""
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4) if affine is None else affine), path)
    patch(path, **fields)
    return path


def patch(path: Path, **fields: Any) -> None:
    content = bytearray(path.read_bytes())
    for name, value in fields.items():
        field, offset = nibabel.Nifti1Header.template_dtype.fields[name][:2]
        written = np.asarray(value, field.base).tobytes()
        content[offset : offset + len(written)] = written
    path.write_bytes(content)


@pytest.mark.parametrize("axes", [(1,), (1, 1), (1, 1, 1, 1)])
@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-1.0, -1.0, 1.0, 1.0])])
def test_trailing_axes_of_one_do_not_count(tmp_path: Path, axes: tuple[int, ...], affine: np.ndarray) -> None:
    path = saved(tmp_path / "a.nii", VALUES.reshape(*VALUES.shape, *axes), affine)
    flat = saved(tmp_path / "b.nii", VALUES, affine)
    header = read_header(path)
    assert header.shape == (4, 5, 6)
    assert header.source.shape == (4, 5, 6)
    assert header.oddities == ()
    np.testing.assert_array_equal(read_image(path).data, read_image(flat).data)
    labels = read_labels(path)
    np.testing.assert_array_equal(labels.labels, read_labels(flat).labels)
    write_labels(tmp_path / "out.nii", labels.labels, labels.source)
    np.testing.assert_array_equal(np.asarray(nibabel.load(tmp_path / "out.nii").dataobj), VALUES)
    np.testing.assert_array_equal(nibabel.load(tmp_path / "out.nii").affine, affine)


def test_one_volume_of_several(tmp_path: Path) -> None:
    four = np.stack([VALUES, VALUES + 100, VALUES + 200], axis=-1)
    affine = np.diag([-1.0, 2.0, 1.0, 1.0])
    scaled = nibabel.Nifti1Image(four, affine)
    scaled.header.set_slope_inter(0.5, 3)
    nibabel.save(scaled, tmp_path / "scaled.nii.gz")
    path = saved(tmp_path / "a.nii", four, affine)
    fifth = saved(tmp_path / "five.nii", four[:, :, :, None], affine)
    for volume in range(3):
        expected = four[::-1, ..., volume]
        for file in (path, fifth):
            np.testing.assert_array_equal(read_image(file, volume).data, expected)
            assert read_header(file, volume).shape == (4, 5, 6)
        np.testing.assert_array_equal(read_image(tmp_path / "scaled.nii.gz", volume).data, 0.5 * expected + 3)
    np.testing.assert_array_equal(read_labels(path, 1).labels, four[::-1, ..., 1])
    np.testing.assert_array_equal(read_image(saved(tmp_path / "b.nii"), 0).data, VALUES)


@pytest.mark.parametrize("read", READERS)
def test_a_volume_that_is_not_there(tmp_path: Path, read) -> None:
    path = saved(tmp_path / "a.nii", np.stack([VALUES, VALUES], axis=-1))
    with pytest.raises(FileError, match=r"expected a 3-D volume, found shape \(4, 5, 6, 2\); .*say which volume"):
        read(path)
    for volume in (2, -1):
        with pytest.raises(FileError, match=f"expected volume {volume}, found 2 volumes"):
            read(path, volume)
    with pytest.raises(FileError, match="expected a 4-D file with volume 1"):
        read(saved(tmp_path / "b.nii"), 1)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "dim",
    [
        (2, 4, 5),
        (0,),
        (8,),
        (-1,),
        (3, 4, 5, 0),
        (3, -4, 5, 6),
        (4, 4, 5, 6, 0),
        (5, 4, 5, 3, 2, 1),
        (5, 2, 5, 2, 2, 3),
    ],
)
def test_dimensions_that_make_no_volume(tmp_path: Path, read, dim: tuple[int, ...]) -> None:
    path = saved(tmp_path / "a.nii", dim=dim)
    with pytest.raises(FileError, match="expected a 3-D volume, found"):
        read(path)


def test_a_single_slice_is_said(tmp_path: Path) -> None:
    header = read_header(saved(tmp_path / "a.nii", VALUES[:, :, :1]))
    assert header.shape == (4, 5, 1)
    assert [(oddity.severity, oddity.what) for oddity in header.oddities] == [("warning", "single slice")]


RGB = [("R", "u1"), ("G", "u1"), ("B", "u1")]


@pytest.mark.parametrize("read", [*READERS, read_labels])
@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        (np.complex64, "complex ones; take the magnitude"),
        (np.complex128, "complex ones"),
        (np.dtype(RGB), "RGB colours"),
        (np.dtype([*RGB, ("A", "u1")]), "RGBA colours"),
    ],
)
def test_voxels_of_more_than_one_number(tmp_path: Path, read, dtype: Any, message: str) -> None:
    path = saved(tmp_path / "a.nii", np.zeros((4, 5, 6), dtype))
    with pytest.raises(FileError, match=f"expected one number a voxel, found {message}"):
        read(path)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("code", [0, 1, 999])
def test_an_unknown_number_type(tmp_path: Path, read, code: int) -> None:
    with pytest.raises(FileError, match=f"found datatype {code}"):
        read(saved(tmp_path / "a.nii", datatype=code))


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("offset", [0, 100, 348, 351, -5, 352.5, np.nan, np.inf])
def test_voxels_that_begin_inside_the_header(tmp_path: Path, read, offset: float) -> None:
    with pytest.raises(FileError, match=f"from byte 352 on, behind the header, found a vox_offset of {offset:g}"):
        read(saved(tmp_path / "a.nii", vox_offset=offset))


def test_voxels_beyond_the_end(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="truncated or corrupt"):
        read_image(saved(tmp_path / "a.nii", vox_offset=1e6))


def test_extensions(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VALUES, np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 100))
    nibabel.save(image, tmp_path / "a.nii")
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii").data, VALUES)
    patch(tmp_path / "a.nii", vox_offset=368)
    for read in READERS:
        with pytest.raises(FileError, match="vox_offset of 368"):
            read(tmp_path / "a.nii")


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_no_slope_is_no_scaling_and_no_oddity(tmp_path: Path, slope: float) -> None:
    path = saved(tmp_path / "a.nii", scl_slope=slope, scl_inter=5)
    np.testing.assert_array_equal(read_image(path).data, VALUES)
    assert read_header(path).oddities == ()


@pytest.mark.parametrize(
    ("slope", "what", "factor"),
    [(np.inf, "broken scaling", 1), (-np.inf, "broken scaling", 1), (-2, "negative scaling", -2)],
)
def test_odd_slopes_are_said(tmp_path: Path, slope: float, what: str, factor: float) -> None:
    path = saved(tmp_path / "a.nii", scl_slope=slope, scl_inter=0)
    np.testing.assert_array_equal(read_image(path).data, factor * VALUES)
    assert [(oddity.severity, oddity.what) for oddity in read_header(path).oddities] == [("warning", what)]


@pytest.mark.parametrize("read", READERS)
def test_an_intercept_that_is_no_number(tmp_path: Path, read) -> None:
    with pytest.raises(FileError, match="scaled by 2 and moved by nan"):
        read(saved(tmp_path / "a.nii", scl_slope=2, scl_inter=np.nan))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_both_byte_orders_and_both_versions(tmp_path: Path, order: str, kind: Any, suffix: str) -> None:
    affine = np.diag([-2.0, 1.0, 3.0, 1.0])
    nibabel.save(kind(VALUES, affine, kind.header_class(endianness=order)), tmp_path / f"a{suffix}")
    image = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(image.data, VALUES[::-1])
    header = read_header(tmp_path / f"a{suffix}")
    assert (header.spacing_mm, header.oddities) == ((2.0, 1.0, 3.0), ())
    labels = read_labels(tmp_path / f"a{suffix}")
    write_labels(tmp_path / "out.nii.gz", labels.labels, labels.source)
    np.testing.assert_array_equal(nibabel.load(tmp_path / "out.nii.gz").affine, affine)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint64, np.float64])
def test_labels_are_compared_as_they_are_stored(tmp_path: Path, dtype: Any) -> None:
    """16777217 is 16777216 in float32, and 2 + 2e-9 is 2."""
    stored = np.zeros((3, 4, 5), dtype)
    stored[1, 1, 1], stored[2, 2, 2] = 16777217, 16777216
    image = nibabel.Nifti1Image(stored, np.eye(4), dtype=dtype)
    nibabel.save(image, tmp_path / "a.nii.gz")
    with pytest.raises(NotLabelsError, match=r"labels from 0 to 255, found 0 to 1\.67"):
        read_labels(tmp_path / "a.nii.gz")
    labels = read_labels(tmp_path / "a.nii.gz", mapped={16777217: 3}, beyond=255).labels
    assert (labels[1, 1, 1], labels[2, 2, 2], labels[0, 0, 0]) == (3, 255, 0)
    both = read_labels(tmp_path / "a.nii.gz", mapped={16777217: 3, 16777216: 1}).labels
    assert (both[1, 1, 1], both[2, 2, 2], int(both.sum())) == (3, 1, 4)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.float32])
def test_labels_are_mapped_all_at_once(tmp_path: Path, dtype: Any) -> None:
    stored = np.array([0, 1, 2, 4, 3], dtype).reshape(5, 1, 1)
    nibabel.save(nibabel.Nifti1Image(stored, np.eye(4)), tmp_path / "a.nii")
    mapped = read_labels(tmp_path / "a.nii", mapped={1: 2, 2: 1, 4: 3}).labels
    assert mapped.ravel().tolist() == [0, 2, 1, 3, 3]
    assert read_labels(tmp_path / "a.nii").labels.ravel().tolist() == [0, 1, 2, 4, 3]


@pytest.mark.parametrize(
    ("mapped", "joined"),
    [({4: 3}, ["4 into 3"]), ({4: 3, 3: 3}, []), ({5: 3}, []), ({1: 2, 2: 1}, []), ({4: 0}, []), ({}, [])],
)
def test_a_map_that_joins_a_label_with_one_it_does_not_name_is_said(
    tmp_path: Path, mapped: dict[int, int], joined: list[str]
) -> None:
    nibabel.save(
        nibabel.Nifti1Image(np.array([0, 1, 2, 4, 3], np.uint8).reshape(5, 1, 1), np.eye(4)), tmp_path / "a.nii"
    )
    oddities = read_labels(tmp_path / "a.nii", mapped=mapped).oddities
    found = [oddity for oddity in oddities if oddity.what == "labels joined by the map"]
    assert [oddity.severity for oddity in found] == ["warning"] * len(joined)
    assert all(words in oddity.detail for words, oddity in zip(joined, found, strict=True))


@pytest.mark.parametrize("extra", [(), (1,)])
def test_probabilities_with_trailing_axes_of_one(tmp_path: Path, extra: tuple[int, ...]) -> None:
    grid = read_labels(saved(tmp_path / "a.nii", VALUES % 3)).source
    for names in (["WT"], ["WT", "TC"]):
        values = np.random.default_rng(0).random((len(names), 4, 5, 6), np.float32)
        write_probabilities(tmp_path / "p.nii", values, grid, names)
        patch(tmp_path / "p.nii", dim=(4 + len(extra), 4, 5, 6, len(names), *extra))
        found = read_probabilities(tmp_path / "p.nii")
        assert found.names == tuple(names)
        np.testing.assert_array_equal(found.data, values)


def test_the_patches_above_hit_their_fields(tmp_path: Path) -> None:
    content = saved(tmp_path / "a.nii", vox_offset=352, pixdim=(1, 2, 3, 4)).read_bytes()
    assert struct.unpack_from("<f", content, 108) == (352.0,)
    assert struct.unpack_from("<4f", content, 76) == (1.0, 2.0, 3.0, 4.0)
