"""Says below the title of a page what its runs and cases are: plain text, not yet escaped."""

from __future__ import annotations

from collections.abc import Sequence

from mets3d.phantoms.names import is_phantom
from mets3d.reporting.arms import runs_in_words
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.training_facts import lede
from mets3d.wording import agreed, counted, joined

MOST_NAMED = 5  # arms beside the reference in the head of the page


def head_lines(records: Sequence[RunRecord]) -> list[str]:
    """Says whether the cases are patients, then what each run is; what is the same of several stands once."""
    lines = [f"{text[0].upper()}{text[1:]}."] if (text := phantoms_in_words(records)) else []
    alike: dict[str, list[str]] = {}
    for record in records[: MOST_NAMED + 1]:
        alike.setdefault(_what(record), []).append(record.label)
    for what, labels in alike.items():
        named = f"{_named(labels, len(records))}: " if len(records) > 1 else ""
        lines.append(f"{named}{what}")
    if absent := sorted(records[0].absent):
        lines.append(f"Left out: {joined(absent)}, of which no reference and no prediction has anything.")
    if len(records) > MOST_NAMED + 1:
        lines.append(f"And {counted(len(records) - MOST_NAMED - 1, 'other')}, see below.")
    return lines


def phantoms_in_words(records: Sequence[RunRecord]) -> str:
    """Says how many of the cases that runs were trained or scored on are phantoms; empty for none."""
    runs = [run for record in records for run in record.members.values()]
    every = {case for run in runs for case in run.cases}
    every |= {str(case) for run in runs for side in ("training", "validation") for case in run.split.get(side, ())}
    phantoms = sum(map(is_phantom, every))
    if not phantoms:
        return ""
    if phantoms == len(every):
        return "synthetic phantoms, not patients (all names are those that mets3d synth gives)"
    what = agreed(
        phantoms,
        "is a synthetic phantom, not a patient (its name is one",
        "are synthetic phantoms, not patients (their names are those",
    )
    return f"{phantoms:,} of {counted(len(every), 'case')} {what} that mets3d synth gives)"


def _what(record: RunRecord) -> str:
    if not record.runs:
        return lede(record)
    return f"{runs_in_words(record)}; seed {record.key[0]}, fold {record.key[1]}: {lede(record)}"


def _named(labels: Sequence[str], records: int) -> str:
    if len(labels) < records:
        return joined(labels)
    return "Both" if records == 2 else f"All {records}"
