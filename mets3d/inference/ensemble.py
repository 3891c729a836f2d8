"""Averages the probabilities of several trained networks on the case's own grid."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from mets3d.config import Data, Predict
from mets3d.data import DataError
from mets3d.data.brain import Mask, brain_of
from mets3d.data.cases import Case
from mets3d.data.native import image_onto, reference_of
from mets3d.data.native_findings import mask_onto
from mets3d.data.nifti import Grid, Header, ImageVolume
from mets3d.data.plan import Plan
from mets3d.data.prepare import Prepared, prepare
from mets3d.data.reading import read_mask, read_scan, read_scan_header
from mets3d.inference.channels import Channels, Part
from mets3d.inference.members import Member
from mets3d.inference.sliding import Threads, window_probabilities
from mets3d.ops.voxels import Spacing
from mets3d.processes import cores
from mets3d.regions import Target
from mets3d.settings.channels import sequences_of
from mets3d.shapes import SegOutput

Autocast = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True, eq=False)
class Loaded:
    """A case read and prepared, and the grid to write on."""

    prepared: list[Prepared]
    grid: Grid
    spacing_mm: Spacing


class Ensemble:
    """Members whose probabilities are averaged: p_r = sum_m w_mr p_mr / sum_m w_mr for channel r.

    Overlap, mirrored copies and windows a pass are those of `settings`, for all members alike; the patch is each
    member's own. Every network stays on the device. `weights` are as `member_weights` makes them; `reading` are the
    settings by which files are read, None the defaults.
    """

    def __init__(
        self,
        members: Sequence[Member],
        settings: Predict,
        weights: Float32[np.ndarray, "M R"],
        device: torch.device,
        autocast: Autocast,
        *,
        reading: Data | None = None,
    ):
        self.reading = reading or Data()
        self.members, self.settings, self.device, self.autocast = members, settings, device, autocast
        self.target = members[0].target
        self.shares = weights / weights.sum(0)
        self.plans = list(dict.fromkeys(member.plan for member in members))
        self.networks = [_ready(member.network, device, compiled=settings.compile) for member in members]

    @property
    def sequences(self) -> tuple[str, ...]:
        """Every sequence whose scan some member needs, in order."""
        return sequences_of(channel for plan in self.plans for channel in plan.sequences)

    def read(self, case: Case) -> Loaded:
        """Reads and prepares a case. Raises DataError for a file that cannot be read, and as `prepare`.

        The grid is that of the case's t1c, whether or not a member sees it; without one, that of its first sequence.
        Sequences may be missing where the reading says so.
        """
        may_miss = self.reading.missing_sequences == "zero"
        names = [name for name in self.sequences if not may_miss or name in case.sequences]
        if not names:
            raise DataError(f"{case.name}: expected one of the sequences {', '.join(self.sequences)}, found none")
        grid = read_scan_header(case, reference_of(case.sequences))
        images = {name: read_scan(case, name) for name in names}
        if self.reading.grids == "t1c":
            images = {name: image_onto(images.pop(name), grid) for name in names}
        masked = {"mask": self._mask(case, grid)} if any(plan.brain == "file" for plan in self.plans) else {}
        return Loaded(self.prepare(images, **masked), grid.source, grid.spacing_mm)

    def load(self, images: Mapping[str, ImageVolume]) -> Loaded:
        """Prepares a case of images on one grid, which are not kept. Raises DataError as `prepare`."""
        first = images[reference_of(images)]
        return Loaded(self.prepare(images), first.source, first.spacing_mm)

    def prepare(self, images: Mapping[str, ImageVolume], mask: Mask | None = None) -> list[Prepared]:
        """Prepares the case as each plan wants it. Raises DataError as `mets3d.data.prepare.prepare`.

        mask: the brain mask of the case's file, for plans that want it.
        """
        return [
            prepare(
                images,
                None,
                plan.spacing_mm,
                plan.margin_voxels,
                cavity=False,
                intensities=plan.intensities,
                channels=plan.sequences,
                brain=_brain(plan, images, mask),
            )
            for plan in self.plans
        ]

    def _mask(self, case: Case, grid: Header) -> Mask:
        """Reads the case's brain mask. Raises DataError if there is none, or none on the grid."""
        found, finding = mask_onto(case, read_mask(case), grid, self.reading.grids)
        if found is None:
            raise DataError(str(finding))
        return found

    @torch.inference_mode()
    def probabilities(self, prepared: Sequence[Prepared]) -> Channels:
        """Returns the averaged probabilities. Raises ValueError if a network answers NaN.

        Members with one plan are summed on its grid; the sums of several plans meet on the case's own grid, channel by
        channel, when one is fetched.
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

        with _threads(self.device) as threads:
            answer = window_probabilities(
                network,
                image,
                patch=self.members[index].config.data.patch,
                overlap=self.settings.overlap,
                window_batch=self.settings.window_batch,
                mirror=self.settings.mirror,
                query_classes=self.settings.query_classes,
                threads=threads,
            )
        if not torch.isfinite(answer.sum()):
            raise ValueError(
                f"{self.members[index].run.path}: the network's answer holds NaN; with precision fp16 use bf16 or no, "
                "else its weights are broken"
            )
        return answer

    def _share(self, index: int) -> Float32[Tensor, "R 1 1 1"]:
        return torch.from_numpy(self.shares[index])[:, None, None, None]


def _brain(plan: Plan, images: Mapping[str, ImageVolume], mask: Mask | None) -> Mask | None:
    """Returns the brain where the plan does not leave it to the images that it sees."""
    return None if plan.brain == "nonzero" else brain_of(images.values(), plan.brain, mask)


def _ready(network: nn.Module, device: torch.device, *, compiled: bool) -> Callable[[Tensor], SegOutput]:
    network = network.to(device).eval().requires_grad_(False)
    if not compiled:
        return network
    # Not dynamic: the last batch of a case can be smaller, and must not slow the others down. And contiguous, for what
    # is compiled for the strides of one case does not serve another's.
    quick = torch.compile(network, dynamic=False)
    return lambda windows: quick(windows.contiguous())


@contextmanager
def _threads(device: torch.device) -> Iterator[Threads | None]:
    """Yields, on a CPU, a thread for each core that is this process's share; elsewhere None.

    Torch itself gets one thread: sums that are split over another number of threads are rounded otherwise, and
    launchers share the cores out over the processes, so the files would depend on how many there are.
    """
    if device.type != "cpu":
        yield None
        return
    share = max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(share, "window") as pool:
            yield Threads(pool, share)
    finally:
        torch.set_num_threads(before)


def _outside(target: Target) -> Float32[np.ndarray, " R"]:
    """Returns the probabilities beyond the brain: 0 of every region, or 1 of the background."""
    found = np.zeros(target.channels, dtype=np.float32)
    if target.kind == "labels":
        found[0] = 1
    return found
