"""Changes headers and label files at random and has check, preprocess and evaluate read them, within bounds.

`python -m tests.faults.fuzz_headers --files 10000` makes the long run. A fault is an error that no message explains, a
file that takes more than `SECONDS` of the processor, and more memory than `BYTES` of address space.
"""

from __future__ import annotations

import argparse
import gzip
import random
import re
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import nibabel
import nrrd
import numpy as np

from mets3d.config import Data, Preprocess
from mets3d.data.cases import find_cases
from mets3d.data.check import check_case
from mets3d.data.nifti.content import GZIP_MAGIC
from mets3d.data.normalise import Normalisation
from mets3d.data.storing import Making, store_case
from mets3d.evaluation.case import CaseFiles, Scoring, score_case
from tests.builders.cases import make_case

SECONDS = 20.0  # of the processor, for one file through one stage
BYTES = 6 << 30  # beyond what is mapped at the start
PYTHONS_OWN = re.compile(r"^[A-Z]\w*(Error|Exception|Interrupt): ")  # an error that nobody explained
INTEGERS = (-32768, -1, 0, 1, 2, 3, 4, 7, 8, 255, 256, 16384, 32767)
NUMBERS = (0.0, -0.0, -1.0, 1e-45, 1e-30, 1e-3, 1.0, 348.0, 352.0, 1e3, 1e30, 3e38, float("inf"), float("nan"))
# NIfTI-1: where a field begins, and how its values are packed.
FIELDS = (
    *((40 + 2 * place, "h") for place in range(8)),  # dim
    *((place, "h") for place in (70, 72, 74, 252, 254)),  # datatype, bitpix, slice_start, qform_code, sform_code
    *((76 + 4 * place, "f") for place in range(8)),  # pixdim
    *((place, "f") for place in (108, 112, 116, 124, 128)),  # vox_offset, scl_slope, scl_inter, cal_max, cal_min
    *((256 + 4 * place, "f") for place in range(18)),  # quaternion, offsets, srow
    (123, "b"), (0, "i"), (344, "i"), (348, "i"), (352, "i"),  # units, sizeof_hdr, magic, extension
)  # fmt: skip


class TooSlowError(BaseException):
    """A file that takes longer than it may; no handler of errors catches it."""


@dataclass
class Outcome:
    """How many files went through, what was found wrong by hand of the stages, and the faults."""

    files: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def fuzz(folder: Path, count: int, seed: int) -> Outcome:
    """Sends `count` changed files through the three stages."""
    data, outcome = _data(folder / "data"), Outcome()
    making = Making(
        folder / "data",
        folder / "store",
        Preprocess(spacing_mm=(1.0, 1.0, 1.0)),
        data,
        (1.0, 1.0, 1.0),
        Normalisation(),
    )
    cases = list(find_cases(folder / "data", data))
    stages: dict[str, Callable[..., list[str]]] = {
        "check": lambda case: [finding.detail for finding in check_case(case, data) if finding.severity == "error"],
        "preprocess": lambda case: [
            finding.detail for finding in store_case(case, making).findings if finding.severity == "error"
        ],
        "evaluate": lambda case: (
            score_case(CaseFiles(case.name, cases[0].labels, case.labels), Scoring("brats2023")).problems
        ),
    }
    draw = random.Random(seed)
    for number in range(count):
        case = draw.choice(cases)
        target = draw.choice([case.labels, *case.files])
        whole = target.read_bytes()
        target.write_bytes(changed(whole, draw))
        for stage, run in stages.items():
            said = _run(run, case)
            outcome.refused[stage] += bool(said)
            wrong = [text for text in said if PYTHONS_OWN.match(text)]
            for text in wrong:
                outcome.faults.append(f"file {number} of seed {seed}, {target.name}, {stage}: {text[:300]}")
                print(outcome.faults[-1], flush=True)
        target.write_bytes(whole)
        outcome.files += 1
    return outcome


def _run(stage: Callable[..., list[str]], case: object) -> list[str]:
    try:
        with _within(SECONDS):
            return stage(case)
    except TooSlowError:
        return [f"TooSlowError: more than {SECONDS:g} s"]
    except (ValueError, OSError) as error:  # what the command line makes one message of
        return [str(error)]
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


# ---------------------------------------------------------------- what is changed


def _data(folder: Path) -> Data:
    """One case of each format; the files of a case are one grid."""
    packed = make_case(folder, "A-000")
    for name, suffix in (("B-000", ".nii"), ("C-000", ".mgz"), ("D-000", ".nrrd")):
        (folder / name).mkdir()
        for file in packed.files:
            other = folder / name / (file.name.replace("A-000", name).removesuffix(".nii.gz") + suffix)
            image = nibabel.load(file)
            voxels = np.asarray(image.dataobj)
            if suffix == ".nrrd":
                space = {"space": "right-anterior-superior", "space directions": np.eye(3), "space origin": np.zeros(3)}
                nrrd.write(str(other), voxels, space)
            elif suffix == ".mgz":
                nibabel.save(nibabel.MGHImage(voxels.astype(np.int16), image.affine), other)
            else:
                nibabel.save(image, other)
    return Data()


def changed(content: bytes, draw: random.Random) -> bytes:
    """Returns a file that differs from the one given: its header, its voxels, its packing or its length."""
    if draw.random() < 0.15:  # the packed bytes themselves
        return draw.choice((_flipped, _cut, _grown, _other))(content, draw)
    packed = content.startswith(GZIP_MAGIC)
    plain = gzip.decompress(content) if packed else content
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        plain = draw.choice((_field, _field, _field, _flipped, _word, _voxels, _cut, _grown))(plain, draw)
    return gzip.compress(plain, 1) if packed else plain


def _field(content: bytes, draw: random.Random) -> bytes:
    place, kind = draw.choice(FIELDS)
    value = draw.choice(NUMBERS) if kind == "f" else draw.choice(INTEGERS)
    if kind == "b":
        value = draw.randrange(-128, 128)
    changed_ = bytearray(content.ljust(356, b"\0"))
    struct.pack_into(draw.choice("<<<<>") + kind, changed_, place, value)
    return bytes(changed_)


def _flipped(content: bytes, draw: random.Random) -> bytes:
    changed_ = bytearray(content)
    for _ in range(draw.randrange(1, 12)):
        if changed_:
            changed_[draw.randrange(min(len(changed_), draw.choice((64, 360, len(changed_)))))] = draw.randrange(256)
    return bytes(changed_)


def _word(content: bytes, draw: random.Random) -> bytes:
    """Another number or word somewhere in a header of text, as NRRD's."""
    words = [*re.finditer(rb"[\w.+-]+", content[:600])]
    if not words:
        return content
    word = draw.choice(words)
    new = draw.choice(
        (b"0", b"-1", b"nan", b"inf", b"1e30", b"99999999999999999999", b"none", b"../..", b"/dev/zero", b"")
    )
    return content[: word.start()] + new + content[word.end() :]


def _voxels(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(352, max(353, len(content)))
    return content[:start] + draw.randbytes(max(0, min(200, len(content) - start))) + content[start + 200 :]


def _cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def _grown(content: bytes, draw: random.Random) -> bytes:
    return content + draw.choice(
        (bytes(draw.choice((1, 1000, 100_000))), draw.randbytes(100), gzip.compress(bytes(1 << 20)))
    )


def _other(content: bytes, draw: random.Random) -> bytes:
    """Another file altogether, some with the first bytes of a format."""
    return draw.choice(
        (GZIP_MAGIC, b"NRRD0004\n", b"\x5c\x01\0\0", b"\0\0\x01\x5c", b"\0\0\0\1", b"", b"PK\3\4")
    ) + draw.randbytes(draw.choice((0, 20, 400)))


# ---------------------------------------------------------------- the long form


def main() -> int:
    """Prints a summary and the faults; 1 if there is any."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz_headers", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mets3d-fuzz-"))
    mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + BYTES, mapped + BYTES))
    started = time.monotonic()
    try:
        with warnings.catch_warnings(action="ignore"):
            outcome = fuzz(folder, options.files, options.seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    refused = ", ".join(f"{stage} {number}" for stage, number in outcome.refused.items())
    print(
        f"{outcome.files} files, {len(outcome.faults)} faults, {time.monotonic() - started:.0f} s, peak {peak:.2f} GB; "
        f"refused: {refused}"
    )
    return int(bool(outcome.faults))


if __name__ == "__main__":
    sys.exit(main())
