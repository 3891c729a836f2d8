"""Loads host batches. Sample i of the global batch at step s is a function of (seed, s, i) and of nothing else.

So the number of processes, of accumulation steps and of loader workers changes no sample, and resuming is starting the
iteration at another step: there is no sampler state to save and no batch to skip.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from jaxtyping import Float, Int64, Integer, UInt8
from torch import Tensor

from mets3d.data.copy_paste import CopyPaste, Voxels
from mets3d.data.patches import box_around, padded, read_shape
from mets3d.data.places import lesion_voxels, patch_origin, places
from mets3d.data.store import Store, open_store
from mets3d.data.stored_case import StoredCase
from mets3d.data.workers import check_shared_memory, fetched
from mets3d.ops.voxels import Box, Shape3, Spacing

Key = tuple[int, int]  # step, index in the global batch

COUNTED = 64  # samples whose reads are counted for the memory of one; 20 ms


@dataclass
class Batch:
    """Samples side by side, each read as large as its movement needs, around the centre of its patch.

    `drawn` is what `draw` returned for each, `origin` where each patch starts in its case, `spacing_mm` its voxel size.
    `lesions` has the number of the lesion that each voxel of each region belongs to, where the samples have it, and
    `most_lesions` the largest of them.
    """

    keys: list[Key]
    image: tuple[Float[Tensor, "C _ _ _"], ...]
    labels: tuple[UInt8[Tensor, "_ _ _"], ...]
    drawn: list[Any]
    cases: list[str]
    origin: list[tuple[int, int, int]]
    spacing_mm: list[Spacing]
    lesions: tuple[Integer[Tensor, "R _ _ _"], ...] | None = None
    most_lesions: int = 0

    def share_memory(self) -> Batch:
        """Moves its tensors to memory that other processes can read."""
        return self._each(lambda tensor: tensor.share_memory_())

    def pin_memory(self) -> Batch:
        """Moves its tensors to pinned memory, as the loader requires of a batch."""
        return self._each(lambda tensor: tensor.pin_memory())

    def to(self, device: torch.device) -> Batch:
        """Copies its tensors to the device; from pinned memory the host does not wait for it."""
        return replace(self)._each(lambda tensor: tensor.to(device, non_blocking=True))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of its tensors."""
        return *self.image, *self.labels, *(self.lesions or ())

    def _each(self, moved: Callable[[Tensor], Tensor]) -> Batch:
        self.image, self.labels = tuple(map(moved, self.image)), tuple(map(moved, self.labels))
        self.lesions = None if self.lesions is None else tuple(map(moved, self.lesions))
        return self


def generator(seed: int, step: int, index: int, name: str | None = None) -> np.random.Generator:
    """Returns the random generator of sample `index` of the global batch at `step`, or its generator of that name.

    Case and position are drawn from the one without a name. A name is hashed by CRC-32, the same in every process.
    """
    return np.random.default_rng([seed, step, index] if name is None else [seed, step, index, crc32(name.encode())])


def keys_on_device(seed: int, keys: Sequence[Key]) -> Int64[Tensor, " B"]:
    """Returns a number for each sample, from which whatever is drawn on the device follows (`mets3d.ops.keyed`)."""
    purpose = crc32(b"device")
    words = [np.random.SeedSequence([seed, *key, purpose]).generate_state(1, np.uint64)[0] for key in keys]
    return torch.from_numpy((np.array(words, dtype=np.uint64) >> np.uint64(1)).astype(np.int64))


def keys_of_process(
    step: int, *, batch_size: int, processes: int = 1, rank: int = 0, accumulation: int = 1
) -> list[list[Key]]:
    """Returns the keys of one process at a step, a list per micro-batch. Those of all are the global batch."""
    size = batch_size // (processes * accumulation)
    starts = [(turn * processes + rank) * size for turn in range(accumulation)]
    return [[(step, index) for index in range(start, start + size)] for start in starts]


def rank_of(index: int, *, batch_size: int, processes: int, accumulation: int) -> int:
    """Returns the process that has sample `index` of the global batch."""
    return index // (batch_size // (processes * accumulation)) % processes


def batches(
    samples: Samples,
    *,
    steps: range,
    batch_size: int,
    processes: int = 1,
    rank: int = 0,
    accumulation: int = 1,
    workers: int = 0,
    pin_memory: bool = False,
) -> Generator[list[Batch], None, None]:
    """Returns an iterator over the steps, with the micro-batches of one process for each.

    Raises at once ValueError if the batch is not divisible by processes x accumulation, and DataError if the shared
    memory is too small for the workers; when a batch cannot be made, see `workers.fetched`.
    """
    check_divisible(batch_size, processes, accumulation)
    size = batch_size // (processes * accumulation)
    check_shared_memory(size * samples.bytes, workers=workers, held=accumulation)
    share = {"batch_size": batch_size, "processes": processes, "rank": rank, "accumulation": accumulation}
    order = [keys for step in steps for keys in keys_of_process(step, **share)]
    micro_batches = fetched(samples.batch, order, workers=workers, pin_memory=pin_memory)
    return _by_step(micro_batches, accumulation)


def _by_step(micro_batches: Generator[Batch, None, None], accumulation: int) -> Generator[list[Batch], None, None]:
    with closing(micro_batches):
        while step := list(islice(micro_batches, accumulation)):
            yield step


def check_divisible(batch_size: int, processes: int, accumulation: int) -> None:
    """Raises ValueError for a global batch that does not split evenly, naming the nearest that does."""
    if batch_size % (processes * accumulation):
        raise ValueError(
            f"train.batch_size {batch_size} is the global batch; expected a multiple of processes x train.accumulation "
            f"= {processes} x {accumulation}; the nearest that fits is "
            f"{max(1, round(batch_size / (processes * accumulation))) * processes * accumulation}"
        )


class Samples:
    """Training samples by key. Each worker opens the store for itself, by memory map.

    lesion_fraction, lesions_per_case: see `mets3d.data.places`.
    lesions_of: the regions whose lesions the samples number, for a loss that looks at lesions one by one.
    copy_paste: the probability that a lesion of another case is pasted in, see `mets3d.data.copy_paste`.
    """

    def __init__(
        self,
        store: Path,
        cases: Sequence[str],
        *,
        patch: tuple[int, int, int],
        seed: int,
        lesion_fraction: float = 1 / 3,
        lesions_per_case: int | None = None,
        draw: Callable[[Callable[[str], np.random.Generator]], Any] | None = None,
        channels: Sequence[str] | None = None,
        lesions_of: Sequence[str] = (),
        copy_paste: float = 0.0,
    ):
        self.path, self.patch = store, patch
        self.seed, self.draw = seed, draw
        self.channels = channels
        self.lesions_of = tuple(lesions_of)
        self._store: Store | None = None
        opened = self._opened()
        self.plan = opened.plan
        self._shapes = [tuple(opened.index["cases"][case]["shape"]) for case in cases]
        self.places = places(opened, cases, lesion_fraction=lesion_fraction, lesions_per_case=lesions_per_case)
        self.copy_paste = CopyPaste(copy_paste, self.places, patch, self.lesions_of)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_store": None}

    @cached_property
    def bytes(self) -> int:
        """Memory of a sample: the mean over samples and, as movements read more than the patch, a standard deviation.

        For the nine samples and more that workers hold together this is three standard deviations above their mean; a
        bound would be the largest read of all, which is many times the mean. The first samples of a run are counted,
        with their patches in the corner of a case, where most is read around them.
        """
        two_bytes = len(self.plan.sequences) + len(self.lesions_of)
        voxels = [math.prod(self._typical_shape(index)) for index in range(COUNTED)]
        return math.ceil(np.mean(voxels) + np.std(voxels)) * (2 * two_bytes + 1)  # a label is a byte

    def _typical_shape(self, index: int) -> Shape3:
        shape = self._shapes[index % len(self._shapes)]
        drawn = self.draw(partial(generator, self.seed, 0, index)) if self.draw else None
        return read_shape(shape, (0, 0, 0), self.patch, drawn, self.plan.spacing_of((1.0, 1.0, 1.0)))

    def _opened(self) -> Store:
        store = open_store(self.path)
        return store if self.channels is None else store.choosing(self.channels)

    def batch(self, keys: Sequence[Key]) -> Batch:
        """Makes the samples of these keys and puts them side by side."""
        return collate([self[key] for key in keys])

    def place(self, key: Key) -> tuple[StoredCase, tuple[int, int, int]]:
        """Returns the case of a sample, and where its patch starts there; reads no voxel."""
        rng = generator(self.seed, *key)
        place = self.places.draw(rng)
        case = self._case(place.case)
        centre = None
        if place.lesion is not None:
            voxels = lesion_voxels(case, place.lesion)
            centre = np.asarray(voxels[int(place.where * len(voxels))])
        return case, patch_origin(case.shape, self.patch, centre, rng)

    def _case(self, name: str) -> StoredCase:
        if self._store is None:
            self._store = self._opened()
        return self._store.read(name)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        case, origin = self.place(key)
        drawn = self.draw(partial(generator, self.seed, *key)) if self.draw else None  # before the read, which needs it
        spacing_mm = self.plan.spacing_of(case.entry.spacing_mm)
        size = read_shape(case.shape, origin, self.patch, drawn, spacing_mm)
        voxels = self._voxels(case, *box_around(origin, self.patch, size, case.shape), size)
        self.copy_paste.apply(voxels, case, self._case, generator(self.seed, *key, "copy_paste"))
        return {
            "key": key,
            "image": voxels.image,
            "labels": voxels.labels,
            "drawn": drawn,
            "case": case.name,
            "origin": origin,
            "spacing_mm": spacing_mm,
            "lesions": voxels.lesions,
        }

    def _voxels(self, case: StoredCase, inside: Box, before: Sequence[int], size: Shape3) -> Voxels:
        """Reads what of a case is inside a box, with the lesion numbers of the regions that are asked for."""
        numbers = [torch.from_numpy(case.instances(region, inside)) for region in self.lesions_of]
        return Voxels(
            padded(case.image(inside), before, size),
            padded(case.labels(inside), before, size),
            padded(torch.stack(numbers), before, size) if numbers else None,
        )


def collate(samples: list[dict[str, Any]]) -> Batch:
    """Puts samples side by side."""
    lesions = tuple(sample["lesions"] for sample in samples if sample["lesions"] is not None)
    return Batch(
        keys=[sample["key"] for sample in samples],
        image=tuple(sample["image"] for sample in samples),
        labels=tuple(sample["labels"] for sample in samples),
        drawn=[sample["drawn"] for sample in samples],
        cases=[sample["case"] for sample in samples],
        origin=[sample["origin"] for sample in samples],
        spacing_mm=[sample["spacing_mm"] for sample in samples],
        lesions=lesions or None,
        most_lesions=max((int(numbers.max()) for numbers in lesions), default=0),
    )
