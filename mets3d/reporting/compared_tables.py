"""Reads the tables that `mets3d compare` is given: score tables, each a method, and runs, grouped into arms."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mets3d.evaluation.tables import Row
from mets3d.reporting.arms import arm_tables, as_arms, runs_in_words
from mets3d.reporting.fair import study_differences
from mets3d.reporting.read_run import read_runs
from mets3d.reporting.run_record import RunRecord
from mets3d.rundir import RunDir
from mets3d.statistics.comparison import method_names
from mets3d.statistics.decodings import decoding_remarks, different_decodings
from mets3d.statistics.edited_table import columns_in, signs_of_a_spreadsheet
from mets3d.statistics.pooled_runs import ArmRuns
from mets3d.statistics.score_table import read_scores, table_of
from mets3d.statistics.table_gaps import of_known_regions, table_gaps
from mets3d.wording import agreed, counted


@dataclass(frozen=True)
class ComparedTables:
    """Methods by name with their rows of scores.csv, and of lesions.csv where there is one.

    arms: of methods that are arms, their runs. remarks: what to know about them.
    """

    scores: dict[str, Sequence[Row]]
    lesions: dict[str, Sequence[Row]] = field(default_factory=dict)
    arms: dict[str, ArmRuns] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def compared_tables(paths: Sequence[Path], names: Sequence[str] | None = None) -> ComparedTables:
    """Reads tables and run directories; runs that differ in seed and fold alone become one method, an arm.

    Of a run the cases count that it held out, and where all are runs, the first is the one that a page of them would
    compare the others with (`arms.as_arms`): both give the same numbers. With `names`, one a table, every table is a
    method by itself, in the order given. Raises the errors of `method_names` and `read_scores`.
    """
    named = dict(zip(method_names(paths, names), paths, strict=True))
    runs = {name: path for name, path in named.items() if RunDir(path).config.is_file()}
    read = read_runs(list(runs.values())) if runs else []
    held_out = {name: record.split.get("validation", ()) for name, record in zip(runs, read, strict=True)}
    tables, said = _read(named, held_out)
    of_runs = {name: record for name, record in zip(runs, read, strict=True) if record.scores}
    if unclear := sorted(name for name in runs if name not in of_runs):
        raise ValueError(f"{runs[unclear[0]]}: expected scores by one rule set, found several; evaluate the run again")
    records = as_arms(read) if runs and not names else []
    if not any(record.runs for record in records):
        alone = _methods(tables, of_runs, [record.label for record in records if record.label in of_runs])
        return replace(alone, remarks=[*said, *alone.remarks])
    others = {name: rows for name, rows in tables.items() if name not in runs}
    if shared := {record.label for record in records} & others.keys():
        raise ValueError(f"expected tables of other names than the arms, found {', '.join(shared)}; give --names")
    if len(records) + len(others) < 2:
        raise ValueError(
            f"expected two methods or more, found {runs_in_words(records[0])} of one; name runs with other settings "
            "too, or give --names to compare run by run"
        )
    methods = {record.label: record.score_rows() for record in records} | others
    return ComparedTables(
        methods,
        {record.label: record.lesion_rows() for record in records},
        {record.label: arm_tables(record) for record in records},
        [*said, *_remarks(records), *_left_out(read), *_of_decodings(methods)],
    )


def _read(
    named: Mapping[str, Path], held_out: Mapping[str, Collection[str]]
) -> tuple[dict[str, Sequence[Row]], list[str]]:
    """Returns the rows of each table, and what is to be known of it: how it was saved, and what it lacks.

    held_out: of a run, the cases that belong into its table. Raises ValueError for a table without a known region.
    """
    tables: dict[str, Sequence[Row]] = {}
    saved, gaps = [], []
    for name, path in named.items():
        file = table_of(path)
        tables[name], left_out = of_known_regions(read_scores(path))
        if not tables[name]:
            raise ValueError(f"{file}: {left_out}; write their names so, or evaluate again")
        lacking = table_gaps(tables[name], columns_in(file), held_out.get(name, ()))
        saved += [f"{name}: {sign}" for sign in [signs_of_a_spreadsheet(file)] if sign]
        gaps += [f"{name}: {gap}" for gap in [left_out, *lacking] if gap]
    return tables, [*saved, *gaps]


def _methods(
    tables: Mapping[str, Sequence[Row]], of_runs: Mapping[str, RunRecord], ordered: Sequence[str]
) -> ComparedTables:
    """Returns tables and runs that are each a method, in the order given, or in that of a page where all are runs."""
    names = list(ordered) if ordered and len(ordered) == len(tables) else list(tables)
    methods = {name: of_runs[name].score_rows() if name in of_runs else tables[name] for name in names}
    return ComparedTables(
        methods,
        {name: of_runs[name].lesion_rows() for name in names if name in of_runs},
        remarks=[*_left_out(list(of_runs.values())), *_of_decodings(methods)],
    )


def _left_out(records: Sequence[RunRecord]) -> list[str]:
    """Says of which runs scored cases are left out, because the network was trained on them."""
    return [
        f"{record.label}: left out {counted(len(left), 'scored case')} that "
        f"{agreed(len(left), 'was', 'were')} used in training"
        for record in records
        if (left := set(record.cases) - set(record.held_out))
    ]


def _of_decodings(methods: Mapping[str, Sequence[Row]]) -> list[str]:
    """Says where methods were decoded differently, and what is to be known about the decoding of each."""
    each = [f"{name}: {remark}" for name, rows in methods.items() for remark in decoding_remarks(rows)]
    return [*different_decodings(methods), *each]


def _remarks(records: Sequence[RunRecord]) -> list[str]:
    """Says which runs an arm has, and in what the arms differ beyond what is compared."""
    said = [f"{record.label}: {runs_in_words(record)}" for record in records]
    differences = [note.text for note in study_differences(records)]
    return said + (["These are no arms of one study:", *differences] if differences else [])
