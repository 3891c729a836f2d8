"""Draws where samples are taken: in which case, and there anywhere or on a lesion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, Integer

from mets3d.data.store import LESIONS_OF, Store
from mets3d.data.stored_case import StoredCase


class Lesion(NamedTuple):
    """A lesion of a case, counted from 0 in the first of LESIONS_OF that the case has."""

    case: str
    number: int


class Place(NamedTuple):
    """Where a sample is taken: anywhere in a case, or on the voxel `where`, in [0, 1), of one of its lesions."""

    case: str
    lesion: int | None
    where: float


@dataclass(frozen=True)
class Places:
    """The cases that samples are drawn from, with the number of lesions of each.

    lesion_fraction: the share of samples that are centred on a lesion.
    lesions_per_case: how many lesions of a case count at most. A case with more is drawn as often as one that has so
    many, and all of its lesions remain equally likely. None: all lesions of all cases are equally likely.
    """

    cases: tuple[str, ...]
    lesions: Int64[np.ndarray, " cases"]
    lesion_fraction: float
    lesions_per_case: int | None

    def draw(self, rng: np.random.Generator) -> Place:
        """Draws a place: on a lesion with probability `lesion_fraction`, if there is any, else anywhere in any case."""
        # All four are drawn for every sample, so that the draws after them do not shift with what is chosen.
        any_case, chance, which, where = rng.random(4)
        lesion = self.lesion(which) if chance < self.lesion_fraction else None
        if lesion is None:
            return Place(self.cases[int(any_case * len(self.cases))], None, where)
        return Place(*lesion, where)

    def lesion(self, which: float, *, not_of: str | None = None) -> Lesion | None:
        """Returns the lesion at `which`, in [0, 1), of all that count; None if there is none.

        not_of: a case whose lesions do not count.
        """
        counted = np.minimum(self.lesions, self.lesions_per_case or self.lesions)
        if not_of is not None:
            counted = counted * (np.array(self.cases) != not_of)
        ends = np.cumsum(counted)
        if not ends[-1]:
            return None
        position = which * int(ends[-1])
        place = int(np.searchsorted(ends, position, side="right"))
        own, share = int(self.lesions[place]), int(counted[place])
        position -= int(ends[place]) - share
        return Lesion(self.cases[place], min(int(position * (own / share)), own - 1))


def places(
    store: Store, cases: Sequence[str], *, lesion_fraction: float, lesions_per_case: int | None = None
) -> Places:
    """Returns the places of cases of a store. Raises ValueError without a case."""
    if not cases:
        raise ValueError(f"{store.path}: no training case in this fold")
    counts = store.lesion_counts(LESIONS_OF)
    lesions = np.array([counts[case] for case in cases], dtype=np.int64)
    return Places(tuple(cases), lesions, lesion_fraction, lesions_per_case)


def lesion_voxels(case: StoredCase, lesion: int) -> Integer[np.ndarray, "n 3"]:
    """Returns the voxels of lesion number `lesion` of the first of LESIONS_OF that the case has."""
    for region in LESIONS_OF:
        offsets = case.lesions(region)
        if len(offsets) > 1:
            return case.foreground(region)[int(offsets[lesion]) : int(offsets[lesion + 1])]
    raise ValueError(f"{case.name} has no lesion, although the store's index counts some; preprocess again")


def patch_origin(
    shape: Sequence[int], patch: Sequence[int], centre: Integer[np.ndarray, "3"] | None, rng: np.random.Generator
) -> tuple[int, int, int]:
    """Returns the patch's first voxel: random, or with `centre` in its middle; inside the volume where it is larger."""
    uniform = rng.random(3)
    low = [min(0, n - size) for n, size in zip(shape, patch, strict=True)]
    high = [max(0, n - size) for n, size in zip(shape, patch, strict=True)]
    if centre is None:
        starts = [int(lo + u * (hi - lo + 1)) for lo, hi, u in zip(low, high, uniform, strict=True)]
    else:
        starts = [
            int(np.clip(middle - size // 2, lo, hi))
            for middle, size, lo, hi in zip(centre, patch, low, high, strict=True)
        ]
    return starts[0], starts[1], starts[2]
