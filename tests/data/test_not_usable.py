"""The list of cases that cannot be used: as a file and as printed lines."""

from __future__ import annotations

import csv
from pathlib import Path

from mets3d.data.cases import Finding
from mets3d.data.not_usable import not_usable_lines, reason_of, stops, write_not_usable


def test_a_reason_is_all_errors_and_no_warning() -> None:
    findings = [
        Finding("A", "error", "missing sequence", "t2w missing", "add the file"),
        Finding("A", "warning", "skull not stripped?", "none"),
        Finding("A", "error", "not a number", "t1n has 2"),
    ]
    assert reason_of(findings) == "missing sequence: t2w missing; add the file | not a number: t1n has 2"


def test_the_file_is_a_table_and_goes_when_all_can_be_used(tmp_path: Path) -> None:
    file = tmp_path / "not_usable.csv"
    reasons = {"B": 'a "quoted", thing', "A": "two\nlines"}
    write_not_usable(file, reasons)
    with file.open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [["case", "reason"], ["A", "two lines"], ["B", 'a "quoted", thing']]
    write_not_usable(file, {})
    assert not file.exists()
    write_not_usable(file, {})


def test_few_are_named_one_by_one_and_many_by_reason() -> None:
    few = {f"P{number:02}": "missing sequence: t2w" for number in range(12)}
    assert not_usable_lines(few) == [f"P{number:02}: missing sequence: t2w" for number in range(12)]
    many = few | {"Q": "not a number: t1n has 2", "R": "/data/R/R-t1n.nii.gz: broken"}
    assert not_usable_lines(many) == [
        "missing sequence: 12 cases, such as P00, P01, P02",
        "another reason: 1 case, R",
        "not a number: 1 case, Q",
    ]


def test_skip_from_twenty_cases_on_unless_it_is_said() -> None:
    assert [stops(None, 19), stops(None, 20), stops("skip", 1), stops("stop", 999)] == [True, False, False, True]
