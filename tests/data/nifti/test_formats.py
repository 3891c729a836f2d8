"""NRRD and MGH: the same volumes as NIfTI's."""

import gzip
import sys
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest

from mets3d.data.nifti import FileError, read_header, read_image, read_labels, write_labels

READERS = [read_header, read_image]
VALUES = np.arange(1, 4 * 5 * 6 + 1, dtype=np.int16).reshape(4, 5, 6)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def oblique() -> np.ndarray:
    """An affine in RAS mm: columns of 0.9, 1.1 and 5 mm, turned, first axis to the left."""
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.9, 1.1, 5.0])
    affine[:3, 3] = [10, -20, 30]
    return affine


def as_nifti(path: Path, values: np.ndarray = VALUES) -> Path:
    nibabel.save(nibabel.Nifti1Image(values, oblique()), path)
    return path


def fields(space: str) -> dict[str, Any]:
    signs = {"left-posterior-superior": (-1, -1, 1), "RAS": (1, 1, 1), "left-anterior-superior": (-1, 1, 1)}[space]
    affine = np.diag([*signs, 1]) @ oblique()
    return {"space": space, "space directions": affine[:3, :3].T, "space origin": affine[:3, 3]}


@pytest.mark.parametrize("space", ["left-posterior-superior", "RAS", "left-anterior-superior"])
@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii"])
def test_nrrd_is_the_same_volume_as_nifti(tmp_path: Path, space: str, encoding: str) -> None:
    nrrd.write(str(tmp_path / "a.nrrd"), VALUES, {**fields(space), "encoding": encoding})
    check_equal(tmp_path / "a.nrrd", as_nifti(tmp_path / "b.nii.gz"))


@pytest.mark.parametrize("suffix", [".mgh", ".mgz"])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.int32, np.float32])
def test_mgh_is_the_same_volume_as_nifti(tmp_path: Path, suffix: str, dtype: Any) -> None:
    values = VALUES.astype(dtype)
    nibabel.save(nibabel.MGHImage(values, oblique()), tmp_path / f"a{suffix}")
    check_equal(tmp_path / f"a{suffix}", as_nifti(tmp_path / "b.nii.gz", values))


def check_equal(path: Path, expected_path: Path) -> None:
    found, expected = read_image(path), read_image(expected_path)
    np.testing.assert_array_equal(found.data, expected.data)
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-4)
    np.testing.assert_allclose(found.spacing_mm, expected.spacing_mm, rtol=1e-5)
    header = read_header(path)
    assert (header.shape, header.oddities, found.oddities) == (found.shape, (), ())
    np.testing.assert_array_equal(header.affine, found.affine)
    labels = read_labels(path)
    write_labels(path.parent / "out.nii.gz", labels.labels, labels.source)
    out = nibabel.load(path.parent / "out.nii.gz")
    np.testing.assert_array_equal(np.asarray(out.dataobj), VALUES)
    np.testing.assert_allclose(out.affine, oblique(), atol=1e-4)
    np.testing.assert_allclose(out.header.get_qform(), oblique(), atol=1e-4)
    assert (int(out.header["sform_code"]), out.header.get_xyzt_units()[0]) == (1, "mm")


def test_a_detached_header(tmp_path: Path) -> None:
    nrrd.write(str(tmp_path / "a.nhdr"), VALUES, fields("RAS"), detached_header=True)
    check_equal(tmp_path / "a.nhdr", as_nifti(tmp_path / "b.nii.gz"))
    for data in tmp_path.glob("a.raw*"):
        data.unlink()
    with pytest.raises(FileError, match=r"a\.nhdr: cannot be read as NRRD.*No such file"):
        read_image(tmp_path / "a.nhdr")


def layers(count: int, **more: Any) -> dict[str, Any]:
    own = fields("left-posterior-superior")
    directions = np.vstack([np.full((1, 3), np.nan), own["space directions"]])
    return {**own, "space directions": directions, "kinds": ["list", "domain", "domain", "domain"], **more}


def test_a_segmentation_of_one_layer_and_of_several(tmp_path: Path) -> None:
    labels = (VALUES % 4).astype(np.uint8)
    segment = {"Segment0_ID": "ET", "Segment0_LabelValue": "3"}
    nrrd.write(str(tmp_path / "a.seg.nrrd"), labels[None], layers(1, **segment))
    expected = read_labels(as_nifti(tmp_path / "b.nii.gz", labels))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.seg.nrrd").labels, expected.labels)
    nrrd.write(str(tmp_path / "c.seg.nrrd"), np.stack([labels, labels]), layers(2, **segment))
    for read in (read_header, read_labels):
        with pytest.raises(FileError, match=r"found shape .*export the segmentation as one label map"):
            read(tmp_path / "c.seg.nrrd")
    np.testing.assert_array_equal(read_labels(tmp_path / "c.seg.nrrd", 1).labels, expected.labels)


def test_frames_are_volumes(tmp_path: Path) -> None:
    nibabel.save(nibabel.MGHImage(np.stack([VALUES, VALUES + 50], axis=-1), oblique()), tmp_path / "a.mgz")
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.mgz", 1).data, read_image(as_nifti(tmp_path / "b.nii", VALUES + 50)).data
    )
    with pytest.raises(FileError, match=r"found shape \(4, 5, 6, 2\)"):
        read_header(tmp_path / "a.mgz")


def test_an_nrrd_that_does_not_say_where_it_lies(tmp_path: Path) -> None:
    nrrd.write(str(tmp_path / "a.nrrd"), VALUES, {"spacings": [1.0, 2.0, 3.0]})
    header = read_header(tmp_path / "a.nrrd")
    assert header.spacing_mm == (1.0, 2.0, 3.0)
    assert [(oddity.severity, oddity.what) for oddity in header.oddities] == [("warning", "no orientation")]
    assert not header.source.located
    nrrd.write(str(tmp_path / "b.nrrd"), VALUES, {})
    for read in READERS:
        with pytest.raises(FileError, match="with 0 axes that have a direction or a spacing"):
            read(tmp_path / "b.nrrd")


def test_an_mgh_that_does_not_say_where_it_lies(tmp_path: Path) -> None:
    nibabel.save(nibabel.MGHImage(VALUES, oblique()), tmp_path / "a.mgh")
    content = bytearray((tmp_path / "a.mgh").read_bytes())
    content[28:30] = bytes(2)
    (tmp_path / "a.mgh").write_bytes(content)
    header = read_header(tmp_path / "a.mgh")
    assert [oddity.what for oddity in header.oddities] == ["no orientation"]
    np.testing.assert_allclose(header.source.affine, nibabel.MGHImage.from_bytes(bytes(content)).affine)


@pytest.mark.parametrize(("unit", "factor"), [("m", 1e-3), ("um", 1e3), ("cm", 0.1)])
def test_other_units_become_mm(tmp_path: Path, unit: str, factor: float) -> None:
    own = fields("RAS")
    own |= {"space directions": own["space directions"] * factor, "space origin": own["space origin"] * factor}
    nrrd.write(str(tmp_path / "a.nrrd"), VALUES, {**own, "space units": [unit] * 3})
    header = read_header(tmp_path / "a.nrrd")
    np.testing.assert_allclose(header.source.affine, oblique(), atol=1e-6)
    assert [oddity.what for oddity in header.oddities] == ["unit is not mm"]
    nrrd.write(str(tmp_path / "b.nrrd"), VALUES, {**own, "space units": ["inch"] * 3})
    with pytest.raises(FileError, match="expected space units of mm, found inch"):
        read_header(tmp_path / "b.nrrd")


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_single_number_a_voxel(tmp_path: Path, read) -> None:
    colours = np.zeros((3, 4, 5, 6), np.uint8)
    kinds = {"kinds": ["RGB-color", "domain", "domain", "domain"]}
    nrrd.write(str(tmp_path / "a.nrrd"), colours, {**layers(3), **kinds})
    with pytest.raises(FileError, match="found colours"):
        read(tmp_path / "a.nrrd")


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("name", "message"),
    [("a.nrrd", r"expected NRRD, found NIfTI; name it \.nii\.gz"), ("a.mgz", "expected MGH, found NIfTI")],
)
def test_nifti_under_another_name(tmp_path: Path, read, name: str, message: str) -> None:
    as_nifti(tmp_path / "b.nii.gz").rename(tmp_path / name)
    with pytest.raises(FileError, match=message):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mgh", "a.mgz"])
def test_a_truncated_file(tmp_path: Path, name: str) -> None:
    if name == "a.nrrd":
        nrrd.write(str(tmp_path / name), VALUES, {**fields("RAS"), "encoding": "raw"})
    else:
        nibabel.save(nibabel.MGHImage(VALUES, oblique()), tmp_path / name)
    content = (tmp_path / name).read_bytes()
    whole = gzip.decompress(content) if name == "a.mgz" else content
    for kept in (len(whole) // 2, 4):
        cut = whole[:kept]
        (tmp_path / name).write_bytes(gzip.compress(cut) if name == "a.mgz" else cut)
        with pytest.raises(FileError, match="truncated or corrupt"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("read", READERS)
def test_without_the_library_the_extra_is_named(tmp_path: Path, read, monkeypatch: pytest.MonkeyPatch) -> None:
    nrrd.write(str(tmp_path / "a.nrrd"), VALUES, fields("RAS"))
    monkeypatch.setitem(sys.modules, "nrrd", None)
    with pytest.raises(FileError, match=r"a\.nrrd: reading NRRD needs .*pip install 'mets3d\[formats\]'"):
        read(tmp_path / "a.nrrd")
