"""Writes the page's comparison of a run with one threshold on one sequence, the simplest segmentation there is."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mets3d.reporting.html_page import Section
from mets3d.reporting.rendering import render
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import count, score_number
from mets3d.statistics.paired import Paired, paired


def threshold_section(records: Sequence[RunRecord]) -> Section | None:
    """Writes the comparison of each run that has one, None without any; several runs are named."""
    found = [(record.label, text) for record in records if (text := against_threshold(record))]
    if not found:
        return None
    return Section("threshold", "Against a threshold", render("threshold.html", found=found))


def threshold_tile(record: RunRecord) -> str:
    """Writes the comparison as a tile; empty without a case that both have."""
    found = threshold_comparison(record)
    if found is None:
        return ""
    return (
        f'<div class="tile"><strong>Best threshold on {escape(_sequence(record))}</strong>'
        f"<b>{_dice(found.reference_mean)}</b><span>mean {escape(_region(record))} Dice, whole volume</span>"
        f"<span>network {_dice(found.method_mean)}, {_dice(found.difference, sign=True)}</span></div>"
    )


def against_threshold(record: RunRecord) -> str:
    """Writes the comparison as a sentence; empty without a baseline."""
    found = threshold_comparison(record)
    best = f"Best single threshold on {_sequence(record)}, chosen on the training cases: {_region(record)} Dice"
    if found is None:
        reached = record.baseline.get("validation_dice")
        if reached is None:
            return ""
        return f"{best} {_dice(reached)} on the held-out cases, on which the network has no scores yet."
    return (
        f"{best} {_dice(found.reference_mean)} on {count(found.n, 'held-out case')}. The network reaches "
        f"{_dice(found.method_mean)} on the same cases, a difference of {_dice(found.difference, sign=True)}."
    )


def threshold_comparison(record: RunRecord) -> Paired | None:
    """Compares the run with the threshold by whole-volume Dice on the cases that both have; None without any."""
    alone = {case: dice for case, dice in (record.baseline.get("per_case") or {}).items() if dice is not None}
    return paired(alone, record.values(_region(record), "dice"), record.patients, lower_is_better=False)


def _region(record: RunRecord) -> str:
    return str(record.baseline.get("region", "WT"))


def _sequence(record: RunRecord) -> str:
    return str(record.baseline.get("sequence", "t2f"))


def _dice(value: float, *, sign: bool = False) -> str:
    return score_number("dice", value, sign=sign)
