"""Copies the batch of the next step to a GPU while this step is computed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

import torch

from mets3d.data.loader import Batch

Step = TypeVar("Step")
Arrival = Callable[[], Step]  # hands over what has arrived, or raises what came instead


def on_device(steps: Iterator[list[Batch]], device: torch.device) -> Iterator[list[Batch]]:
    """Returns an iterator over the micro-batches of each step, on a GPU copied there one step ahead.

    Before a step is handed over, the copy of the next one begins on a stream of its own, which the kernels of the step
    do not wait for. The host waits for neither: where the copy is not over when its step begins, the device waits.
    Elsewhere the micro-batches stay as the loader made them.
    """
    if device.type != "cuda":
        return steps
    stream = torch.cuda.Stream(device)
    return one_ahead(steps, lambda batches: _copied(batches, device, stream))


def one_ahead(steps: Iterator[Step], begin: Callable[[Step], Arrival[Step]]) -> Generator[Step, None, None]:
    """Yields what arrives of each step after `begin` has begun the next one.

    An error of the loader is raised where its own step is due, so that the step before is made.
    """
    coming = _begun(steps, begin)
    while coming is not None:
        following = _begun(steps, begin)
        yield coming()
        coming = following


def _begun(steps: Iterator[Step], begin: Callable[[Step], Arrival[Step]]) -> Arrival[Step] | None:
    try:
        return begin(next(steps))
    except StopIteration:
        return None
    except Exception as error:
        return _raising(error)


def _raising(error: Exception) -> Arrival[Step]:
    def raised() -> Step:
        raise error

    return raised


def _copied(batches: list[Batch], device: torch.device, stream: torch.cuda.Stream) -> Arrival[list[Batch]]:
    with torch.cuda.stream(stream):
        moved = [batch.to(device) for batch in batches]
        over = stream.record_event()

    def arrived() -> list[Batch]:
        computing = torch.cuda.current_stream(device)
        computing.wait_event(over)
        for batch in moved:
            for tensor in batch.tensors:
                tensor.record_stream(computing)  # so that the next copy does not overwrite what is still read
        return moved

    return arrived
