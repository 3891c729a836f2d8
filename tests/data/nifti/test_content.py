"""What a file is by its bytes, whatever its name says."""

import bz2
import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest

from mets3d.data.nifti import FileError, read_header, read_image

READERS = [read_header, read_image]
VALUES = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7)


def nifti_bytes() -> bytes:
    return bytes(nibabel.Nifti1Image(VALUES, np.eye(4)).to_bytes())


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("scan.nii", nifti_bytes())
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("scan.nii")
        entry.size = len(nifti_bytes())
        archive.addfile(entry, io.BytesIO(nifti_bytes()))
    return buffer.getvalue()


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(("name", "packed"), [("a.nii", True), ("a.nii.gz", False)])
def test_gzip_is_known_by_content_not_by_name(tmp_path: Path, name: str, packed: bool, read) -> None:
    content = nifti_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    assert read(tmp_path / name).shape == (5, 6, 7)
    assert np.array_equal(read_image(tmp_path / name).data, VALUES)


WRONG = {
    "LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "Git LFS pointer.*git lfs pull",
    ),
    "annex": (b"/annex/objects/SHA256E-s123--ab.nii.gz\n", "git-annex pointer.*git annex get"),
    "HTML": (b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>", "HTML page.*login"),
    "XML": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML document.*download failed"),
    "text": (b"404: Not Found", "a text that begins '404: Not Found'"),
    "empty": (b"", "empty file"),
    "zeros": (bytes(5000), "zeros alone.*interrupted"),
    "zip": (zipped(), "ZIP archive.*unpack"),
    "DICOM": (bytes(128) + b"DICM" + bytes(2000), "DICOM.*dcm2niix"),
    "NRRD": (b"NRRD0005\ntype: short\n", r"NRRD; name it \.nrrd"),
    "MGH": (b"\0\0\0\1" + bytes(400), r"MGH; name it \.mgz"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(400), "HDF5 or MINC"),
    "bzip2": (bz2.compress(nifti_bytes()), "bzip2"),
    "tar.gz": (tarred(), "tar archive"),
    "gzip twice": (gzip.compress(gzip.compress(nifti_bytes())), "compressed twice"),
    "gzip of nothing": (gzip.compress(b""), "empty file"),
    "noise": (bytes(range(7, 250)), "truncated or corrupt"),
    "ANALYZE": (nifti_bytes()[:344] + bytes(4) + nifti_bytes()[348:], "ANALYZE 7.5.*which side is left"),
}


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_what_is_no_nifti_is_named_as_what_it_is(tmp_path: Path, kind: str, suffix: str, read) -> None:
    content, message = WRONG[kind]
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(content)
    with pytest.raises(FileError, match=f"(?s){message}") as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", READERS)
def test_broken_links_and_folders(tmp_path: Path, read) -> None:
    (tmp_path / "a.nii.gz").symlink_to("elsewhere/b.nii.gz")
    with pytest.raises(FileError, match=r"a\.nii\.gz: a link to elsewhere/b\.nii\.gz, which is not there") as caught:
        read(tmp_path / "a.nii.gz")
    assert caught.value.what == "broken link"
    (tmp_path / "c.nii.gz").symlink_to("../.git/annex/objects/0x/SHA256E-s1--ab.nii.gz")
    with pytest.raises(FileError, match="git annex get"):
        read(tmp_path / "c.nii.gz")
    (tmp_path / "d.nii.gz").mkdir()
    with pytest.raises(FileError, match="found a folder"):
        read(tmp_path / "d.nii.gz")


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.Nifti2Pair])
def test_a_pair_is_read_by_either_name(tmp_path: Path, kind, read) -> None:
    affine = np.diag([-1.0, 2.0, 3.0, 1.0])
    nibabel.save(kind(VALUES, affine), tmp_path / "a.hdr")
    for name in ("a.hdr", "a.img"):
        np.testing.assert_array_equal(read_image(tmp_path / name).data, VALUES[::-1])
        assert read(tmp_path / name).spacing_mm == (1.0, 2.0, 3.0)
    (tmp_path / "a.img").rename(tmp_path / "b.img")
    for name in ("a.hdr", "b.img"):
        with pytest.raises(FileError, match="other half, is not there"):
            read(tmp_path / name)
    (tmp_path / "a.hdr").rename(tmp_path / "a.nii")
    with pytest.raises(FileError, match="a header alone"):
        read(tmp_path / "a.nii")


def test_a_faults_kind_arrives_from_another_process(tmp_path: Path) -> None:
    import pickle

    error = pickle.loads(pickle.dumps(FileError("a.nii: empty", "empty file")))
    assert (str(error), error.what) == ("a.nii: empty", "empty file")


def test_more_bytes_than_the_header_says(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(nifti_bytes() + bytes(2 * 5 * 6))
    image = read_image(tmp_path / "a.nii")
    assert [oddity.what for oddity in image.oddities] == ["more voxels than the header says"]
    (tmp_path / "b.nii").write_bytes(nifti_bytes() + bytes(2 * 5 * 6 - 1))
    assert read_image(tmp_path / "b.nii").oddities == ()


def test_fewer_bytes_than_the_header_says(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(nifti_bytes()[:-1])
    expected = 352 + 2 * VALUES.size
    with pytest.raises(FileError, match=rf"truncated or corrupt \(expected {expected} bytes .*found {expected - 1}\)"):
        read_image(tmp_path / "a.nii")
