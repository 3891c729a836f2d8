"""Cases made by workers: a full disk, a lost worker, a file that vanishes, a stop in the middle."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mets3d.__main__ import main
from mets3d.config import Data, Preprocess
from mets3d.data import storing
from mets3d.data.case_record import remove_leftovers
from mets3d.data.preprocess import preprocess
from mets3d.data.store import open_store
from mets3d.data.storing import CannotWriteError
from mets3d.files import machine_mark
from mets3d.processes import WorkerLost
from tests.builders.cases import make_case
from tests.builders.runs import ROOT

SETTINGS = Preprocess(spacing_mm=(1.0, 1.0, 1.0))
NAMES = ("A-000", "B-000", "C-000")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in NAMES:
        make_case(tmp_path / "data", name)
    return tmp_path / "data"


def files_of(store: Path) -> list[str]:
    return sorted(path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file())


@pytest.mark.parametrize("step", ["write_case", "write_record"])
def test_a_full_disk_names_the_case_and_keeps_what_is_finished(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], step: str
) -> None:
    store, original = tmp_path / "store", getattr(storing, step)

    def full(*arguments: Any, **more: Any) -> Any:
        if any("B-000" in str(argument) for argument in arguments):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*arguments, **more)

    monkeypatch.setattr(storing, step, full)
    words = ["preprocess", str(data), str(store), "--preprocess.spacing_mm=[1, 1, 1]"]
    for on_error in ([], ["--on-error", "skip"]):
        assert main([*words, *on_error]) == 1
        message = capsys.readouterr().err
        assert f"B-000 cannot be written to {store}: No space left on device. The finished cases are kept" in message
        assert "Traceback" not in message
        assert [name for name in files_of(store) if "A-000" in name] == [
            "cases/A-000.safetensors",
            "records/A-000.json",
        ]
        assert not list(store.rglob("*.tmp.*"))
        assert "records/B-000.json" not in files_of(store)
    monkeypatch.undo()
    assert main(words) == 0
    assert open_store(store).cases == list(NAMES)


def test_an_index_that_cannot_be_written_is_one_message(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mets3d.data import preprocess as module

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "finish", full)
    with pytest.raises(CannotWriteError, match=r"the store's index cannot be written to .*No space left"):
        preprocess(data, tmp_path / "store", SETTINGS, data=Data())


def test_a_file_that_vanishes_meanwhile_costs_its_case_alone(data: Path, tmp_path: Path) -> None:
    def vanish(done: int, total: int, name: str) -> None:
        (data / "B-000" / "B-000-t2w.nii.gz").unlink(missing_ok=True)

    result = preprocess(data, tmp_path / "store", SETTINGS, data=Data(), on_error="skip", progress=vanish)
    assert result.cases == ["A-000", "C-000"]
    assert "B-000-t2w.nii.gz: no such file" in result.not_usable["B-000"]


def test_any_error_of_one_case_is_its_reason(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = storing.read_case
    errors = {"A-000": MemoryError("Unable to allocate 5 GiB"), "C-000": ZeroDivisionError("surprise")}

    def read(case: Any, *how: Any) -> Any:
        if case.name in errors:
            raise errors[case.name]
        return original(case, *how)

    monkeypatch.setattr(storing, "read_case", read)
    result = preprocess(data, tmp_path / "store", SETTINGS, data=Data(), on_error="skip")
    assert result.cases == ["B-000"]
    assert "Unable to allocate 5 GiB; take fewer --jobs" in result.not_usable["A-000"]
    assert "ZeroDivisionError: surprise" in result.not_usable["C-000"]


def test_a_lost_worker_costs_the_cases_in_hand(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_b(work: Any, cases: Any, jobs: int) -> Any:
        for case in cases:
            yield case, WorkerLost("a worker process was killed", (case,)) if case.name == "B-000" else work(case)

    monkeypatch.setattr(storing, "each_done", lose_b)
    result = preprocess(data, tmp_path / "store", SETTINGS, data=Data(), on_error="skip")
    assert result.cases == ["A-000", "C-000"]
    assert "a worker process was killed, with this case in hand; give the same command" in result.not_usable["B-000"]
    monkeypatch.undo()
    assert preprocess(data, tmp_path / "store", SETTINGS, data=Data(), on_error="skip").cases == list(NAMES)


def test_half_files_of_the_dead_go_and_those_of_the_living_and_of_other_machines_stay(tmp_path: Path) -> None:
    cases = tmp_path / "cases"
    cases.mkdir()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(60)
    here, elsewhere = machine_mark(), "0123abcd@"
    names = {
        f".{gone.pid}.tmp.A.safetensors": False,
        f".{gone.pid}.tmp.{here}A.safetensors": False,
        f".{gone.pid}.tmp.{elsewhere}A.safetensors": True,
        f".{os.getpid()}.tmp.{here}B.safetensors": True,
        f".{gone.pid}.tmp.{elsewhere}old.safetensors": False,
    }
    for name in names:
        (cases / name).touch()
    yesterday = time.time() - 25 * 3600
    os.utime(cases / f".{gone.pid}.tmp.{elsewhere}old.safetensors", (yesterday, yesterday))
    remove_leftovers(tmp_path)
    assert {name: (cases / name).exists() for name in names} == names


STOPPED = """
import os, signal, sys
from pathlib import Path
from mets3d.data import storing
from mets3d.__main__ import main
real = storing._write
def write(case, making, prepared):
    real(case, making, prepared)
    if case.name == "B-000":
        os.kill(os.getpid(), int(sys.argv[3]))
storing._write = write
sys.exit(main(["preprocess", sys.argv[1], sys.argv[2], "--preprocess.spacing_mm=[1, 1, 1]", "--jobs", "1"]))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stop_in_the_middle_of_a_case_redoes_no_other(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    store = tmp_path / "store"
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, str(data), str(store), str(int(number))],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == -number
    assert "Traceback" not in done.stderr
    assert files_of(store / "records") == ["A-000.json"]
    made = []
    original = storing.read_case
    monkeypatch.setattr(storing, "read_case", lambda case, *how: made.append(case.name) or original(case, *how))
    assert preprocess(data, store, SETTINGS, data=Data()).cases == list(NAMES)
    assert made == ["B-000", "C-000"]
