"""Chooses the cases that a page pictures: of those that every run predicted the worst, the middle and the best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mets3d.data.cases import Case, find_cases
from mets3d.reporting.case_order import rank_in_words
from mets3d.reporting.run_record import Note, RunRecord


def chosen_cases(ranked: Sequence[str], available: Sequence[str], most: int = 6) -> list[tuple[str, str]]:
    """Chooses up to `most` of the available cases: the two worst, the middle and the two best.

    ranked: the cases with a score, the worst first. Returns each with its rank in words, the worst first; those that
    have no rank come last, and are chosen only where there is room for all.
    """
    known = [case for case in ranked if case in available]
    others = sorted(set(available) - set(known))
    amount = len(known)
    if amount + len(others) <= most or not known:
        return [(case, _standing(case, ranked)) for case in [*known, *others][:most]]
    middle = (amount - 1) // 2
    wanted = (0, amount - 1, middle, 1, amount - 2, middle + 1)
    picked = sorted({rank for rank in wanted if 0 <= rank < amount}, key=wanted.index)[:most]
    return [(known[rank], _standing(known[rank], ranked)) for rank in sorted(picked)]


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


def _standing(case: str, ranked: Sequence[str]) -> str:
    """Returns the rank of a case among all that are ranked, as its own page has it."""
    amount = len(ranked)
    if case not in ranked or amount == 1:
        return ""
    rank = ranked.index(case)
    if rank in (0, amount - 1):
        return "best" if rank else "worst"
    median = amount > 2 and rank in {(amount - 1) // 2, amount // 2}
    return rank_in_words(case, ranked) + (", median" if median else "")
