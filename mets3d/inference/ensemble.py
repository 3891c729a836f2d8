"""Trained networks that answer a case together: their probabilities averaged, on the case's own grid."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from mets3d import models
from mets3d.config import Config, Predict
from mets3d.data.cases import SEQUENCES
from mets3d.data.nifti import ImageVolume
from mets3d.data.preprocess import Prepared, prepare, put_back
from mets3d.data.store import Box3, Entry
from mets3d.files import COUNT, NAMES, SPACING_MM, Kind, read_object
from mets3d.inference.sliding import window_probabilities
from mets3d.models.weights import load_weights
from mets3d.ops.voxels import Shape3, Spacing
from mets3d.regions import Target
from mets3d.rundir import RunDir, open_run
from mets3d.shapes import SegOutput

Autocast = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Plan:
    """What preprocessing does to a case before a network sees it. Members with equal plans share it."""

    sequences: tuple[str, ...]
    spacing_mm: Spacing
    margin_voxels: int


@dataclass(frozen=True, eq=False)
class Member:
    """One trained network with what it needs."""

    run: RunDir
    config: Config
    plan: Plan
    target: Target
    network: nn.Module
    weights_sha256: str


def load_members(runs: Sequence[Path]) -> list[Member]:
    """The networks of run directories, or of folders that `mets3d export` wrote, with their weights, on the CPU.

    Raises FileNotFoundError for a folder that is not whole, and ValueError naming the file for weights of another
    network or a broken plan, and for members that answer other regions than the first.
    """
    members = [_load_member(open_run(run, needs=("config", "plan", "weights"))) for run in runs]
    first = members[0]
    for member in members[1:]:
        if member.target != first.target:
            raise ValueError(
                f"networks are averaged only where they answer the same regions: {first.run.path} has "
                f"{_told(first.target)}, {member.run.path} {_told(member.target)}; leave one of them out"
            )
    return members


def load_network(run: RunDir, config: Config, target: Target, sequences: int) -> nn.Module:
    """The run's network with its weights. Raises ValueError if model.safetensors is another network's."""
    settings = config.model.model_copy(update={"vit_pretrained": None})  # all weights are the run's
    network = models.build(settings, in_channels=sequences, target=target, patch=config.data.patch)
    load_weights(network, run.weights)
    return network


class Ensemble:
    """Members whose probabilities are averaged: p_r = sum_m w_mr p_mr / sum_m w_mr for channel r.

    How they are asked - overlap, mirrored copies, windows a pass - is `settings`, for all of them alike; the patch is
    each member's own. Every network stays on the device. `weights` are as `member_weights` makes them.
    """

    def __init__(
        self,
        members: Sequence[Member],
        settings: Predict,
        weights: Float32[np.ndarray, "M R"],
        device: torch.device,
        autocast: Autocast,
    ):
        self.members, self.settings, self.device, self.autocast = members, settings, device, autocast
        self.target = members[0].target
        self.shares = weights / weights.sum(0)
        self.plans = list(dict.fromkeys(member.plan for member in members))
        self.networks = [_ready(member.network, device, compiled=settings.compile) for member in members]

    @property
    def sequences(self) -> tuple[str, ...]:
        """Every sequence that some member sees, in order."""
        return tuple(dict.fromkeys(sequence for plan in self.plans for sequence in plan.sequences))

    def prepare(self, images: Mapping[str, ImageVolume]) -> list[Prepared]:
        """The case as each plan wants it. Raises DataError as `mets3d.data.preprocess.prepare`."""
        return [
            prepare([images[name] for name in plan.sequences], None, plan.spacing_mm, plan.margin_voxels, cavity=False)
            for plan in self.plans
        ]

    @torch.inference_mode()
    def probabilities(self, prepared: Sequence[Prepared]) -> Channels:
        """The averaged probabilities. Raises ValueError if a network answers NaN.

        Members with one plan are summed on its grid; the sums of several plans meet on the case's own grid, channel by
        channel, when a channel is asked for.
        """
        parts = []
        for plan, case in zip(self.plans, prepared, strict=True):
            chosen = [index for index, member in enumerate(self.members) if member.plan == plan]
            image = torch.from_numpy(case.image).to(self.device)
            total = self._answer(chosen[0], image)
            if len(self.members) > 1:
                total.mul_(self._share(chosen[0]))
            for index in chosen[1:]:
                total.addcmul_(self._answer(index, image), self._share(index))
            around = self.shares[chosen].sum(0) * _outside(self.target)
            parts.append(Part(total.numpy(), case.entry, tuple(float(value) for value in around)))
        return Channels(parts)

    def _answer(self, index: int, image: Tensor) -> Float32[Tensor, "R x y z"]:
        def network(windows: Tensor) -> SegOutput:
            with self.autocast():  # here, for a thread of the pool does not inherit it
                return self.networks[index](windows)

        with _threads(self.device) as (pool, width):
            answer = window_probabilities(
                network,
                image,
                patch=self.members[index].config.data.patch,
                overlap=self.settings.overlap,
                window_batch=self.settings.window_batch,
                mirror=self.settings.mirror,
                query_classes=self.settings.query_classes,
                pool=pool,
                pool_width=width,
            )
        if not torch.isfinite(answer.sum()):
            raise ValueError(
                f"{self.members[index].run.path}: the network's answer holds NaN; with precision fp16 use bf16 or no, "
                "else its weights are broken"
            )
        return answer

    def _share(self, index: int) -> Float32[Tensor, "R 1 1 1"]:
        return torch.from_numpy(self.shares[index])[:, None, None, None]


@dataclass(frozen=True, eq=False)
class Part:
    """The summed probabilities of one plan on its grid, and each channel's value beyond it."""

    total: Float32[np.ndarray, "R x y z"]
    entry: Entry
    outside: tuple[float, ...]


class Channels(Sequence[Float32[np.ndarray, "X Y Z"]]):
    """Probabilities of one case on its own RAS grid: each channel is resampled anew when it is asked for.

    So a case on a large grid never lies there with all its channels; what is kept is the answer on the networks' grid.
    """

    def __init__(self, parts: Sequence[Part]):
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts[0].total)

    def inside(self) -> tuple[tuple[Box3, Shape3], Channels]:
        """The channels in the box beyond which no region has any probability; and that box, and the grid's shape."""
        ends = [[part.entry.box[axis] for part in self.parts] for axis in range(3)]
        first = [min(start for start, _ in along) for along in ends]
        x, y, z = ((start, max(stop for _, stop in along)) for start, along in zip(first, ends, strict=True))
        shape = self.parts[0].entry.shape
        return ((x, y, z), shape), Channels([_moved(part, (x, y, z)) for part in self.parts])

    @overload
    def __getitem__(self, index: int) -> Float32[np.ndarray, "X Y Z"]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Float32[np.ndarray, "X Y Z"]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(len(self))[index]]
        channel = range(len(self))[index]  # raises IndexError past the end, which ends an iteration
        first, *others = (
            put_back(part.total[channel : channel + 1], part.entry, part.outside[channel])[0] for part in self.parts
        )
        for other in others:
            first += other
        return np.minimum(first, 1, out=first)  # weights that sum to 1 do so to a rounding


def _moved(part: Part, box: Box3) -> Part:
    """The part on a grid that is this box alone."""
    x, y, z = ((start - first, stop - first) for (start, stop), (first, _) in zip(part.entry.box, box, strict=True))
    nx, ny, nz = (stop - start for start, stop in box)
    return replace(part, entry=replace(part.entry, shape=(nx, ny, nz), box=(x, y, z)))


def member_weights(words: Sequence[str], members: Sequence[Member]) -> Float32[np.ndarray, "M R"]:
    """Weights from words like `WT=1,2`: a channel's name, then one number a member. Channels not named: all alike.

    Raises ValueError naming the word.
    """
    names = members[0].target.names
    weights = np.ones((len(members), len(names)), dtype=np.float32)
    given: dict[str, str] = {}
    for word in words:
        name, _, numbers = word.partition("=")
        if name not in names:
            raise ValueError(f"region weights {word}: expected one of {', '.join(names)} before the =")
        if name in given:
            raise ValueError(f"region weights {word}: {name} has weights already, {given[name]}; name it once")
        given[name] = word
        column = _column(numbers)
        if len(column) != len(members) or min(column) < 0 or not 0 < column.sum(dtype=np.float64) <= _LARGEST:
            raise ValueError(
                f"region weights {word}: expected {len(members)} numbers from 0, not all 0, one a run in the order of "
                f"the runs, as in {name}={','.join('1' * len(members))}, their sum a number of single precision"
            )
        weights[:, names.index(name)] = column
    return weights


_LARGEST = np.finfo(np.float32).max


def _column(numbers: str) -> Float32[np.ndarray, " M"]:
    """The numbers between the commas; none if one of them is no number."""
    try:
        with np.errstate(over="ignore", under="ignore"):
            return np.array([float(number) for number in numbers.split(",")]).astype(np.float32)
    except ValueError:
        return np.zeros(0, np.float32)


# ---------------------------------------------------------------- one member


def _load_member(run: RunDir) -> Member:
    config = run.load_config()
    plan = read_plan(run.plan)
    target = Target(config.data.target, config.data.cavity)
    network = load_network(run, config, target, len(plan.sequences))
    with Path(run.weights).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Member(run, config, plan, target, network, digest)


def read_plan(path: Path) -> Plan:
    """What prediction needs of a plan.json. Raises ValueError naming the file, the key and what is expected."""
    needs = {"sequences": _SEQUENCES, "spacing_mm": SPACING_MM, "margin_voxels": COUNT}
    tree = read_object(path, needs, advice="copy the plan from the run again")
    x, y, z = (float(side) for side in tree["spacing_mm"])
    return Plan(tuple(tree["sequences"]), (x, y, z), tree["margin_voxels"])


def _are_sequences(value: Any) -> bool:
    known = NAMES.fits(value) and set(value) <= set(SEQUENCES)
    return known and len(value) > 0 and len(set(value)) == len(value)


_SEQUENCES = Kind(f"a list of {', '.join(SEQUENCES)}, or some of them, each once", _are_sequences)


def _ready(network: nn.Module, device: torch.device, *, compiled: bool) -> Callable[[Tensor], SegOutput]:
    network = network.to(device).eval().requires_grad_(False)
    if not compiled:
        return network
    # Not dynamic: the last batch of a case can be smaller, and must not slow the others down. And contiguous, for what
    # is compiled for the strides of one case does not serve another's.
    quick = torch.compile(network, dynamic=False)
    return lambda windows: quick(windows.contiguous())


@contextmanager
def _threads(device: torch.device) -> Iterator[tuple[ThreadPoolExecutor | None, int]]:
    """On a CPU a thread for each core that is this process's share, and their number; elsewhere None.

    Torch itself gets one thread: sums that are split over another number of threads are rounded otherwise, and
    launchers share the cores out over the processes, so the files would depend on how many there are.
    """
    if device.type != "cpu":
        yield None, 1
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(share, "window") as pool:
            yield pool, share
    finally:
        torch.set_num_threads(before)


def _outside(target: Target) -> Float32[np.ndarray, " R"]:
    """What holds beyond the brain: nothing of any region, or the background."""
    found = np.zeros(target.channels, dtype=np.float32)
    if target.kind == "labels":
        found[0] = 1
    return found


def _told(target: Target) -> str:
    return f"{target.kind} {', '.join(target.names)}"
