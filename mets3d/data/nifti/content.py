"""Reads a file's bytes, whole or its beginning, and recognises by them what the file is, whatever its name says."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mets3d.data.nifti.volumes import FileError

GZIP_MAGIC = b"\x1f\x8b\x08"
DEFLATE_LIMIT = 1032  # no stream holds more times its length
HEADER_SIZES = 348, 540  # of NIfTI-1 and NIfTI-2: the header's first number, in either byte order
HEAD = 1024  # bytes that are enough to recognise a file
PIECE = 1 << 20  # bytes
MOST_BEHIND = 1 << 28  # bytes behind those that a header promises, of which the rest of a stream is inflated

# Of damaged files; the readers of NRRD and MGH take what a header says as it comes.
READERS_RAISE = (EOFError, OSError, zlib.error, ArithmeticError, ValueError, TypeError, LookupError, AttributeError)

# What a file begins with: offset, bytes, name.
FORMATS = (
    (0, b"NRRD0", "NRRD"),
    (0, b"\0\0\0\1", "MGH"),
    (128, b"DICM", "DICOM"),
    (0, b"\x08\0\x05\0", "DICOM"),
    (0, b"\x08\0\x08\0", "DICOM"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (0, GZIP_MAGIC, "a file that was compressed twice"),
    (0, b"BZh", "a bzip2 file"),
    (0, b"\xfd7zXZ", "an xz file"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (0, b"\x1f\x9d", "a file of the program compress"),
    (0, b"\x89HDF", "HDF5 or MINC"),
    (0, b"CDF", "NetCDF or MINC"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"MATLAB", "a MATLAB file"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"II*\0", "a TIFF picture"),
    (0, b"%PDF", "a PDF document"),
)
ADVICE = {
    "NRRD": "name it .nrrd, or convert it to .nii.gz",
    "MGH": "name it .mgz, or convert it to .nii.gz",
    "NIfTI": "name it .nii.gz",
    "DICOM": "convert the series to NIfTI, for example with dcm2niix",
    "a Git LFS pointer": "fetch the file with `git lfs pull`",
    "a git-annex pointer": "fetch the file with `git annex get` or `datalad get`",
    "an HTML page": "the download failed or wants a login: fetch the file again",
    "an XML document": "the download failed: fetch the file again",
    "a file of zeros alone": "the download or copy was interrupted: fetch the file again",
}


@dataclass(frozen=True)
class Content:
    """The beginning of a file, as many bytes as were asked for or all that there are; `length` counts the whole."""

    kept: bytes
    length: int


def read_content(path: Path, most: int) -> Content:
    """Reads the first `most` bytes of a file, decompressed where its content is gzip, whatever its name.

    What a stream holds behind them is inflated piece by piece, for its checksum, and not kept: a few megabytes can
    stand for any number. Raises as `faults_named`, and FileError where that goes on without reason.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(GZIP_MAGIC)) != GZIP_MAGIC:
            file.seek(0)
            return Content(file.read(min(size, most)), size)
        if most > DEFLATE_LIMIT * size:
            raise EOFError(f"expected {most} bytes, more than {size} compressed ones can hold")
        file.seek(0)
        return _inflated(file.read(), most, path)


def read_head(path: Path, count: int = HEAD) -> bytes:
    """Reads the first `count` bytes of a file, decompressed where its content is gzip; fewer if it has no more."""
    with path.open("rb") as file:
        packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        if not packed:
            return file.read(count)
        with gzip.GzipFile(fileobj=file) as stream:
            return stream.read(count)


def expect_format(path: Path, head: bytes, expected: str) -> None:
    """Raises FileError, naming what the file is, if its first bytes are not those of the expected format."""
    found = format_of(head)
    if found == expected:
        return
    if not head:
        raise FileError(f"{path}: an empty file; fetch or convert it again", "empty file")
    if found is not None:
        advice = ADVICE.get(found, "convert or unpack it to .nii.gz")
        raise FileError(f"{path}: expected {expected}, found {found}; {advice}", f"not {expected}")
    text = _first_line(head)
    what = f"a text that begins {text!r}" if text else "neither its header nor that of another known format"
    raise FileError(
        f"{path}: cannot be read as {expected}, truncated or corrupt (found {what}); fetch or convert the file again"
    )


def format_of(head: bytes) -> str | None:
    """Returns the name of the format that a file's first bytes show; None for an unknown one."""
    if {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")} & {*HEADER_SIZES}:
        return "NIfTI"
    for offset, magic, name in FORMATS:
        if head[offset : offset + len(magic)] == magic:
            return name
    start = head.lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer"
    if b"annex/objects/" in head[:256]:
        return "a git-annex pointer"
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if start.startswith((b"<?xml", b"<error")):
        return "an XML document"
    return "a file of zeros alone" if head and not head.strip(b"\0") else None


@contextmanager
def faults_named(path: Path, expected: str) -> Iterator[None]:
    """Turns whatever reading, decompression and parsing raise into one error with the file's name.

    Raises FileNotFoundError where there is no such file, and FileError.
    """
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    _expect_file(path)
    parsing = (ImageFileError, HeaderDataError, WrapStructError)
    try:
        yield
    except FileError:
        raise
    except PermissionError as error:
        raise FileError(f"{path}: may not be read; change its permissions", "file may not be read") from error
    except MemoryError as error:
        advice = "free some, or crop the scan"
        raise FileError(f"{path}: memory does not hold it; {advice}", "larger than the memory") from error
    except (*READERS_RAISE, *parsing) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FileError(
            f"{path}: cannot be read as {expected}, truncated or corrupt ({reason}); fetch or convert the file again"
        ) from error


def _expect_file(path: Path) -> None:
    if path.is_file():
        return
    if path.is_symlink():
        aim = str(path.readlink())
        advice = ADVICE["a git-annex pointer"] if "annex/objects" in aim else "fetch that file, or correct the link"
        raise FileError(f"{path}: a link to {aim}, which is not there; {advice}", "broken link")
    if path.is_dir():
        raise FileError(f"{path}: expected a file, found a folder of that name; remove or rename it", "not a file")
    raise FileNotFoundError(f"{path}: no such file")


def _first_line(head: bytes) -> str:
    """Returns the first line of a text; nothing of what is no text."""
    line = head[:60].strip().splitlines()[0] if head.strip() else b""
    return line.decode("ascii") if line and all(32 <= byte < 127 for byte in line) else ""


def _inflated(packed: bytes, most: int, path: Path) -> Content:
    """Does what `gzip.decompress` does within bounds, and without its copies where one stream fills the file.

    zlib by itself stops after the first stream, so a file in which another could begin is left to gzip; so is one whose
    last bytes name another length, which is cut off, has something behind the stream or more in it than is wanted.
    """
    size = int.from_bytes(packed[-4:], "little")
    if size <= most and packed.find(GZIP_MAGIC, 1) < 0:
        stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
        with suppress(zlib.error):  # gzip says what is wrong
            kept = stream.decompress(packed, size + 1)
            if stream.eof and len(kept) == size and not stream.unused_data:
                return Content(kept, size)
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as whole:
        kept = whole.read(most)
        length = len(kept)
        while piece := whole.read(PIECE):
            length += len(piece)
            if length > most + MOST_BEHIND:
                raise FileError(
                    f"{path}: expected {most} bytes by its header, found more than {MOST_BEHIND} behind them; correct "
                    "the header's dim, or fetch or convert the file again",
                    "far more voxels than the header says",
                )
    return Content(kept, length)
