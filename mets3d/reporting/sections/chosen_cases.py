"""Chooses the cases that a page pictures: of those that every run predicted the best, the middle and the worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mets3d.data.cases import Case, find_cases
from mets3d.reporting.run_record import Note, RunRecord


def chosen_cases(dice: Mapping[str, float], available: Sequence[str], most: int = 6) -> list[tuple[str, str]]:
    """Chooses up to `most` of the available cases: the two best, the middle and the two worst by Dice.

    Returns each with its rank in words. Where there are no more than `most`, all are chosen, best first; cases
    without a value come last.
    """
    order = sorted(available, key=lambda case: (case not in dice, -dice.get(case, 0.0), case))
    amount = len(order)
    if not dice or amount <= most:
        picked = list(range(min(amount, most)))
    else:
        middle = (amount - 1) // 2
        wanted = (0, amount - 1, middle, 1, amount - 2, middle + 1)
        picked = sorted(dict.fromkeys(wanted[:most]))
    return [(order[rank], _standing(rank, amount) if order[rank] in dice else "") for rank in picked]


def predicted_cases(records: Sequence[RunRecord]) -> dict[str, Case]:
    """Returns the cases, by name, that every run predicted and whose scans exist; without those trained on, if it can.

    Where there is none, the first run gets a note with the reason.
    """
    found, why = scanned_cases(records)
    if why:
        records[0].notes.append(Note(f"No slices: {why}"))
    if not found:
        return {}
    everywhere = {name: case for name, case in found.items() if all(name in record.predictions for record in records)}
    if not everywhere:
        data = next(record.data for record in records if record.data is not None)
        records[0].notes.append(Note(f"No slices: {data} holds no case that every run predicted."))
    trained = {name for record in records for name in record.split.get("training", ())}
    return {name: case for name, case in everywhere.items() if name not in trained} or everywhere


def scanned_cases(records: Sequence[RunRecord]) -> tuple[dict[str, Case], str]:
    """Returns the cases, by name, in the folder that the first run which still has one predicted; else a reason.

    The reason is empty where a note of the runs says it already.
    """
    shown = next((record for record in records if record.data is not None), None)
    if shown is None or shown.data is None:
        return {}, ""
    try:
        return _found(shown.data, shown), ""
    except (OSError, ValueError) as error:
        return {}, str(error)


def _found(data: Path, record: RunRecord) -> dict[str, Case]:
    """Finds the cases as the run read them: with its labels, and on its own data with its corrected references."""
    settings = record.config.data.model_copy(update=dict.fromkeys(("exclude", "overlay", "patients")))
    found = {case.name: case for case in find_cases(data, settings)}
    own = {*record.split.get("training", ()), *record.split.get("validation", ())}
    if record.config.data.overlay is None or not own or not own <= found.keys():
        return found
    return {
        case.name: case
        for case in find_cases(data, settings.model_copy(update={"overlay": record.config.data.overlay}))
    }


def _standing(rank: int, amount: int) -> str:
    if amount == 1:
        return ""
    if rank in (0, amount - 1):
        return "worst" if rank else "best"
    median = amount > 2 and rank in {(amount - 1) // 2, amount // 2}
    return f"rank {rank + 1} of {amount}" + (", median" if median else "")
