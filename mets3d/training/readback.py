"""Brings the numbers of a step from the device to the host without making the device wait."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping

import torch
from torch import Tensor

from mets3d.log_names import SECONDS


class Readback:
    """Numbers of steps on their way from the device to the host, read `lag` steps late.

    With a lag of one the host waits for a step that is over while the next one is already queued: the GPU never idles.
    """

    def __init__(self, lag: int):
        self.lag = lag
        self._waiting: deque[tuple[int, list[str], Tensor, torch.cuda.Event | None]] = deque()
        self._before = time.monotonic()

    def push(self, step: int, values: Mapping[str, Tensor]) -> None:
        """Starts the copy of a step's numbers; they must have an entry `loss`, whose device is that of the step."""
        row = torch.stack([value.to(values["loss"].device, non_blocking=True) for value in values.values()])
        event = None
        if row.device.type == "cuda":
            host = torch.empty(row.shape, dtype=row.dtype, pin_memory=True)
            host.copy_(row, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            row = host
        self._waiting.append((step, list(values), row, event))

    def ready(self) -> list[tuple[int, dict[str, float]]]:
        """Returns (step, numbers) of every waiting step but the newest `lag`, and forgets them.

        `seconds`, the time since the numbers of the step before were read, is added to the numbers.
        """
        return [self._take() for _ in range(len(self._waiting) - self.lag)]

    def drain(self) -> list[tuple[int, dict[str, float]]]:
        """Returns (step, numbers) of every waiting step, as `ready`."""
        return [self._take() for _ in range(len(self._waiting))]

    def restart_clock(self) -> None:
        """Excludes the time since the last step from the next step's seconds."""
        self._before = time.monotonic()

    def _take(self) -> tuple[int, dict[str, float]]:
        step, names, row, event = self._waiting.popleft()
        if event is not None:
            event.synchronize()
        now = time.monotonic()
        seconds, self._before = now - self._before, now
        return step, dict(zip(names, row.tolist(), strict=True)) | {SECONDS: seconds}
