"""The one message of an error: what happened and what to do; a mistake in the code keeps its traceback."""

from __future__ import annotations

import pytest
import torch

from mets3d.data import DataError
from mets3d.training.failure import TrainingError, message_of

GLOO = "[pair.cc:547] Connection closed by peer [127.0.0.1]:1234"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device", "a/metrics.jsonl"), "the disk is full: a/metrics.jsonl"),
        (OSError("nothing there"), "nothing there"),
        (DataError("case A is gone"), "case A is gone"),
        (DataError("a worker: Connection reset by peer"), "a worker: Connection reset by peer"),
        (TrainingError("told to all: Connection reset by peer"), "told to all: Connection reset by peer"),
        (RuntimeError(GLOO), "another training process has ended"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "mat1 and mat2 shapes cannot be multiplied"),
        (MemoryError(), "memory ran out"),
        (torch.OutOfMemoryError("CUDA out of memory"), "the device's memory ran out"),
    ],
)
def test_what_is_expected_is_a_message(error: Exception, message: str) -> None:
    assert message_of(error).startswith(message)
    assert "Traceback" not in message_of(error)


@pytest.mark.parametrize("address", ["10.77.15.2", "fe80::1"])
def test_the_host_of_a_process_that_ended_is_named_by_its_address(address: str) -> None:
    message = message_of(RuntimeError(GLOO.replace("127.0.0.1", address)))
    assert f"on the host with the address {address}, so" in message
    assert "run the same command again on every host" in message


def test_a_mistake_in_the_code_keeps_its_traceback() -> None:
    with pytest.raises(KeyError) as raised:
        dict[str, int]()["nothing"]
    assert "Traceback" in message_of(raised.value)
    assert message_of(raised.value).endswith("KeyError: 'nothing'")
