"""What a prediction leaves behind, what it clears away, and what a kill leaves."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mets3d.inference import outputs
from mets3d.rundir import PredictionsDir


def dead_process() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


@pytest.mark.parametrize("place", [".", "uncertainty", "records"])
def test_half_written_files_of_the_living_are_left_alone(tmp_path: Path, place: str) -> None:
    folder = tmp_path / place
    folder.mkdir(exist_ok=True)
    living, dead, old, own, strange = (
        folder / f".{os.getppid()}.tmp.a.nii.gz",
        folder / f".{dead_process()}.tmp.a.nii.gz",
        folder / f".{os.getppid()}.tmp.b.nii.gz",
        folder / f".{os.getpid()}.tmp.c.nii.gz",
        folder / f".{2**70}.tmp.d.nii.gz",
    )
    for file in (living, dead, old, own, strange):
        file.write_bytes(b"half")
    yesterday = time.time() - 24 * 3600 - 5
    os.utime(old, (yesterday, yesterday))
    (folder / ".notes.tmp.txt").write_text("no process's")
    outputs.remove_leftovers(PredictionsDir(tmp_path))
    assert sorted(file.name for file in folder.iterdir() if file.is_file()) == sorted(
        [living.name, own.name, ".notes.tmp.txt"]
    )
