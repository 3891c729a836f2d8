"""Writes the result of a run in a few lines for a console."""

from __future__ import annotations

from pathlib import Path

from mets3d.evaluation.scores import Score, shown_in
from mets3d.reporting.read_run import read_run
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sections.threshold import against_threshold
from mets3d.reporting.sentences import amount
from mets3d.statistics.cohort import summarise
from mets3d.statistics.decodings import decoding_in_words, decoding_remarks
from mets3d.statistics.lesion_counts import COUNTS, total
from mets3d.wording import counted


def summary_text(run: Path) -> str:
    """Returns `summary_of` a run directory. Raises FileNotFoundError if it is none."""
    return summary_of(read_run(run))


def summary_of(record: RunRecord) -> str:
    """Returns means per region over the held-out cases, and the Dice that a threshold reaches, as text lines.

    Without scores it says which command makes them.
    """
    if not record.scores:
        note = next(note for note in record.notes if "scores" in note.text)
        return f"{record.label}: {note.text}" + (f"\n  {note.command}" if note.command else "")
    head = f"{record.label}: means over {counted(len(record.held_out), 'held-out case')}, rules {record.rules}"
    if decoding := decoding_in_words(record.score_rows()):
        head += f", decoding: {decoding}"
    scores = shown_in("page")
    headings = ("region", *(f"{score.name}{f' [{score.unit}]' * bool(score.unit)}" for score in scores))
    rows = [headings]
    rows += [(region.name, *(_cell(record, region.name, score) for score in scores)) for region in record.regions]
    widths = [max(len(row[column]) for row in rows) for column in range(len(headings))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    remarks = [f"{record.label}: {remark}" for remark in decoding_remarks(record.score_rows())]
    return "\n".join([head, *(f"  {line}" for line in lines), *remarks, *filter(None, [against_threshold(record)])])


def _cell(record: RunRecord, region: str, score: Score) -> str:
    """Writes the mean of a score, or the sum of a count."""
    if score in COUNTS:
        return amount(total(record.score_rows(region), score.column) or 0)
    summary = summarise(record.values(region, score.column), record.patients)
    return f"{summary.mean:.{score.digits}f}" if summary else "-"
