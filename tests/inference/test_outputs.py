"""What a prediction leaves behind, what it clears away, and what a kill leaves."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mets3d.data.cases import Case, Scan
from mets3d.evaluation.decoded import recorded_decodings
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


def test_a_case_is_another_where_a_file_is_another_or_is_read_as_another_sequence(tmp_path: Path) -> None:
    files = {name: tmp_path / name / "image.nii.gz" for name in ("t1c", "t2f", "mask")}
    for file in files.values():
        file.parent.mkdir()
        file.write_bytes(b"scan of equal size")
        os.utime(file, (1, 1))
    scans = {name: Scan(files[name]) for name in ("t1c", "t2f")}
    case, folder = Case("P1", tmp_path, scans, None, "P1"), PredictionsDir(tmp_path / "out")
    folder.records.mkdir(parents=True)

    def is_finished(now: Case) -> bool:
        return outputs.is_finished(folder, now, "recipe", probabilities=False)

    outputs.finish_record(folder, case, "recipe", [])
    assert is_finished(case)
    assert not is_finished(replace(case, mask=files["mask"]))
    assert not is_finished(replace(case, sequences={"t1c": scans["t1c"]}))
    for number in (0, 1):
        assert not is_finished(replace(case, sequences={**scans, "t2f": Scan(files["t2f"], number)}))
    os.utime(files["t1c"], (2, 2))
    assert not is_finished(case), "t1c and t2f have files of one name"
    os.utime(files["t1c"], (1, 1))
    whole = {name: Scan(tmp_path / f"{name}.nii.gz") for name in ("t1c", "t2f")}
    for scan in whole.values():
        scan.path.write_bytes(b"scan")
    outputs.finish_record(folder, replace(case, sequences=whole), "recipe", [])
    swapped = {"t1c": whole["t2f"], "t2f": whole["t1c"]}
    assert not is_finished(replace(case, sequences=swapped)), "the files are the same, what they show is not"


def test_a_case_is_not_finished_where_another_label_map_of_equal_size_took_the_place(tmp_path: Path) -> None:
    scan = tmp_path / "t1c.nii.gz"
    scan.write_bytes(b"scan")
    case, folder = Case("P1", tmp_path, {"t1c": Scan(scan)}, None, "P1"), PredictionsDir(tmp_path / "out")
    folder.records.mkdir(parents=True)
    label_map = folder.label_map("P1")
    label_map.write_bytes(b"decoded")
    outputs.finish_record(folder, case, "recipe", [label_map], {"decoding": "default"})
    assert recorded_decodings(folder.path, ["P1"]) == {"P1": {"decoding": "default"}}
    assert outputs.is_finished(folder, case, "recipe", probabilities=False)
    label_map.write_bytes(b"another")
    assert recorded_decodings(folder.path, ["P1"]) == {}
    assert not outputs.is_finished(folder, case, "recipe", probabilities=False)
