"""Worker processes: results in order, and an end with their parent, without a word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from mets3d.processes import WorkerLost, each_done, worker_processes

SCRIPT = """
import multiprocessing, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits that it is ignored
from mets3d.processes import worker_processes
try:
    with worker_processes(2) as run_all:
        list(run_all(time.sleep, [0.3, 0.3, 0.3]))
        results = run_all(time.sleep, [100])  # one worker is busy, one waits
        print(*[child.pid for child in multiprocessing.active_children()], flush=True)
        list(results)
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_results_come_in_order_from_any_number_of_processes() -> None:
    for jobs in (1, 2):
        with worker_processes(jobs) as run_all:
            assert list(run_all(abs, [-3, 2, -1])) == [3, 2, 1]


def test_an_exception_of_the_block_passes_and_ends_the_workers() -> None:
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="enough"), worker_processes(2) as run_all:
        run_all(time.sleep, [100, 100, 100])
        raise RuntimeError("enough")
    assert time.monotonic() - start < 90


@pytest.mark.skipif(os.name != "posix", reason="signals to a process group")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent_and_print_no_traceback(stop: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert len(workers) == 2
    if stop == signal.SIGINT:
        os.killpg(parent.pid, stop)  # as a terminal does
    else:
        parent.send_signal(stop)
    _, errors = parent.communicate(timeout=60)  # also waits for the workers, which hold its pipes
    assert parent.returncode == (130 if stop == signal.SIGINT else -stop)
    assert "Traceback" not in errors
    assert errors == "" or stop != signal.SIGINT  # Python's own resource tracker warns where a parent was killed


def _killed_on_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return -number


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_lost_worker_costs_what_was_in_hand_and_says_by_what_it_was_lost() -> None:
    found = dict(each_done(_killed_on_three, [1, 2, 3, 4, 5, 6], 2))
    lost = {number for number, result in found.items() if isinstance(result, WorkerLost)}
    assert 3 in lost
    assert len(lost) <= 2
    assert {result.reason for result in found.values() if isinstance(result, WorkerLost)} == {
        "a worker process was killed, most likely by the system because memory ran out"
    }
    assert {number: -number for number in (1, 2, 3, 4, 5, 6) if number not in lost} == {
        number: result for number, result in found.items() if number not in lost
    }


def test_one_job_has_a_process_of_its_own_where_that_is_asked_for() -> None:
    assert dict(each_done(_own_process, [1], 1)) == {1: os.getpid()}
    assert dict(each_done(_own_process, [1], 1, apart=True))[1] != os.getpid()


def _own_process(_number: int) -> int:
    return os.getpid()
