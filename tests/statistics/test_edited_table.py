"""Tables that a spreadsheet has saved: read rightly where the meaning is certain, else refused by file and line."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from mets3d.statistics.score_table import read_cells, read_scores

HEAD = ["case", "region", "rules", "lesion_wise_dice", "lesion_wise_hd95", "dice", "lesions_found"]
ROWS = [
    [f"P{case}", region, "brats2023", f"0.{case}25", "" if case == 2 else "10.5", "1e-05", str(case)]
    for case in (1, 2, 3)
    for region in ("WT", "TC", "ET")
]
PLAIN = "".join(",".join(cells) + "\n" for cells in [HEAD, *ROWS])


def joined(separator: str, change: Callable[[str], str] = str, end: str = "\n", quote: str = "") -> str:
    lines = [HEAD, *[[*row[:3], *map(change, row[3:])] for row in ROWS]]
    return "".join(separator.join(f"{quote}{cell}{quote}" for cell in cells) + end for cells in lines)


def comma(cell: str) -> str:
    return cell.replace(".", ",")


def excel(separator: str, rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows(rows)
    return text.getvalue()


MARK = b"\xef\xbb\xbf"
READ = {
    "byte-order mark": MARK + PLAIN.encode(),
    "byte-order mark and CRLF": MARK + joined(",", end="\r\n").encode(),
    "semicolons": joined(";").encode(),
    "semicolons and decimal commas": MARK + joined(";", comma, "\r\n").encode(),
    "tabs": joined("\t").encode(),
    "tabs and decimal commas in UTF-16": joined("\t", comma, "\r\n").encode("utf-16"),
    "quotes": joined(",", quote='"').encode(),
    "quoted decimal commas between commas": excel(",", [HEAD, *[list(map(comma, row)) for row in ROWS]]).encode(),
    "a line that says the separator": b"sep=;\r\n" + joined(";", end="\r\n").encode(),
    "blank lines and rows of empty cells": (PLAIN.replace("\nP2,WT", "\n\n,,,,,,\nP2,WT") + ",,,,,,\n\n  \n").encode(),
    "separators at the ends of lines": PLAIN.replace("\n", ",,\n").encode(),
    "old Macs' ends of lines": PLAIN.replace("\n", "\r").encode(),
    "columns in another order": joined(",").encode(),
}


@pytest.mark.parametrize("kind", READ)
def test_what_is_certain_is_read(tmp_path: Path, kind: str) -> None:
    (tmp_path / "plain.csv").write_text(PLAIN)
    content = READ[kind]
    if kind == "columns in another order":
        order = [4, 2, 6, 0, 3, 1, 5]
        lines = [line.split(",") for line in PLAIN.splitlines()]
        content = "".join(",".join(cells[at] for at in order) + "\n" for cells in lines).encode()
    (tmp_path / "scores.csv").write_bytes(content)
    expected = read_scores(tmp_path / "plain.csv")
    assert expected[0] == {
        "case": "P1", "region": "WT", "rules": "brats2023",
        "lesion_wise_dice": 0.125, "lesion_wise_hd95": 10.5, "dice": 1e-05, "lesions_found": 1.0,
    }  # fmt: skip
    assert read_scores(tmp_path / "scores.csv") == expected


def test_added_columns_are_numbers_or_left_alone(tmp_path: Path) -> None:
    added = {"my_dice": "0,5", "seen": "TRUE", "remark": "1,2 of them; see 3.4.", "weight": "2"}
    lines = [[*HEAD, *added], *[[*map(comma, row), *added.values()] for row in ROWS]]
    (tmp_path / "scores.csv").write_text(excel(";", lines))
    (row, *_) = read_scores(tmp_path)
    assert (row["my_dice"], row["weight"], row["lesion_wise_dice"]) == (0.5, 2.0, 0.125)
    assert "seen" not in row
    assert "remark" not in row


def test_a_line_that_ends_early_has_empty_cells(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("case,region,rules,dice,hd95,f1\nA,WT,x,0.5\nB,WT,x,1,2,1\n")
    assert read_scores(tmp_path)[0] == {"case": "A", "region": "WT", "rules": "x", "dice": 0.5}


REFUSED = {
    "separators of thousands": (";", 5, 3, "1.234,5", "line 6: lesion_wise_dice: expected a number, found"),
    "thousands in the English way": (",", 5, 3, '"1,234.5"', "separators of thousands"),
    "thousands by spaces": (";", 5, 3, "1 234", "separators of thousands"),
    "a truth value": (",", 2, 5, "TRUE", "line 3: dice: expected a number, found 'TRUE', a truth value"),
    "a truth value in German": (";", 2, 5, "WAHR", "a truth value"),
    "a date for a number": (",", 4, 3, "12. Jan", "line 5: lesion_wise_dice: expected a number, found '12. Jan'"),
    "a date with a year": (";", 4, 3, "01.02.2025", "a date"),
    "an error": (",", 9, 4, "#DIV/0!", "line 10: lesion_wise_hd95: expected a number, found '#DIV/0!', an error"),
    "a formula": (",", 9, 4, "=B2/3", "an error or formula"),
    "a percentage": (",", 1, 3, "50%", "line 2: lesion_wise_dice: expected a number, found '50%'"),
    "a date for a case": (",", 3, 0, "02-Jan", "line 4: expected a case, found '02-Jan', a date"),
    "another date for a case": (",", 3, 0, "2/1/2025", "line 4: expected a case, found '2/1/2025', a date"),
    "a date and time for a case": (",", 3, 0, "2025-01-02 00:00:00", "a date"),
    "one case that became a date": (",", 3, 0, "2025-01-02", "a date"),
    "a shortened number for a case": (",", 3, 0, "1.00E+05", "a shortened number"),
    "a truth value for a case": (",", 3, 0, "TRUE", "a truth value"),
    "a summary row": (",", 8, 0, "", "line 9: expected a case, found none; delete the line if it is a summary"),
    "a row without a region": (",", 8, 1, "", "line 9: expected a region, found none"),
    "one comma among points": (",", 6, 3, '"0,5"', "line 7: lesion_wise_dice: found 0,5 with a comma and in line 2"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_may_mean_two_things_is_refused_in_a_sentence(tmp_path: Path, kind: str) -> None:
    separator, line, column, cell, said = REFUSED[kind]
    lines = [HEAD, *[list(row) for row in ROWS]]
    lines[line][column] = cell
    (tmp_path / "scores.csv").write_text("".join(separator.join(cells) + "\n" for cells in lines))
    with pytest.raises(ValueError, match=r"scores\.csv: line \d+: ") as refused:
        read_scores(tmp_path)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path / "scores.csv"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (joined(",", comma).encode(), "line 2: expected 7 cells, found 9, as where commas part cells"),
        (joined(";", lambda cell: cell and "1,234").encode(), "found 1,234, of which nothing says if the comma"),
        (PLAIN.replace("P2", "Pé").encode("latin-1"), "line 5: expected UTF-8, found another encoding"),
        (PLAIN.replace("dice,lesions_found", "dice,dice").encode(), "expected every column once, found dice twice"),
        (b"", "expected a table, found no line in it"),
        (MARK, "expected a table, found no line in it"),
        (b"\n;;;\n", "expected a table, found no line in it"),
        (PLAIN.split("\n", 1)[1].encode(), "found none called case, region, rules"),
        (b"PK\x03\x04\x14\x00\x08\x08\x08\x00\xf1\xe2", "expected UTF-8"),  # the spreadsheet's own file
    ],
)
def test_tables_that_are_none(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "scores.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"scores\.csv: ") as refused:
        read_scores(tmp_path)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_cases_may_be_called_after_dates(tmp_path: Path) -> None:
    text = PLAIN.replace("P1", "2019-03-28").replace("P2", "2019-04-01").replace("P3", "2020-01-01")
    (tmp_path / "scores.csv").write_text(text)
    assert {row["case"] for row in read_scores(tmp_path)} == {"2019-03-28", "2019-04-01", "2020-01-01"}
    months = PLAIN.replace("P1", "MAR-01").replace("P2", "MAR-12").replace("P3", "JAN-07")
    (tmp_path / "scores.csv").write_text(months)
    assert {row["case"] for row in read_scores(tmp_path)} == {"MAR-01", "MAR-12", "JAN-07"}
    for name in (
        "MET-00012-001",
        "sub-01_ses-02",
        "100101A",
        "P07_2019-03-28",
        "12",
        "007",
        "Mayo-12",
        "Marburg-12",
        "1e5",
    ):
        (tmp_path / "scores.csv").write_text(PLAIN.replace("P1", name))
        assert name in {row["case"] for row in read_scores(tmp_path)}


def test_the_other_tables_are_read_alike(tmp_path: Path) -> None:
    lesions = (
        "case;region;lesion;kind;x_mm;dice;size_class\nA;ET;1;found;-12,25;0,5;2_to_27\nA;ET;2;missed;3,5;0;below_2\n"
    )
    (tmp_path / "lesions.csv").write_bytes(MARK + lesions.encode())
    first, second = read_cells(tmp_path / "lesions.csv", ("case", "region", "lesion", "kind"))
    assert (first["x_mm"], first["size_class"], second["lesion"]) == ("-12.25", "2_to_27", "2")
    froc = "case;region;threshold;lesions_found\nA;ET;0,05;1\n"
    (tmp_path / "froc.csv").write_text(froc)
    assert read_cells(tmp_path / "froc.csv", ("case", "threshold"))[0]["threshold"] == "0.05"
    (tmp_path / "froc.csv").write_text(froc.replace("0,05", "5. Jan"))
    with pytest.raises(ValueError, match=r"line 2: threshold: expected a number, found '5. Jan', a date"):
        read_cells(tmp_path / "froc.csv", ("case", "threshold"))
