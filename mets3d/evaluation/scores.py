"""Lists every column of scores.csv with its meaning, how to read it and where it is shown: the table of scores.

Whatever writes, summarises, compares, ranks or shows scores reads this table. A new score is a function that gives its
value (in `whole_volume` or `lesion_wise`) and one row here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from mets3d.columns import Column, names_of
from mets3d.evaluation.rules import RuleSet
from mets3d.rundir import DECODED_BY, TUNED_BY

# comparison: tested without being named or ranked by; page: its tables; figure: its panels of all cases
Place = Literal["console", "comparison", "page", "figure", "card"]
# What a column holds: a share is from 0 to 1, counts and sizes are 0 or more, a change may be below 0.
Kind = Literal["share", "count", "size", "change", "any number"]
# The first columns of scores.csv, which are no scores.
KEY_COLUMNS = (
    Column("case", "name of the case, that of its reference"),
    Column("region", "WT, TC, ET or RC"),
    Column("rules", "rule set that scored the row"),
)
PATIENT = "patient"
# Columns of it that are no scores either, and that tables of earlier versions lack.
TEXT_COLUMNS = (
    Column(PATIENT, "patient of the case; tests and intervals are over patients"),
    Column(DECODED_BY, "how the case was decoded, where `predict` left a record"),
    Column(TUNED_BY, "rule set by which that decoding was tuned"),
)
KEYS, TEXTS = names_of(KEY_COLUMNS), names_of(TEXT_COLUMNS)


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
    meaning: str = ""  # what the number is, for the reference

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest value that the column can hold."""
        least = -math.inf if self.kind in ("change", "any number") else 0.0
        return least, 1.0 if self.kind == "share" else math.inf


def _hd95(column: str, name: str, meaning: str, shown: tuple[Place, ...] = (), *, first: bool = False) -> Score:
    return Score(column, name, 1, "lower", "mm", "penalty", shown, first, card_digits=2, kind="size", meaning=meaning)


def _share(
    column: str,
    name: str,
    meaning: str,
    shown: tuple[Place, ...] = (),
    *,
    first: bool = False,
    given_by: Callable[[RuleSet], bool] = every,
) -> Score:
    return Score(column, name, shown=shown, first=first, given_by=given_by, kind="share", meaning=meaning)


def _count(
    column: str, name: str, meaning: str, better: Literal["higher", "lower"] = "higher", shown: tuple[Place, ...] = ()
) -> Score:
    return Score(column, name, 0, better, shown=shown, kind="count", meaning=meaning)


def _volume(column: str, name: str, meaning: str, kind: Kind = "size") -> Score:
    return Score(column, name, 0, None, "mm3", kind=kind, meaning=meaning)


def _spread(score: Score) -> Score:
    column, name = f"{score.column}_sd", f"{score.name}, SD of lesions"
    meaning = f"standard deviation of the values that `{score.column}` is the mean of"
    return Score(
        column, name, score.digits, None, score.unit, given_by=scores_large_only, kind=score.kind, meaning=meaning
    )


FOUND = "lesions of the reference that the prediction found by the rule set: true positives"
MISSED = "lesions of the reference that it missed: false negatives"
FALSE = "predicted lesions that meet none of the reference: false positives"
PRECISION = "share of the predicted lesions that are true: found / (found + false)"
RECALL = "share of the reference's lesions that were found: found / (found + missed)"
F1 = "2 found / (2 found + missed + false)"
# Each also by size class, as in recall_2_to_27.
BY_SIZE: tuple[Score, ...] = (
    _count("found", "Lesions found", FOUND),
    _count("missed", "Lesions missed", MISSED, "lower"),
    _count("false", "False lesions", FALSE, "lower"),
    _share("precision", "Precision of lesions", PRECISION),
    _share("recall", "Recall of lesions", RECALL),
    _share("f1", "F1 of lesions", F1),
)
OVER_LESIONS = "mean over the lesions that count and the false ones"
_LESION_WISE = (
    _share(
        "lesion_wise_dice",
        "Lesion-wise Dice",
        f"{OVER_LESIONS} of the Dice of each; a missed or false one counts 0",
        ("console", "page", "figure", "card"),
        first=True,
    ),
    _hd95(
        "lesion_wise_hd95",
        "Lesion-wise HD95",
        f"{OVER_LESIONS} of the HD95 of each; a missed or false one counts the rules' penalty",
        ("console", "page", "figure", "card"),
        first=True,
    ),
)
WITHIN = "share of the border voxels that lie within {} of the other border, mean of both directions"
TOLERANCES = ("0.5 mm", "1 mm", "the smallest side of a voxel")
_NSD, _NSD_OF_LESIONS = (
    tuple(f"{before}{WITHIN.format(tolerance)}" for tolerance in TOLERANCES)
    for before in ("", f"{OVER_LESIONS} of the ")
)
_LESION_WISE_NSD = (
    _share("lesion_wise_nsd_0.5", "Lesion-wise NSD at 0.5 mm", _NSD_OF_LESIONS[0]),
    _share("lesion_wise_nsd_1.0", "Lesion-wise NSD at 1 mm", _NSD_OF_LESIONS[1], ("figure", "card"), first=True),
    _share("lesion_wise_nsd_spacing", "Lesion-wise NSD at one voxel", _NSD_OF_LESIONS[2]),
)
AFTER = "of the whole volume after small predicted lesions were deleted"
# The columns of every table come first and in this order; the others follow as a case gives them.
SCORES: tuple[Score, ...] = (
    *_LESION_WISE,
    _share(
        "dice",
        "Whole-volume Dice",
        "Dice of the region's voxels in the whole volume",
        ("console", "comparison", "page", "card"),
    ),
    _hd95(
        "hd95",
        "Whole-volume HD95",
        "95th percentile of the distances between the region's borders in the whole volume; of one empty mask the "
        "rules' penalty",
        ("console", "comparison", "page", "card"),
    ),
    _count("lesions_found", "Lesions found", FOUND, shown=("page",)),
    _count("lesions_missed", "Lesions missed", MISSED, "lower", ("page",)),
    _count("lesions_false", "False lesions", FALSE, "lower", ("page",)),
    *_LESION_WISE_NSD,
    _share("nsd_0.5", "Whole-volume NSD at 0.5 mm", _NSD[0]),
    _share("nsd_1.0", "Whole-volume NSD at 1 mm", _NSD[1]),
    _share("nsd_spacing", "Whole-volume NSD at one voxel", _NSD[2]),
    _share("precision", "Precision of lesions", PRECISION),
    _share("recall", "Recall of lesions", RECALL),
    _share("f1", "F1 of lesions", F1, ("console", "comparison"), first=True),
    _share("sensitivity", "Sensitivity of voxels", "share of the reference's voxels that are predicted"),
    _share("specificity", "Specificity of voxels", "share of the voxels outside the reference that are not predicted"),
    _volume("reference_volume_mm3", "Volume of the reference", "volume of the region in the reference"),
    _volume("prediction_volume_mm3", "Volume of the prediction", "volume of the region in the prediction"),
    _volume("volume_error_mm3", "Error of the volume", "prediction minus reference", "change"),
    Score(
        "smallest_spacing_mm",
        "Smallest side of a voxel",
        2,
        None,
        "mm",
        summarised=False,
        kind="size",
        meaning="smallest side of a voxel of the reference, the tolerance of `nsd_spacing`",
    ),
    *map(_spread, (*_LESION_WISE, *_LESION_WISE_NSD)),
    *(
        replace(
            score,
            column=f"{size}_{score.column}",
            name=f"{score.name}, {size} ones",
            given_by=needs_dice,
            meaning=f"{score.meaning}; of {size} lesions and all false ones, by the rules' limits of volume and Dice",
        )
        for size in ("large", "small")
        for score in BY_SIZE
    ),
    _share("legacy_dice", "Dice after deletion", f"Dice {AFTER}", given_by=deletes_small),
    _share("legacy_nsd_0.5", "NSD at 0.5 mm after deletion", f"NSD at 0.5 mm {AFTER}", given_by=deletes_small),
    _share("legacy_nsd_1.0", "NSD at 1 mm after deletion", f"NSD at 1 mm {AFTER}", given_by=deletes_small),
    replace(
        _hd95("global_hd95", "HD95 in voxels", "whole-volume HD95 on voxels of side 1, whatever their size"),
        unit="voxels",
        given_by=in_voxels,
    ),
    _share(
        "global_nsd", "NSD at half a voxel", f"{WITHIN.format('half a voxel')}, on voxels of side 1", given_by=in_voxels
    ),
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
