"""The result of a run in a few lines for a console."""

from __future__ import annotations

from pathlib import Path

from mets3d.reporting.compare import COUNTS, METRICS
from mets3d.reporting.run_record import RunRecord, read_run
from mets3d.reporting.sentences import against_threshold, count
from mets3d.statistics.cohort import summarise


def summary_text(run: Path) -> str:
    """Means per region over the held-out cases, and what a threshold reaches, as text lines.

    Without scores it says which command makes them. Raises FileNotFoundError if `run` is not a run directory.
    """
    record = read_run(run)
    if not record.scores:
        note = next(note for note in record.notes if "scores" in note.text)
        return f"{record.label}: {note.text}" + (f"\n  {note.command}" if note.command else "")
    head = f"{record.label}: means over {count(len(record.held_out), 'held-out case')}, rules {record.rules}"
    columns = ("region", *(f"{metric.name}{f' [{metric.unit}]' * bool(metric.unit)}" for metric in METRICS))
    counted = tuple(metric.name for metric in COUNTS)
    rows = [(*columns, *counted), *(_row(record, region.name) for region in record.regions)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([head, *(f"  {line}" for line in lines), *filter(None, [against_threshold(record)])])


def _row(record: RunRecord, region: str) -> tuple[str, ...]:
    summaries = [(metric, summarise(record.values(region, metric.column))) for metric in METRICS]
    means = (f"{summary.mean:.{metric.digits}f}" if summary else "-" for metric, summary in summaries)
    totals = (f"{sum(record.values(region, metric.column).values()):.0f}" for metric in COUNTS)
    return (region, *means, *totals)
