"""Names the numbers in metrics.jsonl and says what they are: the training writes, the report reads them. No torch."""

from __future__ import annotations

from collections.abc import Iterable

from mets3d.columns import Column

LOSS = "loss"  # all terms, weighted
# With several boundary terms each of these four has the term's name below it.
BOUNDARY = f"{LOSS}/boundary"  # the boundary term in its unit, without its weight
BOUNDARY_WEIGHT = "boundary_weight"
VALUE_SHARE = "boundary_share/value"  # weight x term / base loss
# Weight x sum of |d term / dz| / sum of |d base / dz|. z are the logits that the probabilities are made of.
GRADIENT_SHARE = "boundary_share/gradient"
TRAIN, VALIDATION = "train", "validation"  # kinds of lines
GRAD_NORM, LEARNING_RATE, SAMPLES_PER_SECOND = "grad_norm", "lr", "samples_per_second"
SKIPPED, DATA_WAIT, MEMORY_GB = "skipped", "data_wait", "memory_gb"
SECONDS = "seconds"

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


# ---------------------------------------------------------------- what the lines hold

_PART, _TERM, _LABEL, _REGION = "PART", "TERM", "LABEL", "REGION"  # stand in a name for what a run has there
EVERY_LINE = (
    Column("step", "optimizer steps made when the line was written, counted from 1"),
    Column("kind", f"`{TRAIN}` or `{VALIDATION}`"),
)


def fields_of_train() -> tuple[Column, ...]:
    """Returns the fields of a line of a training step."""
    base = (
        Column(LOSS, "all terms, weighted: what the step minimises"),
        Column(
            part_name(_PART),
            "part of the base loss, weighted; the parts add up to it. `dice`, `ce` (of labels) or `bce` (of regions), "
            "`deep` of the coarser heads, `query_class`, `query_bce` and `query_dice` of the query decoder",
        ),
    )
    of_terms = [column for term in (None, _TERM) for column in _fields_of_term(term)]
    of_step = (
        Column(GRAD_NORM, "L2 norm of the whole gradient before clipping"),
        Column(LEARNING_RATE, "learning rate of this step"),
        Column(SAMPLES_PER_SECOND, "patches trained on a second, of all processes together", "1/s"),
        Column(DATA_WAIT, "share of the step's time for which the main process waited for the loader"),
        Column(
            MEMORY_GB,
            "memory of the main process: on a GPU the peak of its tensors so far; without one, what it holds of the "
            "host's memory",
            "10^9 bytes",
        ),
        Column(SKIPPED, "steps so far that changed no weight, for a loss or gradient that was not finite"),
    )
    return (*base, *of_terms, *of_step)


def _fields_of_term(term: str | None) -> tuple[Column, ...]:
    """Returns the fields of the boundary term, or those of one of several."""
    whose = "the boundary term" if term is None else "one of several boundary terms"
    return (
        Column(of_term(BOUNDARY, term), f"{whose}, without its weight", "of the term"),
        Column(boundary_name(_LABEL, term), f"{whose}, of one region or label", "of the term"),
        Column(of_term(BOUNDARY_WEIGHT, term), f"weight of {whose} at this step"),
        Column(of_term(VALUE_SHARE, term), f"weight x {whose} / base loss"),
        Column(
            of_term(GRADIENT_SHARE, term),
            f"of {whose}: weight x sum of abs(d term / dz) / sum of abs(d base loss / dz), where z are the logits that "
            "the probabilities are made of",
        ),
    )


def fields_of_validation() -> tuple[Column, ...]:
    """Returns the fields of a line of a validation."""
    fields = []
    for score, name in SCORES.items():
        fields.append(Column(score_name(score, _REGION), f"{name} of a region, mean over the cases that have a value"))
        fields.append(Column(score_name(score), f"{name}, mean over the regions that have a value"))
    fields.append(Column(CASES, "held-out cases that were scored"))
    of_all = (Column(f"{ALL_CASES}{field.name}", f"`{field.name}` over all held-out cases") for field in fields)
    return (*fields, *of_all, Column(SECONDS, "duration of the validation", "s"))
