"""Writes the page's comparison of a run with one threshold on one sequence, the simplest segmentation there is."""

from __future__ import annotations

from collections.abc import Sequence

from mets3d.reporting.html_page import Section
from mets3d.reporting.rendering import render
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import means_beside, number
from mets3d.statistics.paired import Paired, as_shown, paired
from mets3d.wording import counted

DIGITS = 3  # of Dice


def threshold_section(records: Sequence[RunRecord]) -> Section | None:
    """Writes the comparison of each run that has one, None without any; several runs are named."""
    found = [(record.label, text) for record in records if (text := against_threshold(record))]
    if not found:
        return None
    return Section("threshold", "Against a threshold", render("threshold.html", found=found))


def against_threshold(record: RunRecord) -> str:
    """Writes the comparison as a sentence; empty without a baseline."""
    found = threshold_comparison(record)
    on, region = threshold_sequence(record), threshold_region(record)
    best = f"Best single threshold on {on}, chosen on the training cases: {region} Dice"
    if found is None:
        reached = record.baseline.get("validation_dice")
        if reached is None:
            return ""
        why = "of which none is scored in both" if record.scores else "on which the network has no scores yet"
        return f"{best} {number(reached, DIGITS)} on the held-out cases, {why}."
    alone, network = means_beside(found.reference_mean, found.method_mean, found.difference, DIGITS)
    return (
        f"{best} {alone} on {counted(found.n, 'held-out case')}. The network reaches "
        f"{network} on the same cases, a difference of {number(found.difference, DIGITS, sign=True)}."
    )


def threshold_comparison(record: RunRecord) -> Paired | None:
    """Compares the run with the threshold by whole-volume Dice on the cases that both have; None without any."""
    alone = {case: dice for case, dice in (record.baseline.get("per_case") or {}).items() if dice is not None}
    found = paired(alone, record.values(threshold_region(record), "dice"), record.patients, lower_is_better=False)
    return found and as_shown(found)


def threshold_region(record: RunRecord) -> str:
    """Returns the region that the threshold is of."""
    return str(record.baseline.get("region", "WT"))


def threshold_sequence(record: RunRecord) -> str:
    """Returns the sequence that the threshold is on."""
    return str(record.baseline.get("sequence", "t2f"))
