"""Reads the tables that `mets3d compare` is given: score tables, each a method, and runs, grouped into arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mets3d.evaluation.tables import Row
from mets3d.reporting.arms import arm_tables, as_arms, runs_in_words
from mets3d.reporting.fair import study_differences
from mets3d.reporting.read_run import read_runs
from mets3d.reporting.run_record import RunRecord
from mets3d.rundir import RunDir
from mets3d.statistics.comparison import method_names
from mets3d.statistics.pooled_runs import ArmRuns
from mets3d.statistics.score_table import read_scores


@dataclass(frozen=True)
class ComparedTables:
    """Methods by name with their rows of scores.csv; of those that are arms the runs; what to know about them."""

    scores: dict[str, Sequence[Row]]
    arms: dict[str, ArmRuns] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def compared_tables(paths: Sequence[Path], names: Sequence[str] | None = None) -> ComparedTables:
    """Reads tables and run directories; runs that differ in seed and fold alone become one method, an arm.

    With `names`, one a table, every table is a method by itself. Raises the errors of `method_names` and `read_scores`.
    """
    named = dict(zip(method_names(paths, names), paths, strict=True))
    tables: dict[str, Sequence[Row]] = {name: read_scores(path) for name, path in named.items()}
    runs = {name: path for name, path in named.items() if RunDir(path).config.is_file()}
    records = as_arms(read_runs(list(runs.values()))) if runs and not names else []
    if not any(record.runs for record in records):
        return ComparedTables(tables)
    of_arms = {record.label: record.score_rows() for record in records}
    others = {name: rows for name, rows in tables.items() if name not in runs}
    if shared := of_arms.keys() & others.keys():
        raise ValueError(f"expected tables of other names than the arms, found {', '.join(shared)}; give --names")
    if len(of_arms | others) < 2:
        raise ValueError(
            f"expected two methods or more, found {runs_in_words(records[0])} of one; name runs with other settings "
            "too, or give --names to compare run by run"
        )
    return ComparedTables(of_arms | others, {record.label: arm_tables(record) for record in records}, _remarks(records))


def _remarks(records: Sequence[RunRecord]) -> list[str]:
    """Says which runs an arm has, and in what the arms differ beyond what is compared."""
    said = [f"{record.label}: {runs_in_words(record)}" for record in records]
    differences = [note.text for note in study_differences(records)]
    return said + (["These are no arms of one study:", *differences] if differences else [])
