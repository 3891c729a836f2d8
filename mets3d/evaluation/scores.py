"""Lists every column of scores.csv, with how to read it and where it is shown: the table of scores.

Whatever writes, summarises, compares, ranks or shows scores reads this table. A new score is a function that gives its
value (in `whole_volume` or `lesion_wise`) and one row here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from mets3d.evaluation.rules import RuleSet
from mets3d.rundir import DECODED_BY, TUNED_BY

# comparison: tested without being named or ranked by; page: its tables; figure: its panels of all cases
Place = Literal["console", "comparison", "page", "figure", "card"]
# What a column holds: a share is from 0 to 1, counts and sizes are 0 or more, a change may be below 0.
Kind = Literal["share", "count", "size", "change", "any number"]
KEYS = ("case", "region", "rules")  # the first columns of scores.csv, which are no scores
PATIENT = "patient"  # a column of it that is no score either, and that tables of earlier versions lack
TEXTS = (PATIENT, DECODED_BY, TUNED_BY)  # all such columns


def every(_rules: RuleSet) -> bool:
    """Returns True: every rule set gives this score."""
    return True


def deletes_small(rules: RuleSet) -> bool:
    """Returns whether a rule set deletes small predicted lesions."""
    return rules.deleted_up_to_voxels > 0


def scores_large_only(rules: RuleSet) -> bool:
    """Returns whether a rule set scores large lesions only."""
    return rules.scored_from_mm3 > 0


def needs_dice(rules: RuleSet) -> bool:
    """Returns whether a match needs some Dice to count as found under a rule set."""
    return rules.detected_from_dice is not None


def in_voxels(rules: RuleSet) -> bool:
    """Returns whether a rule set has scores in voxels too."""
    return rules.scores_in_voxels


@dataclass(frozen=True)
class Score:
    """A column of scores.csv and how to read it."""

    column: str
    name: str  # as people read it, without the unit
    digits: int = 3
    better: Literal["higher", "lower"] | None = "higher"  # None: of volumes and of spreads neither
    unit: str = ""
    # What a missing prediction gets where an empty one has no value; "penalty": always the rules' distance for a miss.
    worst: float | Literal["penalty"] = 0.0
    shown: tuple[Place, ...] = ()
    first: bool = False  # before the others wherever it is shown, which keep the order of the table
    card_digits: int | None = None  # of the model card, where they are not `digits`
    given_by: Callable[[RuleSet], bool] = every
    summarised: bool = True  # over the cases of a cohort
    kind: Kind = "any number"

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest value that the column can hold."""
        least = -math.inf if self.kind in ("change", "any number") else 0.0
        return least, 1.0 if self.kind == "share" else math.inf


def _hd95(column: str, name: str, shown: tuple[Place, ...] = (), *, first: bool = False) -> Score:
    return Score(column, name, 1, "lower", "mm", "penalty", shown, first, card_digits=2, kind="size")


def _share(
    column: str,
    name: str,
    shown: tuple[Place, ...] = (),
    *,
    first: bool = False,
    given_by: Callable[[RuleSet], bool] = every,
) -> Score:
    return Score(column, name, shown=shown, first=first, given_by=given_by, kind="share")


def _count(
    column: str, name: str, better: Literal["higher", "lower"] = "higher", shown: tuple[Place, ...] = ()
) -> Score:
    return Score(column, name, 0, better, shown=shown, kind="count")


def _volume(column: str, name: str, kind: Kind = "size") -> Score:
    return Score(column, name, 0, None, "mm3", kind=kind)


def _spread(score: Score) -> Score:
    column, name = f"{score.column}_sd", f"{score.name}, SD of lesions"
    return Score(column, name, score.digits, None, score.unit, given_by=scores_large_only, kind=score.kind)


# Each also by size class, as in recall_2_to_27.
BY_SIZE: tuple[Score, ...] = (
    _count("found", "Lesions found"),
    _count("missed", "Lesions missed", "lower"),
    _count("false", "False lesions", "lower"),
    _share("precision", "Precision of lesions"),
    _share("recall", "Recall of lesions"),
    _share("f1", "F1 of lesions"),
)
_LESION_WISE = (
    _share("lesion_wise_dice", "Lesion-wise Dice", ("console", "page", "figure", "card"), first=True),
    _hd95("lesion_wise_hd95", "Lesion-wise HD95", ("console", "page", "figure", "card"), first=True),
)
_LESION_WISE_NSD = (
    _share("lesion_wise_nsd_0.5", "Lesion-wise NSD at 0.5 mm"),
    _share("lesion_wise_nsd_1.0", "Lesion-wise NSD at 1 mm", ("figure", "card"), first=True),
    _share("lesion_wise_nsd_spacing", "Lesion-wise NSD at one voxel"),
)
# The columns of every table come first and in this order; the others follow as a case gives them.
SCORES: tuple[Score, ...] = (
    *_LESION_WISE,
    _share("dice", "Whole-volume Dice", ("console", "comparison", "page", "card")),
    _hd95("hd95", "Whole-volume HD95", ("console", "comparison", "page", "card")),
    _count("lesions_found", "Lesions found", shown=("page",)),
    _count("lesions_missed", "Lesions missed", "lower", ("page",)),
    _count("lesions_false", "False lesions", "lower", ("page",)),
    *_LESION_WISE_NSD,
    _share("nsd_0.5", "Whole-volume NSD at 0.5 mm"),
    _share("nsd_1.0", "Whole-volume NSD at 1 mm"),
    _share("nsd_spacing", "Whole-volume NSD at one voxel"),
    _share("precision", "Precision of lesions"),
    _share("recall", "Recall of lesions"),
    _share("f1", "F1 of lesions", ("console", "comparison"), first=True),
    _share("sensitivity", "Sensitivity of voxels"),
    _share("specificity", "Specificity of voxels"),
    _volume("reference_volume_mm3", "Volume of the reference"),
    _volume("prediction_volume_mm3", "Volume of the prediction"),
    _volume("volume_error_mm3", "Error of the volume", "change"),
    Score("smallest_spacing_mm", "Smallest side of a voxel", 2, None, "mm", summarised=False, kind="size"),
    *map(_spread, (*_LESION_WISE, *_LESION_WISE_NSD)),
    *(
        replace(score, column=f"{size}_{score.column}", name=f"{score.name}, {size} ones", given_by=needs_dice)
        for size in ("large", "small")
        for score in BY_SIZE
    ),
    _share("legacy_dice", "Dice after deletion", given_by=deletes_small),
    _share("legacy_nsd_0.5", "NSD at 0.5 mm after deletion", given_by=deletes_small),
    _share("legacy_nsd_1.0", "NSD at 1 mm after deletion", given_by=deletes_small),
    replace(_hd95("global_hd95", "HD95 in voxels"), unit="voxels", given_by=in_voxels),
    _share("global_nsd", "NSD at half a voxel", given_by=in_voxels),
)
# Words that give the direction of a column that somebody added to a table.
HIGHER_WORDS = ("dice", "nsd", "f1", "precision", "recall", "sensitivity", "specificity", "found")
LOWER_WORDS = ("hd95", "missed", "false")
_OF_A_CLASS = re.compile(r"([a-z0-9]+)_(below_.+|.+_to_.+|from_.+)")


def score_columns() -> tuple[str, ...]:
    """Returns the columns that every scores.csv begins with; those of its rule set and of size classes follow."""
    return (*KEYS, *(score.column for score in SCORES if score.given_by is every))


def score_of(column: str) -> Score | None:
    """Returns the table's row of a column, those by size class included; None for a column that it does not have."""
    for score in SCORES:
        if score.column == column:
            return score
    kind, size = split_by_size(column) or ("", "")
    named = (replace(score, column=column, name=f"{score.name}, {size}") for score in BY_SIZE if score.column == kind)
    return next(named, None)


def split_by_size(column: str) -> tuple[str, str] | None:
    """Splits a column by size class in two, as recall_2_to_27 into recall and 2_to_27; None for other columns."""
    found = _OF_A_CLASS.fullmatch(column)
    if found is None or all(found.group(1) != score.column for score in BY_SIZE):
        return None
    return found.group(1), found.group(2)


def shown_in(place: Place) -> tuple[Score, ...]:
    """Returns the scores that are shown in a place, those that come first before the others."""
    return tuple(sorted((score for score in SCORES if place in score.shown), key=lambda score: not score.first))


def lower_is_better(column: str) -> bool:
    """Returns whether less of a score is better. Raises ValueError where neither is, as for a volume.

    A column that the table does not have, such as `my_dice`, goes by the words in its name.
    """
    score = score_of(column)
    better = _better_by_name(column) if score is None else score.better
    if better is None:
        raise ValueError(
            f"expected a score of which more is better or worse, found {column!r}; name others, such as "
            "lesion_wise_dice"
        )
    return better == "lower"


def _better_by_name(column: str) -> Literal["higher", "lower"] | None:
    if column.endswith(("_sd", "_mm3")):
        return None
    if any(word in column for word in LOWER_WORDS):
        return "lower"
    return "higher" if any(word in column for word in HIGHER_WORDS) else None
