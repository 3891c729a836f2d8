"""Names the numbers of loss and scores in metrics.jsonl: the training writes them, the report reads them. No torch."""

from __future__ import annotations

from collections.abc import Iterable

LOSS = "loss"  # all terms, weighted
# With several boundary terms each of these four has the term's name below it.
BOUNDARY = f"{LOSS}/boundary"  # the boundary term in its unit, without its weight
BOUNDARY_WEIGHT = "boundary_weight"
VALUE_SHARE = "boundary_share/value"  # weight x term / base loss
# Weight x sum of |d term / dz| / sum of |d base / dz|. z are the logits that the probabilities are made of.
GRADIENT_SHARE = "boundary_share/gradient"
TRAIN, VALIDATION = "train", "validation"  # kinds of lines
SKIPPED = "skipped"  # steps that changed no weight, so far
DATA_WAIT = "data_wait"  # share of the step's time for which the training waited for the loader
MEMORY_GB = "memory_gb"  # of the main process: peak on its GPU; without one, what the process holds of the host's

# Scores of held-out cases by which a run can choose its best weights: validate.best_by has these words.
LESION_WISE_DICE, LESION_F1, DICE = "lesion_wise_dice", "lesion_f1", "dice"
SCORES = {LESION_WISE_DICE: "lesion-wise Dice", LESION_F1: "F1 of lesions", DICE: "whole-volume Dice"}
MEAN = "mean"  # over the regions
ALL_CASES = "all/"  # before a score of all held-out cases, where others are of some
CASES = "cases"  # how many were scored


def part_name(part: str) -> str:
    """Returns the name of a weighted part of the base loss."""
    return f"{LOSS}/{part}"


def of_term(name: str, term: str | None = None) -> str:
    """Returns the name of a number of a boundary term, one of several where the term is given."""
    return name if term is None else f"{name}/{term}"


def boundary_name(label: str, term: str | None = None) -> str:
    """Returns the name of the boundary term of one region or label, one of several where the term is given."""
    return f"{of_term(BOUNDARY, term)}/{label}"


def is_boundary(name: str) -> bool:
    """Returns whether a number is of a boundary term."""
    return f"{name}/".startswith(f"{BOUNDARY}/")


def terms_below(name: str, names: Iterable[str]) -> list[str]:
    """Returns the names of a number of every boundary term: the name itself, or one below it for each of several."""
    return [other for other in dict.fromkeys(names) if other == name or other.startswith(f"{name}/")]


def score_name(score: str, of: str = MEAN, *, all_cases: bool = False) -> str:
    """Returns the name of a score of a region, or of the mean over the regions."""
    return f"{ALL_CASES if all_cases else ''}{score}/{of}"


def score_prefixes(score: str) -> tuple[str, str]:
    """Returns what the names of a score begin with, of the subset of cases and of all cases."""
    return f"{score}/", f"{ALL_CASES}{score}/"


def loss_parts(names: Iterable[str]) -> dict[str, str]:
    """Returns the parts of a loss by name, as people read them: those of the base loss and each boundary term.

    Each once, in the order in which they are met; what a term is in single regions is left out.
    """
    every = dict.fromkeys(names)
    above = {name.rpartition("/")[0] for name in every}
    parts = {}
    for name in every:
        first, *rest = name.split("/")
        # Of several terms, each has its regions below it; of one, a region has nothing below it.
        if first == LOSS and (len(rest) == 1 or (len(rest) == 2 and is_boundary(name) and name in above)):
            parts[name] = ": ".join(rest).replace("_", " ")
    return parts
