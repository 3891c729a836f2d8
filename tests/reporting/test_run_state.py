"""What has become of a run, by its lock and by what its last session left."""

from __future__ import annotations

import json

import pytest

from mets3d.reporting.run_state import state_of
from mets3d.rundir import RunDir
from mets3d.training.lock import held

EARLIER, LATER = "2020-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"


def noted(run, **environment):
    (run / "environment.json").write_text(json.dumps(environment))
    return RunDir(run)


def test_a_folder_without_settings_is_no_run(tmp_path):
    assert state_of(RunDir(tmp_path)) == "absent"
    assert state_of(RunDir(tmp_path / "none")) == "absent"


@pytest.mark.parametrize("code", [0, 1, 143])
def test_a_session_that_said_how_it_ended_has_ended(make_run, code):
    assert state_of(noted(make_run(), started=EARLIER, exit_code=code)) == "ended"


def test_without_an_end_and_without_a_process_it_was_stopped(make_run):
    assert state_of(noted(make_run(), started=EARLIER)) == "stopped"
    assert state_of(RunDir(make_run("other", environment=None))) == "stopped"


def test_a_process_that_is_alive_trains(make_run):
    run = noted(make_run(), started=LATER)
    with held(run, print):
        assert state_of(run) == "training"
    assert state_of(run) == "stopped"


def test_the_end_of_a_session_before_is_not_that_of_the_process_that_trains_now(make_run):
    """A run that goes on has its lock before it forgets how it ended last time."""
    run = noted(make_run(), started=EARLIER, exit_code=143)
    with held(run, print):
        assert state_of(run) == "training"


def test_the_process_that_says_how_it_ended_may_still_hold_the_lock(make_run):
    """The last page is written before the lock is released."""
    run = noted(make_run(), started=LATER, exit_code=0)
    with held(run, print):
        assert state_of(run) == "ended"


@pytest.mark.parametrize("content", ["", "[]", '{"exit_code": 0, "started": 5}'])
def test_a_record_that_cannot_be_read_says_nothing(make_run, content):
    run = RunDir(make_run())
    run.environment.write_text(content)
    with held(run, print):
        assert state_of(run) == "training"


def test_the_lock_of_a_process_that_is_dead_holds_nothing(make_run):
    run = noted(make_run(), started=EARLIER)
    with held(run, print):
        lock = json.loads(run.lock.read_text())
    run.lock.write_text(json.dumps(lock | {"process": 2**22 + 1}))
    assert state_of(run) == "stopped"
