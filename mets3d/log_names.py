"""Names the numbers of a loss in metrics.jsonl: the training writes them, the report reads them. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

LOSS = "loss"  # all terms, weighted
BOUNDARY = f"{LOSS}/boundary"  # the boundary term without its weight
BOUNDARY_WEIGHT = "boundary_weight"


def part_name(part: str) -> str:
    """Returns the name of a weighted part of the base loss."""
    return f"{LOSS}/{part}"


def boundary_name(label: str) -> str:
    """Returns the name of the boundary term of one region or label."""
    return f"{BOUNDARY}/{label}"


def loss_parts(names: Iterable[str]) -> dict[str, str]:
    """Returns the parts of a loss by name, as people read them: those of the base loss and the boundary term.

    Each once, in the order in which they are met; the boundary terms of single regions are left out.
    """
    parts = ((name, *name.split("/")) for name in names)
    return {whole: rest[0].replace("_", " ") for whole, first, *rest in parts if first == LOSS and len(rest) == 1}
