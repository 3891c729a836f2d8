"""The lock of a run directory: who gets it, when it is stale, and what is said."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from mets3d.files import read_json, write_json
from mets3d.rundir import RunDir
from mets3d.training import checkpoint, lock
from mets3d.training.lock import Holder, LockError, check_held, held
from tests.builders.runs import train, write_config
from tests.builders.warm import fresh_processes


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    (tmp_path / "run").mkdir()
    return RunDir(tmp_path / "run")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "REFRESH_S", 0.05)
    monkeypatch.setattr(lock, "WATCH_S", 0.5)


def dead_process() -> int:
    child = multiprocessing.get_context("spawn").Process(target=int)
    child.start()
    child.join()
    assert child.pid is not None
    return child.pid


def elsewhere(**changes: Any) -> Holder:
    return replace(Holder.here(), host="node7", machine="another boot pid:[1]", **changes)


def test_it_is_held_to_the_end_of_the_block_and_named_to_others(run: RunDir, said: list[str]) -> None:
    with held(run, said.append):
        assert read_json(run.lock)["process"] == os.getpid()
        with pytest.raises(LockError, match=f"is being trained by process {os.getpid()} on"), held(run, said.append):
            pass
        assert run.lock.exists(), "a refused start leaves the lock"
    assert list(run.path.iterdir()) == []
    assert said == []


def test_one_that_cannot_be_removed_is_said(run: RunDir, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with monkeypatch.context() as refusing, held(run, said.append):
        refusing.setattr(Path, "unlink", refuse)
    assert said == [f"{run.lock} cannot be removed: Permission denied; the next start of this run takes it over"]


def test_it_goes_with_an_exception(run: RunDir, said: list[str]) -> None:
    with pytest.raises(KeyError), held(run, said.append):
        raise KeyError
    assert list(run.path.iterdir()) == []


def test_it_is_touched(run: RunDir, said: list[str]) -> None:
    with held(run, said.append):
        os.utime(run.lock, (0, 0))
        end = time.monotonic() + 20
        while run.lock.stat().st_mtime == 0:
            assert time.monotonic() < end, "never touched"
            time.sleep(0.01)


def test_that_of_a_dead_process_is_taken_over_and_said(run: RunDir, said: list[str]) -> None:
    write_json(run.lock, asdict(replace(Holder.here(), process=dead_process())))
    with held(run, said.append):
        assert read_json(run.lock)["process"] == os.getpid()
    assert len(said) == 1
    assert "taking over the lock of process" in said[0]
    assert "is dead" in said[0]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="start times are Linux")
def test_a_process_of_the_same_number_is_another_one_if_it_started_later(run: RunDir, said: list[str]) -> None:
    parent = os.getppid()
    write_json(run.lock, asdict(replace(Holder.here(), process=parent, born=lock._born(parent))))
    with pytest.raises(LockError), held(run, said.append):
        pass
    write_json(run.lock, asdict(replace(Holder.here(), process=parent, born=lock._born(parent) - 1)))
    with held(run, said.append):
        assert "is dead" in said[0]


def test_that_of_another_machine_is_watched_and_left_while_it_is_touched(
    run: RunDir, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "WATCH_S", 60.0)
    write_json(run.lock, asdict(elsewhere()))
    done = threading.Event()

    def touch() -> None:
        while not done.wait(0.02):
            os.utime(run.lock)

    other = threading.Thread(target=touch)
    other.start()
    try:
        with pytest.raises(LockError, match="on node7"), held(run, said.append):
            pass
    finally:
        done.set()
        other.join()
    assert said == [f"watching for 60 s whether process {os.getpid()} on node7 is alive"]


def test_that_of_another_machine_is_taken_over_when_nobody_touches_it(run: RunDir, said: list[str]) -> None:
    write_json(run.lock, asdict(elsewhere()))
    with held(run, said.append):
        assert read_json(run.lock)["host"] == Holder.here().host
    assert [line.split()[0] for line in said] == ["watching", "taking"]


def test_one_forgotten_long_ago_is_taken_over_at_once(
    run: RunDir, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "WATCH_S", 1e9)
    write_json(run.lock, asdict(elsewhere()))
    os.utime(run.lock, (0, 0))
    with held(run, said.append):
        pass
    assert [line.split()[0] for line in said] == ["taking"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\0\0\0", b'{"host": 1}'])
def test_one_that_cannot_be_read_is_watched_too(run: RunDir, said: list[str], content: bytes) -> None:
    run.lock.write_bytes(content)
    with held(run, said.append):
        pass
    assert "an unknown process" in said[1]


def test_a_holder_that_was_taken_over_notices_and_leaves_the_lock(run: RunDir, said: list[str]) -> None:
    with held(run, said.append):
        check_held(run)
        write_json(run.lock, asdict(elsewhere()))
        with pytest.raises(LockError, match="taken over by process"):
            check_held(run)
    assert read_json(run.lock)["host"] == "node7"


def test_without_hard_links_it_is_made_all_the_same(
    run: RunDir, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: Any, **_more: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with held(run, said.append):
        assert read_json(run.lock)["process"] == os.getpid()
        with pytest.raises(LockError), held(run, said.append):
            pass


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_directory_that_cannot_be_written_is_one_message(
    run: RunDir, said: list[str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(path: Path, _content: Any) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(lock, "write_json", refuse)
    with (
        pytest.raises(ValueError, match=f"{run.path} cannot be written: {os.strerror(number)}"),
        held(run, said.append),
    ):
        pass


def start(folder: Path, barrier: Any, results: Any, over: Any) -> None:
    run = RunDir(folder)
    barrier.wait(120)
    try:
        with held(run, lambda _text: None):
            results.put("held")
            over.wait(120)
    except LockError:
        results.put("refused")


@pytest.mark.slow
@pytest.mark.parametrize("stale", [False, True])
def test_of_starts_at_the_same_moment_one_wins(run: RunDir, stale: bool) -> None:
    spawn = fresh_processes()
    if stale:
        write_json(run.lock, asdict(replace(Holder.here(), process=dead_process())))
    barrier, results, over = spawn.Barrier(4), spawn.Queue(), spawn.Event()
    starts = [spawn.Process(target=start, args=(run.path, barrier, results, over)) for _ in range(4)]
    for process in starts:
        process.start()
    found = sorted(results.get(timeout=120) for _ in starts)
    over.set()
    for process in starts:
        process.join(60)
    assert found == ["held", "refused", "refused", "refused"]
    assert list(run.path.iterdir()) == []


def test_a_second_start_of_a_training_is_refused_in_one_line(
    tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, phantom_store, train={"steps": 1})
    run = RunDir(tmp_path / "runs" / "run")
    with held(run, print):
        assert train(config) == 2
        message = capsys.readouterr().err
        assert message.startswith(f"train.py: {run.path} is being trained by process {os.getpid()} on ")
        assert message.count("\n") == 1
        assert [path.name for path in run.path.iterdir()] == ["train.lock"]
    assert train(config) == 0
    assert not run.lock.exists()
    assert json.loads(run.environment.read_text())["exit_code"] == 0


def test_a_start_whose_draft_was_tidied_away_is_refused_like_any_other(
    run: RunDir, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two starts on other hosts watch a stale lock; one takes it over and tidies while the other still watches.
    write_json(run.lock, asdict(elsewhere(process=7)))
    original = lock._why_stale

    def taken_over(*arguments: Any) -> str:
        why = original(*arguments)
        monkeypatch.setattr(lock, "_why_stale", original)
        write_json(run.lock, asdict(Holder.here()))
        for draft in run.path.glob(".*.tmp.*"):
            draft.unlink()
        return why

    monkeypatch.setattr(lock, "_why_stale", taken_over)
    with pytest.raises(LockError, match=f"is being trained by process {os.getpid()} on"), held(run, said.append):
        pass


def test_tidying_leaves_the_draft_of_a_second_start(run: RunDir) -> None:
    drafts = [run.path / f".{process}.tmp.train.lock" for process in (os.getpid(), dead_process())]
    for draft in drafts:
        draft.write_text("{}")
    checkpoint.tidy(run)
    assert [draft.exists() for draft in drafts] == [True, False]
