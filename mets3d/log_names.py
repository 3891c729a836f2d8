"""Names the numbers of loss and scores in metrics.jsonl: the training writes them, the report reads them. No torch."""

from __future__ import annotations

from collections.abc import Iterable

LOSS = "loss"  # all terms, weighted
BOUNDARY = f"{LOSS}/boundary"  # the boundary term without its weight
BOUNDARY_WEIGHT = "boundary_weight"

# Scores of held-out cases by which a run can choose its best weights: validate.best_by has these words.
LESION_WISE_DICE, LESION_F1, DICE = "lesion_wise_dice", "lesion_f1", "dice"
SCORES = {LESION_WISE_DICE: "lesion-wise Dice", LESION_F1: "F1 of lesions", DICE: "whole-volume Dice"}
MEAN = "mean"  # over the regions
ALL_CASES = "all/"  # before a score of all held-out cases, where others are of some
CASES = "cases"  # how many were scored


def part_name(part: str) -> str:
    """Returns the name of a weighted part of the base loss."""
    return f"{LOSS}/{part}"


def boundary_name(label: str) -> str:
    """Returns the name of the boundary term of one region or label."""
    return f"{BOUNDARY}/{label}"


def score_name(score: str, of: str = MEAN, *, all_cases: bool = False) -> str:
    """Returns the name of a score of a region, or of the mean over the regions."""
    return f"{ALL_CASES if all_cases else ''}{score}/{of}"


def loss_parts(names: Iterable[str]) -> dict[str, str]:
    """Returns the parts of a loss by name, as people read them: those of the base loss and the boundary term.

    Each once, in the order in which they are met; the boundary terms of single regions are left out.
    """
    parts = ((name, *name.split("/")) for name in names)
    return {whole: rest[0].replace("_", " ") for whole, first, *rest in parts if first == LOSS and len(rest) == 1}
