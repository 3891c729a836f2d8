"""Does on the main process what only one process must do, and lets every process know how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from mets3d.training.failure import TrainingError, message_of

T = TypeVar("T")


def from_main(accelerator: Accelerator, work: Callable[[], T]) -> T:
    """Runs `work` on the main process and returns its result on every process, or raises its error on every process.

    All processes call it. Without this a full disk or a refusal on the main process would leave the others waiting.
    With several processes the error is a TrainingError of the same message.
    """
    if accelerator.num_processes == 1:
        return work()
    result: T | None = None
    error: str | None = None
    cause: Exception | None = None
    if accelerator.is_main_process:
        try:
            result = work()
        except Exception as caught:
            error, cause = message_of(caught), caught
    result, error = broadcast_object_list([result, error])
    if error is not None:
        raise TrainingError(error) from cause
    return result
