"""Lets all processes decide together on the host: whether to stop, and that an error of one is an error of all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import distributed

from mets3d.training.failure import TrainingError, message_of
from mets3d.training.hosts import Place
from mets3d.training.stop import StopWish

# Validation of large cases on one rank must not trip the others.
PATIENCE = timedelta(hours=2)


@contextmanager
def together(accelerator: Accelerator) -> Iterator[None]:
    """Runs a block on all processes and raises an error of any of them on all, once each has finished the block.

    The block may wait for other processes only by a block of this kind inside it. With one process nothing is changed.
    Raises TrainingError, with the message of the lowest rank that failed.
    """
    error: Exception | None = None
    try:
        yield
    except TrainingError:  # all have it already, from a block inside this one
        raise
    except Exception as caught:
        if accelerator.num_processes == 1:
            raise
        error = caught
    if accelerator.num_processes > 1:
        text = first_text(error)
        if text is not None:
            raise TrainingError(text) from error


def first_text(error: Exception | None) -> str | None:
    """Returns the message of the lowest rank that has an error, the same on all; None without one. All ranks call."""
    texts = gather_object([None if error is None else message_of(error)])
    return next((text for text in texts if text is not None), None)


def is_first_to_fail() -> bool:
    """Returns whether this process is the first of its host to call this, of those that failed unknown to the others.

    A process whose peer has died fails too; its message would hide that of the first.
    """
    try:
        store = distributed.distributed_c10d._get_default_store()
        return bool(store.add(f"mets3d/failures/{Place.here().host}", 1) == 1)
    except Exception:  # the process that kept the store is gone, or the group was not made
        return True


class StepBoundary:
    """Agrees before each step whether to make it.

    The processes exchange two numbers on the host, by gloo, so no device is waited for. One that failed to load its
    batch takes part like the others, so none is left waiting for a gradient.
    """

    def __init__(self, accelerator: Accelerator):
        self.accelerator = accelerator
        several = accelerator.num_processes > 1
        own_group = several and distributed.get_backend() != "gloo"
        self._group = distributed.new_group(backend="gloo", timeout=PATIENCE) if own_group else None

    def agreed(self, wish: StopWish) -> int:
        """Returns the signal that ends the run on every process, 0 if none does: the highest number of any process.

        Raises TrainingError on every process where one of them has an error.
        """
        flags = torch.tensor([wish.signal, int(wish.error is not None)])
        if self.accelerator.num_processes > 1:
            distributed.all_reduce(flags, distributed.ReduceOp.MAX, group=self._group)
        number, failed = flags.tolist()
        if failed:
            raise TrainingError(first_text(wish.error)) from wish.error
        return int(number)
