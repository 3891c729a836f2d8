"""Finds the best of many settings, region by region, by their scores on every case.

The regions are searched from the inside out (RC, ET, TC, WT), for an outer region's mask in the label map is the part
of it that its own settings leave, and the regions painted inside. So a region's score depends on choices already made
and its own, and is that of the final label map. (One exception, see `rescoring.needs_outer`: there the outer regions
are as by default.)

Per region, from the default on: the best pair of threshold and peak, of threshold and smallest volume, of peak and
smallest volume, for the cavity of largest-only and hole filling, and again until nothing changes. Pairs, for a peak and
a smallest volume remove the same components: where one is set, the other gains nothing alone, although it is better.
Of equal settings the one with the fewest steps on the grid from the default is taken, so that nothing changes without
gain.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from mets3d.inference.decoding_settings import Decoding, RegionDecoding
from mets3d.regions import RC, Region, Target

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
PEAKS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
VOLUMES_MM3 = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 27.0, 50.0)
CAVITY_VOLUMES_MM3 = (0.0, 10.0, 27.0, 50.0, 100.0, 200.0, 300.0)
MOST_SWEEPS = 4
GAIN = 1e-9  # what a mean must rise by; less is rounding

# A score per candidate for one region and case, the other regions decoded as given; NaN for no value.
Scores = Callable[[Region, Decoding, Sequence[RegionDecoding]], Float64[np.ndarray, "S C"]]
Cases = Int64[np.ndarray, " _"]


@dataclass(frozen=True)
class SearchGrid:
    """The values that are tried of each setting of one region; the default is one of them."""

    default: RegionDecoding
    thresholds: tuple[float, ...]
    peaks: tuple[float, ...] = PEAKS  # besides none; only those above the threshold
    volumes_mm3: tuple[float, ...] = VOLUMES_MM3
    switches: tuple[bool, ...] = (False,)  # of largest-only and of hole filling

    @property
    def groups(self) -> list[dict[str, Sequence[Any]]]:
        """The settings that are varied together while the others stay as they are."""
        return [
            {"threshold": self.thresholds, "peak": (None, *self.peaks)},
            {"threshold": self.thresholds, "min_volume_mm3": self.volumes_mm3},
            {"peak": (None, *self.peaks), "min_volume_mm3": self.volumes_mm3},
            {"largest_only": self.switches, "fill_holes": self.switches},
        ]

    def candidates(self, now: RegionDecoding, group: Mapping[str, Sequence[Any]]) -> list[RegionDecoding]:
        """Returns `now` with every combination of a group's values, fewest steps from the default first."""
        own = vars(now)  # flat, so that no deep copy is needed
        tried = (own | dict(zip(group, values, strict=True)) for values in product(*group.values()))
        changed = [
            RegionDecoding(**values)
            for values in tried
            if values["peak"] is None or values["peak"] > values["threshold"] or values == own
        ]
        return sorted(changed, key=self.steps)

    def steps(self, setting: RegionDecoding) -> int:
        """Counts the steps on the grid, over all values, from the default to a setting."""
        peaks = (None, *self.peaks)
        return (
            abs(self.thresholds.index(setting.threshold) - self.thresholds.index(self.default.threshold))
            + peaks.index(setting.peak)
            + self.volumes_mm3.index(setting.min_volume_mm3)
            + setting.largest_only
            + setting.fill_holes
        )


def grid_for(default: RegionDecoding, target: Target, region: Region) -> SearchGrid:
    """Returns the grid of one region; in label mode without thresholds."""
    thresholds = {default.threshold} if target.kind == "labels" else {default.threshold, *THRESHOLDS}
    if region == RC:
        return SearchGrid(default, tuple(sorted(thresholds)), PEAKS, CAVITY_VOLUMES_MM3, (False, True))
    return SearchGrid(default, tuple(sorted(thresholds)))


def choose(
    scores: Scores,
    target: Target,
    grids: Mapping[str, SearchGrid],
    default: Decoding,
    cases: Cases,
    after: Callable[[str], None],
) -> dict[str, RegionDecoding]:
    """Returns the best decoding on some cases; regions without a grid stay as by default.

    `after` is called with the name of each region when it is done.
    """
    chosen = dict(default)
    for region in reversed(target.regions):
        if region.name in grids:
            chosen[region.name] = _best(scores, region, grids[region.name], chosen, cases)
            after(region.name)
    return chosen


def choose_without(
    scores: Scores,
    target: Target,
    grids: Mapping[str, SearchGrid],
    default: Decoding,
    folds: Sequence[Cases],
    after: Callable[[str], None],
) -> list[Decoding]:
    """Returns for each fold the best decoding on the other folds' cases."""
    every = np.sort(np.concatenate(folds)) if folds else np.zeros(0, np.int64)
    return [choose(scores, target, grids, default, np.setdiff1d(every, fold), after) for fold in folds]


def out_of_fold(
    scores: Scores, region: Region, folds: Sequence[Cases], decodings: Sequence[Decoding]
) -> Float64[np.ndarray, " C"]:
    """Returns each case's score for a region with the decoding of its own fold; NaN without folds."""
    found = np.full(sum(map(len, folds)), np.nan)
    for fold, decoding in zip(folds, decodings, strict=True):
        found[fold] = scores(region, decoding, [decoding[region.name]])[0][fold]
    return found


def mean(values: Float64[np.ndarray, "*S C"]) -> Float64[np.ndarray, "*S"]:
    """Returns the mean over the cases that have a value; NaN where none has."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice")
        return np.asarray(np.nanmean(values, axis=-1))


def _best(scores: Scores, region: Region, grid: SearchGrid, decoding: Decoding, cases: Cases) -> RegionDecoding:
    """Returns the best setting of one region, group after group until nothing changes."""
    now = grid.default
    for _ in range(MOST_SWEEPS):
        before = now
        for group in grid.groups:
            candidates = grid.candidates(now, group)
            means = np.nan_to_num(mean(scores(region, decoding, candidates)[:, cases]), nan=-1.0)
            now = candidates[int(np.argmax(means > means.max() - GAIN))]
        if now == before:
            break
    return now
