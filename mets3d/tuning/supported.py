"""Chooses settings and keeps those of the regions whose gain cross-validation supports; the others stay at the default.

A region's score depends on the regions inside it, so they are judged from the inside out: where one stays at the
default, the settings of the others are chosen again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mets3d.inference.decoding_settings import Decoding
from mets3d.regions import Region, Target
from mets3d.tuning.result import BEST, FORCED, OUTWEIGHED, TUNED, UNSUPPORTED, RegionTuning, mean_gain
from mets3d.tuning.search import GAIN, Cases, Scores, SearchGrid, choose, choose_without, mean, out_of_fold
from mets3d.tuning.support import Support, support


@dataclass(frozen=True, eq=False)
class Search:
    """What is searched: the settings on the grids of the scored regions, by scores of cases in folds of patients.

    patients: of every case. rounds: called with the number of steps before each round, whose steps `after` reports.
    """

    scores: Scores
    target: Target
    grids: Mapping[str, SearchGrid]
    default: Decoding
    folds: Sequence[Cases]
    patients: Sequence[str]
    rounds: Callable[[int], None]
    after: Callable[[str], None]

    @property
    def regions(self) -> list[Region]:
        """The scored regions, outermost first."""
        return [region for region in self.target.regions if region.name in self.grids]


@dataclass(frozen=True)
class Choice:
    """Settings for new cases and, fold by fold, those chosen without its patients; and what they score.

    rows: of the settings as they are, by region. tried: of regions that stay at the default, what was tried for them.
    outweighed: of all regions by settings that were left, because the mean over the regions does not gain.
    """

    new: Decoding
    folds: Sequence[Decoding]
    rows: Mapping[str, RegionTuning]
    tried: Mapping[str, RegionTuning] = field(default_factory=dict)
    outweighed: tuple[RegionTuning, ...] = ()

    @property
    def shown(self) -> tuple[RegionTuning, ...]:
        """The rows of all regions, of those that stay at the default what was tried."""
        return tuple(self.tried.get(name, row) for name, row in self.rows.items())

    @property
    def tuned(self) -> list[str]:
        """The regions whose settings are not the default's."""
        return [name for name, row in self.rows.items() if row.outcome in (TUNED, FORCED)]


def supported_choice(search: Search) -> Choice:
    """Returns the best settings of the regions that gain by them on unseen patients, and on the mean over all regions.

    Nothing is tuned where cross-validation does not support it, or is not possible.
    """
    choice = _narrowed(search, lambda row: row.outcome == TUNED and row.support.holds)
    if choice.tuned and mean_gain(choice.rows.values()) <= GAIN:  # what they gain is lost in the regions around them
        gaining = {name: replace(choice.rows[name], outcome=OUTWEIGHED) for name in choice.tuned}
        rows = tuple(choice.rows.values())
        choice = replace(_choice(search, []), tried={**choice.tried, **gaining}, outweighed=rows)
    tried = {
        name: replace(row, outcome=UNSUPPORTED) if row.outcome == TUNED else row for name, row in choice.tried.items()
    }
    return replace(choice, tried=tried)


def forced_choice(search: Search) -> Choice:
    """Returns the best settings of all regions; those that are not supported, each or in the mean, are marked."""
    choice = _narrowed(search, lambda row: row.outcome == TUNED)
    mean_gains = mean_gain(choice.rows.values()) > GAIN
    rows = {
        name: replace(row, outcome=FORCED) if row.outcome == TUNED and not (mean_gains and row.support.holds) else row
        for name, row in choice.rows.items()
    }
    return replace(choice, rows=rows)


def _narrowed(search: Search, stands: Callable[[RegionTuning], bool]) -> Choice:
    """Leaves one region after the other at the default, from the inside out, until all others stand."""
    kept = list(search.grids)
    tried: dict[str, RegionTuning] = {}
    while True:
        choice = _choice(search, kept)
        inside_out = [choice.rows[region.name] for region in reversed(search.regions) if region.name in kept]
        failing = next((row for row in inside_out if not stands(row)), None)
        if failing is None:
            return replace(choice, tried=tried)
        tried[failing.region] = failing
        kept.remove(failing.region)


def _choice(search: Search, kept: Collection[str]) -> Choice:
    """Searches the settings of some regions, the others at the default; scores are of all regions."""
    grids = {name: grid for name, grid in search.grids.items() if name in kept}
    every = np.arange(len(search.patients))
    search.rounds(len(grids) * (1 + len(search.folds)))
    new = choose(search.scores, search.target, grids, search.default, every, search.after)
    folds = choose_without(search.scores, search.target, grids, search.default, search.folds, search.after)
    return Choice(new, folds, {region.name: _row(search, region, new, folds) for region in search.regions})


def _row(search: Search, region: Region, new: Decoding, folds: Sequence[Decoding]) -> RegionTuning:
    """Returns what one region scores by default, by the settings for new cases, and by those of each case's fold."""
    default, name = search.default, region.name
    before = search.scores(region, default, [default[name]])[0]
    after = search.scores(region, new, [new[name]])[0]
    crossed = out_of_fold(search.scores, region, search.folds, folds) if folds else np.full(len(before), np.nan)
    by_default, tuned, unseen = (float(mean(values)) for values in (before, after, crossed))
    found = support(before, crossed, search.patients) if folds else Support()
    outcome = BEST if new[name] == default[name] else TUNED
    cases = int(np.isfinite(after).sum())
    return RegionTuning(name, new[name], cases, by_default, tuned, unseen, found, outcome)
