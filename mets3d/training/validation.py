"""Scores whole held-out cases while a run trains, by its rule set; the cases are shared over the processes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from jaxtyping import UInt8
from torch import nn

from mets3d.config import Config
from mets3d.data.representatives import representatives
from mets3d.data.store import LESIONS_OF, Store
from mets3d.data.stored_case import StoredCase
from mets3d.evaluation.lesions import CaseScores as RegionRows
from mets3d.evaluation.lesions import lesion_scores
from mets3d.evaluation.region_scores import overlap
from mets3d.evaluation.rules import RuleSet, rules_named
from mets3d.inference.sliding import window_probabilities
from mets3d.log_names import ALL_CASES, CASES, SCORES, score_name
from mets3d.ops.voxels import Spacing
from mets3d.regions import Region, Target
from mets3d.training.heartbeat import beat
from mets3d.training.shown import COLUMNS, Details, Slice, chosen_slices, details_of, joined, views_of
from mets3d.training.stop import StopWish
from mets3d.training.track.wandb_orders import is_read

CaseScores = Mapping[str, float]  # name -> value; without the scores that have none


class Scores(dict[str, float]):
    """Scores by name, of a case or means over cases; `details` has what a logger shows of the cases."""

    def __init__(self, values: Mapping[str, float], details: Details):
        super().__init__(values)
        self.details = details


class HeldOutCases:
    """The held-out cases of a run, scored lesion by lesion and as whole volumes, on the store's grid.

    cases: all of them. subset: the fixed few that stand for them (`validate.cases`), see `representatives`.
    """

    def __init__(self, config: Config, accelerator: Accelerator, store: Store, cases: Sequence[str]):
        self.config, self.accelerator, self.store = config, accelerator, store
        self.target = Target(config.data.target, config.data.cavity)
        self.rules = rules_named(config.validate_.rules)
        self.cases = sorted(cases)
        self.subset = representatives(cases, config.validate_.cases, store.burdens(LESIONS_OF))
        self.shows = is_read(config.track)  # whether anybody is there to look at single cases

    @cached_property
    def slices(self) -> dict[int, Slice]:
        """The slices that are shown at each validation, by number."""
        return dict(enumerate(chosen_slices(self.store, self.subset, self.config.track.images if self.shows else 0)))

    def __call__(self, network: nn.Module, wish: StopWish, all_cases: bool = False) -> Scores | None:
        """Returns the means over the subset by name, empty without a case; None if a signal or an error came.

        With `all_cases` all are scored, and the means over all of them are there too, with `all/` before their names.
        All ranks call it. An error is kept in `wish`, so that no other rank waits for the one that has it.
        """
        own = self._own_scores(network, wish, self.cases if all_cases else self.subset)
        parts: list[dict[str, Scores] | None] = gather_object([own])
        found: dict[str, Scores] = {}
        for part in parts:
            if part is None:
                return None
            found |= part
        scores = mean_scores([found[name] for name in self.subset], self.target.regions)
        if all_cases:
            over_all = mean_scores([found[name] for name in self.cases], self.target.regions)
            scores |= {f"{ALL_CASES}{name}": value for name, value in over_all.items()}
        return Scores(scores, joined([found[name].details for name in sorted(found)]))

    def _own_scores(self, network: nn.Module, wish: StopWish, cases: Sequence[str]) -> dict[str, Scores] | None:
        """Returns the scores of this process's share of the cases; None if a signal or an error came."""
        found = {}
        for name in cases[self.accelerator.process_index :: self.accelerator.num_processes]:
            if not wish:
                with wish.noting(Exception):
                    found[name] = self._scores(network, self.store.read(name))
                    beat()
                    continue
            return None
        return found

    def _scores(self, network: nn.Module, case: StoredCase) -> Scores:
        predicted, expected = self.predicted(network, case), case.labels().numpy()
        rows = region_rows(predicted, expected, case.entry.stored_spacing_mm, self.target.regions, self.rules)
        details = Details()
        if self.shows:
            details = details_of(case.name, rows, views_of(case, self.slices, predicted, self.config))
        return Scores(by_name(rows), details)

    def predicted(self, network: nn.Module, case: StoredCase) -> UInt8[np.ndarray, "X Y Z"]:
        """Returns the label map that a network predicts on the store's grid, decoded by one threshold."""
        settings, device = self.config.predict, self.accelerator.device
        probabilities = window_probabilities(
            network,
            case.image().to(device),
            patch=self.config.data.patch,
            overlap=settings.overlap,
            window_batch=settings.window_batch,
            mirror=self.config.validate_.mirror,
            query_classes=settings.query_classes,
        )
        labels = self.target.decode(probabilities.to(device), settings.threshold)
        found: UInt8[np.ndarray, "X Y Z"] = labels.to(torch.uint8).cpu().numpy()
        return found


def case_scores(
    predicted: UInt8[np.ndarray, "X Y Z"],
    expected: UInt8[np.ndarray, "X Y Z"],
    spacing_mm: Spacing,
    regions: Sequence[Region],
    rules: RuleSet,
) -> CaseScores:
    """Returns the scores of one case in some regions by name, as `evaluate` has them under the same rules.

    Lesion-wise Dice and F1 of lesions in the regions that the rules know, whole-volume Dice in all. What the rules give
    no value is left out.
    """
    return by_name(region_rows(predicted, expected, spacing_mm, regions, rules))


def region_rows(
    predicted: UInt8[np.ndarray, "X Y Z"],
    expected: UInt8[np.ndarray, "X Y Z"],
    spacing_mm: Spacing,
    regions: Sequence[Region],
    rules: RuleSet,
) -> RegionRows:
    """Returns a row a region, with Dice alone where the rules do not know the region, and a row a lesion."""
    known = [region.name for region in regions if region in rules.regions]
    rows = lesion_scores(predicted, expected, spacing_mm, rules=rules.name, regions=known, distances=False)
    for region in regions:
        if region.name not in known:
            dice = _dice(region.mask(predicted), region.mask(expected), rules)
            rows.append({"region": region.name, "dice": dice})
    return rows


def by_name(rows: RegionRows) -> CaseScores:
    """Returns the scores of a case's rows under their names in the log; what has no value is left out."""
    found = {
        score_name(name, row["region"]): float(row.get(column, math.nan))
        for row in rows
        for name, column in COLUMNS.items()
    }
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _dice(predicted: np.ndarray, expected: np.ndarray, rules: RuleSet) -> float:
    counts = overlap([(predicted, expected)], predicted.size)
    return rules.score_of_nothing if counts.both_empty else counts.dice


def mean_scores(cases: Sequence[CaseScores], regions: Sequence[Region]) -> dict[str, float]:
    """Returns each score's mean over the cases that have it, by region, and the mean of these over the regions.

    What no case has is left out. The sums are exact, so neither the order of the cases nor who scored them counts.
    """
    if not cases:
        return {}
    means: dict[str, float] = {}
    for score in SCORES:
        names = [score_name(score, region.name) for region in regions]
        values = {name: [case[name] for case in cases if name in case] for name in names}
        of_regions = {name: math.fsum(own) / len(own) for name, own in values.items() if own}
        if of_regions:
            means |= of_regions | {score_name(score): math.fsum(of_regions.values()) / len(of_regions)}
    return means | {CASES: len(cases)}
