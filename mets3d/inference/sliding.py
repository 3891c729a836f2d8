"""Runs a network over a whole volume in overlapping windows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor

from mets3d.inference.mirrored import copy_flipped, few_rows, move_flipped
from mets3d.inference.windows import Group, Job, Windows, box_of, chunks, jobs_in_order
from mets3d.ops.voxels import Shape3
from mets3d.shapes import QueryClasses, SegOutput


@dataclass(frozen=True, eq=False)
class Threads:
    """Threads of a CPU that run one window each, and how many there are."""

    pool: Executor
    count: int = 1


@torch.inference_mode()
def window_probabilities(
    network: Callable[[Tensor], SegOutput],
    image: Float[Tensor, "C X Y Z"],
    *,
    patch: Sequence[int],
    overlap: float = 0.5,
    window_batch: int = 2,
    mirror: Sequence[int] = (),
    query_classes: QueryClasses = "product",
    threads: Threads | None = None,
) -> Float32[Tensor, "R X Y Z"]:
    """Returns the probabilities of every channel, fp32, on the host: Gaussian-weighted means over overlapping windows.

    p(v) = sum_w g(v - w) p_w(v) / sum_w g(v - w), with g a Gaussian of sigma patch / 8 about the window's centre.
    Windows are spread evenly, at most (1 - overlap) patch apart. A volume smaller than the patch is padded with 0, the
    value outside the brain, and cropped back.

    mirror: axes (0 X, 1 Y, 2 Z) to flip over. The answers to all 2^n combinations are flipped back and averaged, which
    costs 2^n times the forward passes. `window_batch` counts windows and mirrored copies alike.

    threads: on a CPU, each runs one window by itself. Windows are then handed out by a multiple of the threads that is
    at least `window_batch`, so that none is idle, and memory holds that many windows with their answers and, for each
    thread, the network's activations for one. Give torch a single thread then: a window's sums do not depend on how
    many windows are run at once, so neither does the result.

    Windows that are 0 everywhere are the same input, mirrored or not: the network runs one of them, and its answer
    counts for all. The result is that of running them all.

    The network runs on the image's device, and sees windows in fp32 (alone in a pass as views, not contiguous).
    Memory beside the image is bounded by one patch's extent along X, times Y times Z: the rows that the network sees,
    their sums, and with `mirror` the sums of one mirrored copy, (C + R) or (C + 2 R) values of fp32.
    Rows that no later window touches are normalised and leave for the host while the device works on. Nothing in the
    loop waits for the device. On a CPU, where nothing has to leave, the rows are those of the whole volume.
    """
    padded, inside = _padded(image, patch)
    windows = Windows.over(padded.shape[1:], patch, overlap)
    flips = tuple(itertools.chain.from_iterable(itertools.combinations(mirror, n) for n in range(len(mirror) + 1)))
    jobs = list(jobs_in_order(windows, flips, windows.filled(padded), rolling=_leaves(padded.device)))
    at_once = window_batch if threads is None else math.ceil(window_batch / threads.count) * threads.count
    answers = _Answers(network, padded, windows.patch, at_once, query_classes, threads)
    sums: _Sums | None = None
    for job, answer in answers.of(jobs):
        sums = sums or _Sums(windows, len(answer), len(flips), padded.device)
        sums.add(job, answer)
    assert sums is not None
    return sums.finished()[(slice(None), *inside)].contiguous()


# ---------------------------------------------------------------- the network's answers


class _Answers:
    """Runs the network on windows, a batch at a time."""

    def __init__(
        self,
        network: Callable[[Tensor], SegOutput],
        image: Tensor,
        patch: Shape3,
        window_batch: int,
        query_classes: QueryClasses,
        threads: Threads | None,
    ):
        self.network, self.image, self.patch, self.query_classes = network, image, patch, query_classes
        self.pool = None if threads is None else threads.pool
        self.window_batch = window_batch
        self.batch: Tensor | None = None
        self.current: Group | None = None
        self.rows: Tensor | None = None

    def of(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Float[Tensor, "R x y z"]]]:
        """Yields each job, in order, with the network's answer, as mirrored as the job is."""
        empty: Tensor | None = None
        for chunk in chunks(jobs, self.window_batch):
            answers = self._run([job for job in chunk if job.filled])
            for job in chunk:
                if job.filled:
                    yield job, next(answers)
                else:
                    if empty is None:
                        empty = self._answer(self._buffer((1, len(self.image), *self.patch)).zero_())[0]
                    yield job, empty

    def _run(self, jobs: Sequence[Job]) -> Iterator[Tensor]:
        """Runs the network on these windows. Returns one answer per window."""
        if not jobs:
            return iter(())
        apart = self.pool is not None or self.window_batch == 1
        if apart and all(job.group == jobs[0].group for job in jobs):  # of whose rows all are views
            return iter(self._at_once([self._window(job)[None] for job in jobs]))
        if self.batch is None:
            self.batch = self._buffer((self.window_batch, len(self.image), *self.patch))
        for place, job in zip(self.batch, jobs, strict=False):
            place.copy_(self._window(job))
        filled = self.batch[: len(jobs)]
        return iter(self._at_once(list(filled[:, None]) if apart else [filled]))

    def _window(self, job: Job) -> Float32[Tensor, "C x y z"]:
        """Returns a view of its group's rows, which become fp32 and mirrored when the first window needs them."""
        if job.group != self.current or self.rows is None:
            first, stop = job.group.rows
            if self.rows is None or self.rows.shape[1] != stop - first:
                self.rows = self._buffer((len(self.image), stop - first, *self.image.shape[2:]))
            copy_flipped(self.image[:, first:stop], self.rows, job.group.flip)
            self.current = job.group
        return self.rows[(slice(None), *box_of(job.start, self.patch))]

    def _at_once(self, batches: Sequence[Tensor]) -> list[Tensor]:
        """Runs batches, each in a thread where there are some. Returns one answer per window."""
        run = map if self.pool is None else self.pool.map
        return [answer for answers in run(self._answer, batches) for answer in answers]

    @torch.inference_mode()  # which threads do not inherit
    def _answer(self, windows: Tensor) -> Tensor:
        return self.network(windows).region_probabilities(self.query_classes)

    def _buffer(self, shape: tuple[int, ...]) -> Tensor:
        return _memory(shape, self.image.device)


# ---------------------------------------------------------------- the weighted sums


class _Sums:
    """Weighted sums of the windows, and the rows along X that are finished.

    Where rows leave for the host, the sums are those of one patch's rows, which move on; else the result holds them.
    Windows of a mirror image are summed as they come, mirrored, and join the others when all of their group are there.
    """

    def __init__(self, windows: Windows, channels: int, flips: int, device: torch.device):
        x, y, z = windows.weights()
        self.weight = torch.einsum("x,y,z->xyz", x, y, z).to(device, torch.float32)
        x, y, z = windows.weight_sums()
        self.inverse_x = (1 / x).to(device, torch.float32)
        self.inverse_yz = (1 / (flips * torch.outer(y, z))).to(device, torch.float32)
        self.windows, self.device, self.rolling = windows, device, _leaves(device)
        whole = (channels, *windows.size)
        self.result = (
            torch.empty(whole, pin_memory=device.type == "cuda") if self.rolling else _memory(whole, device).zero_()
        )
        rows = (channels, windows.patch[0], *windows.size[1:])
        self.rows = torch.zeros(rows, device=device) if self.rolling else self.result
        self.mirrored = _memory(self.rows.shape, device).zero_() if flips > 1 else None  # 0 between groups
        # On a CPU a few rows of all channels after the other, so that their weights are fetched once; else one launch.
        self.parts = [slice(None)] if self.rolling else few_rows(windows.patch[0])
        self.done = 0  # rows of the result that are finished; rolling: also where the sums begin

    def add(self, job: Job, answer: Float[Tensor, "R x y z"]) -> None:
        """Adds a window. They come group by group, the rows never falling."""
        if job.group.rows[0] > self.done:
            self._finish(job.group.rows[0])
        into = self.rows
        if job.group.flip and self.mirrored is not None:
            into = self.mirrored
        window = into[(slice(None), *box_of(job.start, self.windows.patch))]
        for part in self.parts:
            window[:, part].addcmul_(answer[:, part], self.weight[part])
        if job.last and job.group.flip:
            move_flipped(into, self.rows, job.group.flip)

    def finished(self) -> Float32[Tensor, "R X Y Z"]:
        """Returns the normalised sums when all windows are added."""
        self._finish(self.windows.size[0])
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()
        return self.result

    def _finish(self, stop: int) -> None:
        """Normalises the rows before `stop` and sends them off."""
        count = stop - self.done
        for part in few_rows(count):
            rows = self.rows[:, part].mul_(self.inverse_yz)
            rows.mul_(self.inverse_x[self.done : stop][part, None, None]).clamp_(0, 1)
        if self.rolling:
            for kept, rows in zip(self.result, self.rows, strict=True):  # contiguous, else the copy would wait
                kept[self.done : stop].copy_(rows[:count], non_blocking=True)
            rest = self.rows[:, count:].clone()
            self.rows[:, : rest.shape[1]] = rest
            self.rows[:, rest.shape[1] :] = 0
        self.done = stop


# ---------------------------------------------------------------- geometry and memory


def _padded(image: Tensor, patch: Sequence[int]) -> tuple[Tensor, tuple[slice, ...]]:
    """Returns the image in the middle of at least a patch, and where it lies there."""
    missing = [max(0, p - n) for n, p in zip(image.shape[1:], patch, strict=True)]
    before = [count // 2 for count in missing]
    inside = tuple(slice(b, b + n) for b, n in zip(before, image.shape[1:], strict=True))
    if not any(missing):
        return image, inside
    ends = [pair for b, count in zip(before, missing, strict=True) for pair in (count - b, b)]
    return F.pad(image, ends[::-1]), inside


def _memory(shape: Sequence[int], device: torch.device) -> Float32[Tensor, "..."]:
    """Returns memory of any content.

    NumPy asks the system for large pages, unlike torch, so that filling it takes a quarter of the time.
    """
    if device.type == "cpu":
        return torch.from_numpy(np.empty(shape, np.float32))
    return torch.empty(tuple(shape), dtype=torch.float32, device=device)


def _leaves(device: torch.device) -> bool:
    """Returns whether sums have to leave the device for the host."""
    return device.type != "cpu"
