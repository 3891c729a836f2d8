"""Numbers come back once, in order, as late as they may."""

import time

import pytest
import torch

from mets3d.training.readback import Readback


def pushed(readback: Readback, step: int) -> None:
    readback.push(step, {"loss": torch.tensor(step / 2), "lr": torch.tensor(0.5)})


@pytest.mark.parametrize(("lag", "ready"), [(0, [[0], [1], [2]]), (1, [[], [0], [1]])])
def test_all_but_the_newest_are_ready_and_draining_takes_the_rest(lag: int, ready: list[list[int]]) -> None:
    readback = Readback(lag)
    for step, expected in enumerate(ready):
        pushed(readback, step)
        rows = readback.ready()
        assert [done for done, _ in rows] == expected
        assert [numbers["loss"] for _, numbers in rows] == [done / 2 for done in expected]
    assert [done for done, _ in readback.drain()] == list(range(3 - lag, 3))
    assert readback.drain() == []


def test_seconds_are_those_since_the_last_one_or_since_the_clock_was_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 13.0, 20.0, 21.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    readback = Readback(0)
    pushed(readback, 0)
    assert readback.ready()[0][1]["seconds"] == 3
    readback.restart_clock()
    pushed(readback, 1)
    assert readback.ready()[0][1]["seconds"] == 1
