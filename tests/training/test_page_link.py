"""The page that a training has written beside itself."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from mets3d.rundir import RunDir
from mets3d.training.track import page_link
from mets3d.training.track.page_link import PageLink
from tests.builders.runs import train, write_config


def test_a_training_writes_its_page_and_its_slices_and_nothing_half(
    tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, phantom_store, track={"page": True})
    assert train(config) == 0
    run = RunDir(tmp_path / "runs" / "run")
    page = (run.report / "index.html").read_text(encoding="utf-8")
    assert "trained for 4 steps" in page
    assert "In the middle of training" not in page
    assert "location.reload" not in page
    assert run.validation_steps() == [4]
    assert [file.name for file in run.path.glob(".*.tmp.*")] == []
    said = capsys.readouterr().out
    assert f"page, anew at each validation: {run.report / 'index.html'}" in said
    assert "could not be written" not in said


class Programs:
    """Programs in place of `mets3d report`: each start is noted, with its process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: str):
        self.started: list[page_link.subprocess.Popen[bytes]] = []
        popen = page_link.subprocess.Popen

        def start(_words, **named):
            self.started.append(popen([sys.executable, "-S", "-c", code], **named))
            return self.started[-1]

        monkeypatch.setattr(page_link.subprocess, "Popen", start)

    def settle(self) -> None:
        self.started[-1].wait(60)


@pytest.fixture
def said() -> list[str]:
    return []


def test_there_is_one_at_a_time_and_the_last_one_takes_the_place_of_one_that_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    programs = Programs(monkeypatch, "import time; time.sleep(100)")
    link = PageLink(RunDir(tmp_path), say=said.append)
    for _ in range(3):
        link.renew()
    (slow,) = programs.started
    if hasattr(os, "SCHED_IDLE"):
        assert os.sched_getscheduler(slow.pid) == os.SCHED_IDLE
    else:
        assert os.getpriority(os.PRIO_PROCESS, slow.pid) == 19
    half = tmp_path / f".{slow.pid}.tmp.report"
    half.mkdir()
    monkeypatch.setattr(page_link, "FINISH_S", 0.2)
    link.close()
    assert len(programs.started) == 2
    assert [process.poll() for process in programs.started] == [-9, -9]
    assert not half.exists()
    assert said[1:] == ["page: it could not be written (it took more than 0 s); the training goes on"]


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="there are no scheduling policies")
def test_the_last_one_has_the_priority_of_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    programs = Programs(monkeypatch, "import os, sys; sys.exit(os.sched_getscheduler(0))")
    PageLink(RunDir(tmp_path), say=said.append).close()
    assert programs.started[-1].returncode == os.sched_getscheduler(0)


def test_one_that_fails_is_said_once_and_the_next_validation_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    programs = Programs(monkeypatch, "import sys; sys.exit('mets3d report: no disk')")
    link = PageLink(RunDir(tmp_path), say=said.append)
    for _ in range(3):
        link.renew()
        programs.settle()
    link.close()
    assert len(programs.started) == 4
    assert said[1:] == ["page: it could not be written (mets3d report: no disk); the training goes on"]


def test_a_page_that_a_kill_left_aside_is_back_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """The training was killed, too: nobody was left to give the former page its name back."""
    aside = tmp_path / f".{2**22 + 7}.tmp.old.report"  # no system has as many processes
    aside.mkdir()
    (aside / "index.html").write_text("the former page")
    (tmp_path / f".{2**22 + 7}.tmp.report").mkdir()
    Programs(monkeypatch, "pass")
    link = PageLink(RunDir(tmp_path), say=said.append)
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    link.close()
    assert (tmp_path / "report" / "index.html").read_text() == "the former page"


def test_a_page_that_a_kill_leaves_aside_comes_back_when_it_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    programs = Programs(monkeypatch, "import time; time.sleep(100)")
    link = PageLink(RunDir(tmp_path), say=said.append)
    link.renew()
    aside = tmp_path / f".{programs.started[0].pid}.tmp.old.report"
    aside.mkdir()
    (aside / "index.html").write_text("the former page")
    monkeypatch.setattr(page_link, "FINISH_S", 0.0)
    link.close()
    assert (tmp_path / "report" / "index.html").read_text() == "the former page"


def test_a_process_that_cannot_be_started_costs_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    def start(*_words, **_named):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(page_link.subprocess, "Popen", start)
    link = PageLink(RunDir(tmp_path), say=said.append)
    link.renew()
    link.close()
    assert said[1:] == ["page: it could not be written ([Errno 12] Cannot allocate memory); the training goes on"]


def test_nothing_of_a_page_is_waited_for_at_a_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    programs = Programs(monkeypatch, "import time; time.sleep(100)")
    link = PageLink(RunDir(tmp_path), say=said.append)
    before = time.monotonic()
    link.renew()
    link.renew()
    assert time.monotonic() - before < 50
    assert programs.started[0].poll() is None
    monkeypatch.setattr(page_link, "FINISH_S", 0.0)
    link.close()
