"""Reads score tables back that `evaluate` wrote; tables of earlier versions lack columns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path

from mets3d.data.patients import patient_of
from mets3d.evaluation.scores import KEYS, PATIENT, TEXTS, score_of
from mets3d.evaluation.tables import Row
from mets3d.rundir import SCORE_TABLE
from mets3d.statistics.edited_table import Columns, read_table

CaseValues = dict[str, float]  # case -> value
_NAMES = (*KEYS, *TEXTS, "lesion", "kind", "size_class")  # columns of the tables that hold no number, or a lesion's
_PLACES = ("threshold", "x_mm", "y_mm", "z_mm", "i", "j", "k")  # columns of other tables than scores.csv that do


def read_cells(file: Path, needed: Sequence[str] = KEYS) -> list[dict[str, str]]:
    """Returns the rows of a table that `evaluate` wrote, every cell a text, numbers with a point.

    It may have been saved by a spreadsheet (`edited_table`). Raises ValueError, without the file's name, for what
    cannot be read with certainty, and with the columns of `needed` that it lacks.
    """
    return read_table(file, Columns(needed, _NAMES, _holds_number, _ends))


def score_cells(file: Path) -> list[dict[str, str]]:
    """Returns the rows of a score table as `read_cells`, and raises as that; also for a case and region twice."""
    cells = read_cells(file, KEYS)
    seen: set[tuple[str, str]] = set()
    for row in cells:
        if (row["case"], row["region"]) in seen:
            raise ValueError(f"expected one row per case and region, found {row['case']} {row['region']} twice")
        seen.add((row["case"], row["region"]))
    return cells


def _holds_number(column: str) -> bool:
    return column in _PLACES or score_of(column) is not None


def _ends(column: str) -> tuple[float, float]:
    """Returns the least and the largest value that a column of scores can hold."""
    score = score_of(column)
    return (-math.inf, math.inf) if score is None else score.ends


def numbers(row: Mapping[str, object]) -> dict[str, float]:
    """Returns the finite numbers of a row by column; an empty cell, `nan` and `inf` are no value."""
    found = {column: finite(cell) for column, cell in row.items()}
    return {column: value for column, value in found.items() if value is not None}


def finite(cell: object) -> float | None:
    """Returns the number in a cell, or None where it holds none."""
    if type(cell) is float:  # of rows that were read before, millions for a study
        return cell if math.isfinite(cell) else None
    if not isinstance(cell, str | Real):
        return None
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def values_of(rows: Iterable[Row], column: str) -> CaseValues:
    """Returns case -> value of a column, over the rows that have one."""
    found = {row["case"]: finite(row.get(column)) for row in rows}
    return {case: value for case, value in found.items() if value is not None}


def read_scores(path: Path) -> list[Row]:
    """Returns the rows of a score table: case, region, rules, patient as text, and every column that holds a number.

    `path` is the file or a folder that holds `scores.csv`, such as a run directory. Raises FileNotFoundError where
    there is none, ValueError for a file that is no score table, holds no row, or holds a case and region twice.
    """
    file = table_of(path)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such table; expected scores.csv as `mets3d evaluate` writes it")
    try:
        cells = score_cells(file)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    rows: list[Row] = [text_cells(row) | numbers(_without_keys(row)) for row in cells]
    if not rows:
        raise ValueError(f"{file}: expected a row per case and region, found none")
    return rows


def table_of(path: Path) -> Path:
    """Returns the score table of a folder; a file is one itself."""
    return path / SCORE_TABLE if path.is_dir() else path


def text_cells(row: Mapping[str, str]) -> Row:
    """Returns the cells that are no numbers: case, region, rules; patient and decoding where the table names them."""
    return {key: row[key] for key in (*KEYS, *TEXTS) if key in KEYS or row.get(key)}


def _without_keys(row: Mapping[str, str]) -> dict[str, str]:
    return {column: cell for column, cell in row.items() if column not in (*KEYS, *TEXTS)}


def patients_in(*tables: Iterable[Row]) -> dict[str, str]:
    """Returns case -> patient over the rows of all tables: as a row says, or where none does, by the case's name.

    Raises ValueError where two rows name different patients for a case.
    """
    named: dict[str, str] = {}
    cases: dict[str, None] = {}
    for row in itertools.chain.from_iterable(tables):
        case, patient = row["case"], row.get(PATIENT)
        cases[case] = None
        if patient and named.setdefault(case, patient) != patient:
            raise ValueError(
                f"expected one patient a case, found {named[case]} and {patient} for {case}; evaluate the methods "
                "against the same data set again"
            )
    return {case: named.get(case) or patient_of(case) for case in cases}


def columns_of(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """Returns every column of the rows, in the order in which they are met."""
    return list(dict.fromkeys(column for row in rows for column in row))
