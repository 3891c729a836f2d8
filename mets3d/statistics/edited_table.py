"""Reads CSV tables that a spreadsheet may have saved: what is certain is read rightly, all else refused by its line.

Read are a byte-order mark, semicolons or tabs between cells, decimal commas, quotes, CRLF, empty lines and rows, and
columns in another order or added. Refused, in a sentence with the line and what to do, is what may mean two things:
1,234 where no other number says what the comma is, commas and points mixed, separators of thousands, surplus cells, and
cells that became a date, a truth value or an error; and numbers that their column cannot hold, as 1e400 or a Dice of
845.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ADVICE = "take the table that `mets3d evaluate` wrote, or save this one as CSV UTF-8 with points in its numbers"
ROUNDING = 1e-6  # by which a share may leave 0 to 1
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_SEPARATOR_SAID = re.compile(r"sep=(.)\r?\n")  # a first line of Excel's
_DECIMAL_COMMA = re.compile(r"[-+]?(\d+,\d*|,\d+)([eE][-+]?\d+)?")
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}([.,'’\s]\d{3})+([.,]\d+)?")
_TRUTH = re.compile(r"true|false|wahr|falsch|vrai|faux|verdadero|falso|vero|pravda", re.IGNORECASE)
_FAULT = re.compile(r"#\S+[!?]?|#N/A|=.*", re.IGNORECASE)
_SHORTENED = re.compile(r"\d([.,]\d+)?E\+\d+", re.IGNORECASE)
_MONTH = (
    r"(jan(uary|uar|v|vier)?|feb(ruary|ruar)?|févr?(ier)?|mar(ch|s)?|mrz|märz?|apr(il)?|avr(il)?|may|mai|june?|juni|juin"
    r"|july?|juli|juil(let)?|aug(ust)?|août|sept?(ember|embre)?|o[ck]t(ober|obre)?|nov(ember|embre)?|de[cz](ember)?"
    r"|déc(embre)?)\.?"
)
_DATE = re.compile(
    rf"\d{{1,4}}[/.]\d{{1,2}}[/.]\d{{1,4}}( .*)?|\d{{1,2}}/\d{{1,4}}|\d{{4}}-\d{{2}}-\d{{2}}[ T]\d.*"
    rf"|\d{{1,4}}[-. ]*{_MONTH}([-. ]*\d{{1,4}})?",
    re.IGNORECASE,
)
# Dates that cases may be called too, as MAR-12: they are taken for names where all cases are called so.
_PERHAPS_DATE = re.compile(rf"\d{{4}}-\d{{2}}-\d{{2}}|{_MONTH}[-. ]\d{{1,4}}", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """What a table's columns hold: `needed` must be there, `texts` hold names, `holds_number` says of which others.

    ends: the least and the largest value of a column.
    """

    needed: Sequence[str]
    texts: Collection[str]
    holds_number: Callable[[str], bool]
    ends: Callable[[str], tuple[float, float]]


Lines = list[tuple[int, dict[str, str]]]  # number of a line, and its cells by column


def read_table(file: Path, columns: Columns) -> list[dict[str, str]]:
    """Returns the rows of a table as text by column, numbers with a point; raises ValueError as the module says.

    A column that somebody added holds numbers where all of its cells do, else texts. A line that ends early has empty
    cells.
    """
    text, separator = _opened(file)
    lines = _lines(text, separator)
    _, names = next(lines, (0, []))
    names = [name.strip() for name in names]
    _check_names(names, columns.needed)
    rows = [(number, _by_column(number, names, cells)) for number, cells in lines]
    _check_texts(rows, columns)
    return _with_points(rows, columns)


def signs_of_a_spreadsheet(file: Path) -> str:
    """Says how a table is saved otherwise than `mets3d evaluate` does; empty where it is not, or cannot be read."""
    try:
        _, separator = _opened(file)
    except (OSError, ValueError):
        return ""
    return f"read with {SEPARATORS[separator]} between its cells" if separator != "," else ""


def columns_in(file: Path) -> list[str]:
    """Returns the names of a table's columns, those without a number in any row too; none where it cannot be read."""
    try:
        _, names = next(_lines(*_opened(file)), (0, []))
    except (OSError, ValueError):
        return []
    return [name.strip() for name in names]


# ---------------------------------------------------------------- lines


def _opened(file: Path) -> tuple[str, str]:
    """Returns the text and what parts its cells: what the first line holds most of."""
    content = file.read_bytes()
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line}: expected UTF-8, found another encoding; {ADVICE}") from None
    if (said := _SEPARATOR_SAID.match(text)) and said[1] in SEPARATORS:
        return "\n" + text[said.end() :], said[1]
    head = re.sub(r'"[^"]*"', "", next((line for line in text.splitlines() if line.strip(' ,;\t"')), ""))
    return text, max(SEPARATORS, key=head.count)


def _lines(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yields number and cells of every line that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        for cells in reader:
            if any(cell.strip(" ,;\t") for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}; {ADVICE}") from None


def _check_names(names: Sequence[str], needed: Sequence[str]) -> None:
    if not any(names):
        raise ValueError("expected a table, found no line in it; run `mets3d evaluate` again")
    lacking = sorted(set(needed) - set(names))
    if lacking:
        raise ValueError(
            f"expected the columns {', '.join(needed)}, found none called {', '.join(lacking)}; name a table that "
            "`mets3d evaluate` wrote"
        )
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise ValueError(f"expected every column once, found {', '.join(twice)} twice; {ADVICE}")


def _by_column(number: int, names: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    if any(cell.strip() for cell in cells[len(names) :]):
        raise ValueError(
            f"line {number}: expected {len(names)} cells, found {len(cells)}, as where commas part cells and are in "
            f"numbers too; {ADVICE}"
        )
    padded = [*cells[: len(names)], *[""] * (len(names) - len(cells))]
    return {name: cell.strip() for name, cell in zip(names, padded, strict=True) if name}


# ---------------------------------------------------------------- cells


def _check_texts(rows: Lines, columns: Columns) -> None:
    """Refuses rows without a name, and names that a spreadsheet has changed: nothing says what they were."""
    named = [name for name in columns.needed if name in columns.texts]
    for number, row in rows:
        if lacking := [name for name in named if not row[name]]:
            what = lacking[0] if lacking[0].endswith("s") else f"a {lacking[0]}"
            raise ValueError(f"line {number}: expected {what}, found none; delete the line if it is a summary")
    cases = {row["case"] for _, row in rows if "case" in row}
    dates = {case for case in cases if _PERHAPS_DATE.fullmatch(case)}
    for number, row in rows:
        cell = row.get("case", "")
        kind = _made_by_a_spreadsheet(cell)
        if kind or (cell in dates and dates != cases):
            raise ValueError(f"line {number}: expected a case, found {cell[:40]!r}, {kind or 'a date'}; {ADVICE}")


def _made_by_a_spreadsheet(cell: str) -> str:
    """Says what a spreadsheet has made of a cell; empty for one that it left alone."""
    kinds = {
        "a truth value": _TRUTH,
        "an error or formula": _FAULT,
        "a shortened number": _SHORTENED,
        "a date": _DATE,
    }
    return next((kind for kind, form in kinds.items() if form.fullmatch(cell)), "")


def _with_points(rows: Lines, columns: Columns) -> list[dict[str, str]]:
    """Refuses cells that are no numbers where numbers belong, and writes decimal commas as points."""
    names = [name for name in (rows[0][1] if rows else {}) if name not in columns.texts]
    odd = {
        name: found
        for name in names
        if (found := [(number, row[name]) for number, row in rows if row[name] and not _is_number(row[name])])
    }
    for name in [name for name in odd if not columns.holds_number(name)]:  # added by somebody
        if not all(_DECIMAL_COMMA.fullmatch(cell) for _, cell in odd[name]):
            del odd[name]
    for name, found in odd.items():
        for number, cell in found:
            if not _DECIMAL_COMMA.fullmatch(cell):
                raise ValueError(f"line {number}: {name}: expected a number, found {_described(cell)}; {ADVICE}")
    if odd:
        _check_commas(rows, names, odd)
    for _, row in rows:
        row |= {name: row[name].replace(",", ".") for name in odd}
    for name in filter(columns.holds_number, names):
        _check_values(rows, name, *columns.ends(name))
    return [row for _, row in rows]


def _check_values(rows: Lines, name: str, least: float, largest: float) -> None:
    """Refuses numbers that the column cannot hold; `nan` is no value, nor is `inf`, some tools' distance to nothing."""
    for number, row in rows:
        value = float(row[name] or math.nan)
        if value == math.inf and row[name].strip().lower().lstrip("+") in ("inf", "infinity"):
            continue
        if math.isinf(value):
            raise ValueError(
                f"line {number}: {name}: expected a number, found {row[name][:40]!r}, which is infinite; leave the "
                "cell empty where there is no value"
            )
        if value < least - ROUNDING or value > largest + ROUNDING:
            known = f"{least:g} to {largest:g}" if math.isfinite(largest) else f"{least:g} or more"
            raise ValueError(f"line {number}: {name}: expected {known}, found {row[name][:40]}; {ADVICE}")


def _check_commas(rows: Lines, names: Sequence[str], odd: Mapping[str, Sequence[tuple[int, str]]]) -> None:
    """Refuses numbers with commas that may part thousands, and those beside numbers with points."""
    name, (number, cell) = next((name, found[0]) for name, found in odd.items())
    if all(_THOUSANDS.fullmatch(own) for found in odd.values() for _, own in found):
        raise ValueError(
            f"line {number}: {name}: found {cell}, of which nothing says if the comma is decimal; {ADVICE}"
        )
    for other, row in rows:
        pointed = next((column for column in names if "." in row[column] and _is_number(row[column])), None)
        if pointed:
            raise ValueError(
                f"line {number}: {name}: found {cell} with a comma and in line {other} {row[pointed]} with a point, of "
                f"which only one can be decimal; {ADVICE}"
            )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _described(cell: str) -> str:
    kind = "a number with separators of thousands" if _THOUSANDS.fullmatch(cell) else _made_by_a_spreadsheet(cell)
    return f"{cell[:40]!r}" + (f", {kind}" if kind else "")
