"""A network on a whole volume, window by window, in bounded memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from mets3d.shapes import QueryClasses, SegOutput

SIGMA = 1 / 8  # of the patch, as in nnU-Net and MONAI
ROWS = 8

Triple = tuple[int, int, int]


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
    pool: Executor | None = None,
    pool_width: int = 1,
) -> Float32[Tensor, "R X Y Z"]:
    """Probabilities of every channel, fp32, on the host: Gaussian-weighted mean over overlapping windows.

    p(v) = sum_w g(v - w) p_w(v) / sum_w g(v - w), with g a Gaussian of sigma patch / 8 about the window's centre.
    Windows are spread evenly, at most (1 - overlap) patch apart. A volume smaller than the patch is padded with 0, the
    value outside the brain, and cropped back.

    mirror: axes (0 X, 1 Y, 2 Z) to flip over. All 2^n combinations are answered, flipped back and averaged, which costs
    2^n times the forward passes. `window_batch` counts windows and mirrored copies alike.

    pool: on a CPU, `pool_width` threads that each run one window by itself. Windows are then handed out by a multiple
    of the threads that is at least `window_batch`, so that none is idle, and memory holds that many windows with their
    answers and, for each thread, the network's activations for one. Give torch a single thread then: a window's sums do
    not depend on how many windows are run at once, so neither does the result.

    A window that is 0 everywhere is not run: all such windows are the same input, so the network answers once and the
    answer counts for each of them, and for their mirrored copies. The result is that of running them all.

    The network runs on the image's device, and sees windows in fp32 (alone in a pass as views, not contiguous).
    What lies there beside the image is bounded by one patch's extent along X, times Y times Z: the rows that the
    network is shown, their sums, and with `mirror` the sums of one mirrored copy, (C + R) or (C + 2 R) values of fp32.
    Rows that no later window touches are normalised and leave for the host while the device works on. Nothing in the
    loop waits for the device. On a CPU, where nothing has to leave, the rows are those of the whole volume.
    """
    padded, inside = _padded(image, patch)
    windows = Windows.over(padded.shape[1:], patch, overlap)
    flips = tuple(itertools.chain.from_iterable(itertools.combinations(mirror, n) for n in range(len(mirror) + 1)))
    jobs = list(_jobs(windows, flips, windows.filled(padded), rolling=_leaves(padded.device)))
    at_once = window_batch if pool is None else math.ceil(window_batch / pool_width) * pool_width
    asked = _Asked(network, padded, windows.patch, at_once, query_classes, pool)
    sums: _Sums | None = None
    for job, answer in asked.answers(jobs):
        sums = sums or _Sums(windows, len(answer), len(flips), padded.device)
        sums.add(job, answer)
    assert sums is not None
    return sums.finished()[(slice(None), *inside)].contiguous()


def window_starts(size: int, patch: int, overlap: float) -> list[int]:
    """First voxels of the windows along one axis: the fewest that are at most (1 - overlap) patch apart, spread evenly.

    Raises ValueError if the patch is larger than the axis.
    """
    if size < patch:
        raise ValueError(f"a window of {patch} voxels does not fit an axis of {size}")
    step = max(1, math.floor((1 - overlap) * patch + 1e-6))  # 1 - 0.8 is a little less than 0.2
    gaps = math.ceil((size - patch) / step)
    return [round(index * (size - patch) / gaps) for index in range(gaps + 1)] if gaps else [0]


@dataclass(frozen=True, eq=False)
class Windows:
    """All windows over a volume: every combination of the starts along X, Y and Z, X changing slowest."""

    size: Triple
    patch: Triple
    along: tuple[list[int], list[int], list[int]]

    @classmethod
    def over(cls, size: Sequence[int], patch: Sequence[int], overlap: float) -> Windows:
        x, y, z = (window_starts(n, p, overlap) for n, p in zip(size, patch, strict=True))
        return cls(_triple(size), _triple(patch), (x, y, z))

    def filled(self, image: Tensor) -> dict[Triple, bool]:
        """Which windows hold anything but 0, by start. The one question to the device, asked before the loop.

        Most windows show it in every eighth voxel; the others are looked at in full.
        """
        views = {start: image[(slice(None), *_box(start, self.patch))] for start in self.starts}
        found = _any(views, 8)
        return found | _any({start: view for start, view in views.items() if not found[start]}, 1)

    @property
    def starts(self) -> list[Triple]:
        return [_triple(start) for start in itertools.product(*self.along)]

    def weights(self) -> list[Float64[Tensor, " P"]]:
        """The Gaussian along each axis; a voxel's weight in a window is their product."""
        lines = [torch.arange(length, dtype=torch.float64) - (length - 1) / 2 for length in self.patch]
        return [torch.exp(-0.5 * (line / (SIGMA * len(line))) ** 2) for line in lines]

    def weight_sums(self) -> list[Float64[Tensor, " N"]]:
        """Sums over the windows along each axis. The windows are a full grid, so their product is the sum over all."""
        sums = [torch.zeros(size, dtype=torch.float64) for size in self.size]
        for line, total, starts in zip(self.weights(), sums, self.along, strict=True):
            for start in starts:
                total[start : start + len(line)] += line
        return sums


# ---------------------------------------------------------------- the order of work


@dataclass(frozen=True)
class _Group:
    """Windows that are asked for one after the other: rows of the volume along X, in one of its mirror images."""

    rows: tuple[int, int]
    flip: tuple[int, ...]  # axes of [X, Y, Z]


class _Job(NamedTuple):
    group: _Group
    start: Triple  # in the group's rows, mirrored
    filled: bool
    last: bool  # of the group


def _jobs(
    windows: Windows, flips: Sequence[tuple[int, ...]], filled: Mapping[Triple, bool], *, rolling: bool
) -> Iterator[_Job]:
    """Every window in every mirror image; rolling: those of one start along X after the other."""
    x, y, z = windows.along
    for block in [[start] for start in x] if rolling else [x]:
        rows = (block[0], block[-1] + windows.patch[0])
        size = (rows[1] - rows[0], *windows.size[1:])
        starts = [_triple(start) for start in itertools.product(block, y, z)]
        for flip in flips:
            group = _Group(rows, flip)
            for start in starts:
                place = [start[0] - rows[0], *start[1:]]
                for axis in flip:
                    place[axis] = size[axis] - windows.patch[axis] - place[axis]
                yield _Job(group, _triple(place), filled[start], start == starts[-1])


def _chunks(jobs: Sequence[_Job], size: int) -> Iterator[list[_Job]]:
    """The jobs in order, cut after every `size` that need the network."""
    chunk: list[_Job] = []
    filled = 0
    for job in jobs:
        chunk.append(job)
        filled += job.filled
        if filled == size:
            yield chunk
            chunk, filled = [], 0
    if chunk:
        yield chunk


# ---------------------------------------------------------------- the network's answers


class _Asked:
    """Puts windows to the network, a batch at a time."""

    def __init__(
        self,
        network: Callable[[Tensor], SegOutput],
        image: Tensor,
        patch: Triple,
        window_batch: int,
        query_classes: QueryClasses,
        pool: Executor | None,
    ):
        self.network, self.image, self.patch, self.query_classes = network, image, patch, query_classes
        self.pool = pool
        self.window_batch = window_batch
        self.batch: Tensor | None = None
        self.shown: _Group | None = None
        self.rows: Tensor | None = None

    def answers(self, jobs: Sequence[_Job]) -> Iterator[tuple[_Job, Float[Tensor, "R x y z"]]]:
        """Each job, in order, with the network's answer, as mirrored as the job is."""
        empty: Tensor | None = None
        for chunk in _chunks(jobs, self.window_batch):
            answers = self._run([job for job in chunk if job.filled])
            for job in chunk:
                if job.filled:
                    yield job, next(answers)
                else:
                    empty = (
                        self._ask([self._buffer((1, len(self.image), *self.patch)).zero_()])[0]
                        if empty is None
                        else empty
                    )
                    yield job, empty

    def _run(self, jobs: Sequence[_Job]) -> Iterator[Tensor]:
        if not jobs:
            return iter(())
        apart = self.pool is not None or self.window_batch == 1
        if apart and all(job.group == jobs[0].group for job in jobs):  # of whose rows all are views
            return iter(self._ask([self._window(job)[None] for job in jobs]))
        if self.batch is None:
            self.batch = self._buffer((self.window_batch, len(self.image), *self.patch))
        for place, job in zip(self.batch, jobs, strict=False):
            place.copy_(self._window(job))
        filled = self.batch[: len(jobs)]
        return iter(self._ask(list(filled[:, None]) if apart else [filled]))

    def _window(self, job: _Job) -> Float32[Tensor, "C x y z"]:
        """A view of the rows of its group, which are turned to fp32 and mirrored when the first window needs them."""
        if job.group != self.shown or self.rows is None:
            first, stop = job.group.rows
            if self.rows is None or self.rows.shape[1] != stop - first:
                self.rows = self._buffer((len(self.image), stop - first, *self.image.shape[2:]))
            _copy_flipped(self.image[:, first:stop], self.rows, job.group.flip)
            self.shown = job.group
        return self.rows[(slice(None), *_box(job.start, self.patch))]

    def _ask(self, batches: Sequence[Tensor]) -> list[Tensor]:
        """One answer a window."""
        run = map if self.pool is None else self.pool.map
        return [answer for answers in run(self._answers, batches) for answer in answers]

    @torch.inference_mode()  # which threads do not inherit
    def _answers(self, windows: Tensor) -> Tensor:
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
        self.parts = [slice(None)] if self.rolling else _parts(windows.patch[0])
        self.done = 0  # rows of the result that are finished; rolling: also where the sums begin

    def add(self, job: _Job, answer: Float[Tensor, "R x y z"]) -> None:
        """Adds a window. They come group by group, the rows never falling."""
        if job.group.rows[0] > self.done:
            self._finish(job.group.rows[0])
        into = self.rows
        if job.group.flip and self.mirrored is not None:
            into = self.mirrored
        window = into[(slice(None), *_box(job.start, self.windows.patch))]
        for part in self.parts:
            window[:, part].addcmul_(answer[:, part], self.weight[part])
        if job.last and job.group.flip:
            _move_flipped(into, self.rows, job.group.flip)

    def finished(self) -> Float32[Tensor, "R X Y Z"]:
        self._finish(self.windows.size[0])
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()
        return self.result

    def _finish(self, stop: int) -> None:
        """Normalises the rows before `stop` and sends them off."""
        count = stop - self.done
        for part in _parts(count):
            rows = self.rows[:, part].mul_(self.inverse_yz)
            rows.mul_(self.inverse_x[self.done : stop][part, None, None]).clamp_(0, 1)
        if self.rolling:
            for kept, rows in zip(self.result, self.rows, strict=True):  # contiguous, else the copy would wait
                kept[self.done : stop].copy_(rows[:count], non_blocking=True)
            rest = self.rows[:, count:].clone()
            self.rows[:, : rest.shape[1]] = rest
            self.rows[:, rest.shape[1] :] = 0
        self.done = stop


# ---------------------------------------------------------------- geometry


def _padded(image: Tensor, patch: Sequence[int]) -> tuple[Tensor, tuple[slice, ...]]:
    """The image in the middle of at least a patch, and where it lies there."""
    missing = [max(0, p - n) for n, p in zip(image.shape[1:], patch, strict=True)]
    before = [count // 2 for count in missing]
    inside = tuple(slice(b, b + n) for b, n in zip(before, image.shape[1:], strict=True))
    if not any(missing):
        return image, inside
    ends = [pair for b, count in zip(before, missing, strict=True) for pair in (count - b, b)]
    return F.pad(image, ends[::-1]), inside


def _box(start: Triple, patch: Triple) -> tuple[slice, slice, slice]:
    x, y, z = (slice(first, first + length) for first, length in zip(start, patch, strict=True))
    return x, y, z


def _any(windows: Mapping[Triple, Tensor], step: int) -> dict[Triple, bool]:
    if not windows:
        return {}
    found = torch.stack([window[:, ::step, ::step, ::step].any() for window in windows.values()])
    return dict(zip(windows, found.tolist(), strict=True))


def _copy_flipped(volume: Float[Tensor, "C X Y Z"], out: Float32[Tensor, "C X Y Z"], axes: Sequence[int]) -> None:
    for part in _parts(out.shape[1]):
        out[:, part].copy_(_flipped(volume, part, axes))


def _move_flipped(volume: Float32[Tensor, "C X Y Z"], out: Float32[Tensor, "C X Y Z"], axes: Sequence[int]) -> None:
    """Adds the flipped volume, which is 0 then: rows still in the cache."""
    for part in _parts(out.shape[1]):
        out[:, part].add_(_flipped(volume, part, axes))
        _rows(volume, part, axes).zero_()


def _rows(volume: Float[Tensor, "C X Y Z"], part: slice, axes: Sequence[int]) -> Float[Tensor, "C x Y Z"]:
    """The rows that are these in the flipped volume."""
    size = volume.shape[1]
    return volume[:, size - part.stop : size - part.start] if 0 in axes else volume[:, part]


def _flipped(volume: Float[Tensor, "C X Y Z"], part: slice, axes: Sequence[int]) -> Float[Tensor, "C x Y Z"]:
    """These rows of the flipped volume."""
    rows = _rows(volume, part, axes)
    # To fp32 first: torch flips the last axis of half types one value at a time.
    return rows.float().flip([axis + 1 for axis in axes]) if axes else rows


def _parts(size: int) -> list[slice]:
    """Rows a few at a time: what is made of them on the way stays in a CPU's cache, and small on any device."""
    return [slice(first, min(first + ROWS, size)) for first in range(0, size, ROWS)]


def _memory(shape: Sequence[int], device: torch.device) -> Float32[Tensor, "..."]:
    """Memory of any content. NumPy asks the system for large pages, unlike torch: a quarter of the time to fill it."""
    if device.type == "cpu":
        return torch.from_numpy(np.empty(shape, np.float32))
    return torch.empty(tuple(shape), dtype=torch.float32, device=device)


def _leaves(device: torch.device) -> bool:
    """Whether sums have to leave the device for the host."""
    return device.type != "cpu"


def _triple(values: Sequence[int]) -> Triple:
    x, y, z = values
    return x, y, z
