"""`mets3d report --watch`: a page at each validation, and an end."""

from __future__ import annotations

import errno
import json
import shutil

import pytest

from mets3d.__main__ import main
from mets3d.reporting import watch as module
from mets3d.reporting.watch import Validations, watch
from mets3d.rundir import RunDir

ROW = {"step": 1, "kind": "train", "loss": 1.0}


def append(run, **row):
    with (run / "metrics.jsonl").open("a") as stream:
        stream.write(json.dumps({"step": 2, "kind": "validation"} | row) + "\n")


class Script:
    """What happens to a run between two looks at it: one change a pause; afterwards nothing, `most` times."""

    def __init__(self, *changes, most=400):
        self.changes, self.left = list(changes), most

    def __call__(self, seconds):
        if self.changes:
            self.changes.pop(0)()
            return
        self.left -= 1
        assert self.left, "it goes on for ever"


@pytest.fixture
def watched(make_run, monkeypatch):
    """Runs `watch` over a script of (state, change) and returns the looks at which pages were written."""

    def start(run, states, changes=(), write=lambda: None):
        pages, said = [], []
        looks = iter([*states, *[states[-1]] * 500])
        now = []

        def state_of(_run):
            now.append(next(looks))
            return now[-1]

        def written():
            write()
            pages.append(len(now))

        monkeypatch.setattr(module, "state_of", state_of)
        monkeypatch.setattr(module, "sleep", Script(*changes))
        ended = watch(run, written, said.append)
        return ended, pages, said

    return start


def nothing():
    pass


def test_a_page_at_the_start_and_at_each_validation_and_none_else(make_run, watched):
    run = make_run(metrics=[ROW])
    changes = [
        nothing,
        lambda: append(run),
        nothing,
        lambda: append(run, kind="train"),
        lambda: append(run, step=4),
        nothing,
    ]
    assert watched(run, ["training"] * 7 + ["ended"], changes) == (True, [1, 3, 6], [])


def test_a_run_that_is_not_there_yet_is_waited_for(make_run, watched, tmp_path):
    run = tmp_path / "runs" / "base"
    ended, pages, said = watched(run, ["absent", "absent", "training", "ended"])
    assert (ended, pages) == (True, [3])
    assert said == [f"{run}: no run directory yet; waiting up to 300 s for it (Ctrl-C ends)"]


@pytest.mark.parametrize("state", ["absent", "stopped"])
def test_nobody_is_waited_for_for_ever(state, make_run, watched):
    run = make_run()
    ended, pages, said = watched(run, ["training", state])
    assert ended is False
    assert pages == ([1] if state == "absent" else [1, 2])
    assert said[-1] == f"{run}: no training for 300 s; start the same command again when it goes on"


def test_a_training_that_was_killed_may_go_on(make_run, watched):
    run = make_run(metrics=[ROW])
    states = ["training", *["stopped"] * 140, "training", *["stopped"] * 140, "training", "ended"]
    ended, pages, said = watched(run, states)
    assert (ended, pages) == (True, [1, 2, 142, 143, 283])
    assert len(said) == 2


def test_a_run_that_goes_while_its_page_is_written_is_like_one_that_is_not_there(make_run, watched):
    run, tries = make_run(metrics=[ROW]), []

    def write():
        tries.append(1)
        if len(tries) < 3:
            raise FileNotFoundError

    assert watched(run, ["training"] * 5 + ["ended"], write=write) == (True, [3], [])


def test_a_full_disk_costs_one_page(make_run, watched):
    run, tries = make_run(metrics=[ROW]), []

    def write():
        tries.append(1)
        if len(tries) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")

    ended, _, said = watched(run, ["training"] * 4 + ["ended"], [nothing, lambda: append(run)], write=write)
    assert (ended, len(tries)) == (True, 2)
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert "tried again at the next validation" in said[0]


def test_other_errors_of_a_page_end_it(make_run, watched):
    with pytest.raises(FileExistsError):
        watched(make_run(), ["training"], write=lambda: (_ for _ in ()).throw(FileExistsError))


def test_only_what_a_log_has_got_is_read(make_run):
    run = RunDir(make_run(metrics=[ROW, {"step": 2, "kind": "validation"}]))
    log = Validations(run)
    assert [log.is_new(), log.is_new()] == [True, False]
    torn = json.dumps({"step": 4, "kind": "validation"})
    with run.metrics.open("a") as stream:
        stream.write(torn[:20])
    assert not log.is_new()
    with run.metrics.open("a") as stream:
        stream.write(torn[20:] + "\n")
    assert [log.is_new(), log.is_new()] == [True, False]
    run.metrics.write_text(json.dumps(ROW) + "\n")  # a run that went on before that validation
    assert [log.is_new(), log.is_new()] == [True, False]
    run.metrics.unlink()
    assert not log.is_new()
    append(run.path)
    assert log.is_new()


def test_a_finished_run_is_reported_once(make_run, tmp_path, capsys, empty_curves):
    run = make_run(environment={"exit_code": 0, "started": "2026-01-01T10:00:00+00:00"})
    assert main(["report", "--watch", str(run), "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(tmp_path / "out" / "index.html")
    assert lines[0].startswith("base: ")


def test_ctrl_c_leaves_the_page_and_nothing_half(make_run, tmp_path, capsys, monkeypatch, empty_curves):
    run, out = make_run(environment={}), tmp_path / "out"

    def pause(_seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "sleep", pause)
    assert main(["report", "--watch", str(run), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"{out / 'index.html'}: step 40 of 40 (100 %)" in said
    assert said.splitlines()[-1] == f"no longer watching {run}"
    assert [path.name for path in tmp_path.glob("*.tmp.*")] == []
    assert (out / "index.html").is_file()


def test_one_run_is_watched_at_a_time(capsys):
    assert main(["report", "--watch", "a", "b", "--out", "out"]) == 2
    assert "--watch: expected one run to follow, found 2" in capsys.readouterr().err


def test_the_run_may_go_for_good(make_run, watched):
    run = make_run()
    shutil.rmtree(run)
    assert watched(run, ["absent"])[0] is False
