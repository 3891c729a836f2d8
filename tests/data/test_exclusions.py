"""Cases that are left out, and references that are replaced."""

import unicodedata
from pathlib import Path

import pytest

from mets3d.config import Data
from mets3d.data import DataError
from mets3d.data.cases import find_cases
from mets3d.data.exclusions import read_exclusions, read_overlay
from tests.builders.layouts import touched

NAMES = ["A-000", "A-001", "Zoë, 1", "B#2"]


def lines(file: Path, *text: str) -> Path:
    file.write_text("\n".join(text), encoding="utf-8")
    return file


def test_names_and_reasons(tmp_path: Path) -> None:
    file = lines(tmp_path / "x", "\ufeff# bad scans", "", "A-000, moved # twice", " A-001 # label 8 ", "Zoë, 1", "B#2")
    assert read_exclusions(file, NAMES) == {
        "A-000": "moved # twice",
        "A-001": "label 8",
        "Zoë, 1": "",
        "B#2": "",
    }


def test_a_table_as_csv_writes_it(tmp_path: Path) -> None:
    file = lines(tmp_path / "x", "case,reason", '"Zoë, 1","not a number: 3, of 4"', 'B#2,"says ""no"""')
    assert read_exclusions(file, NAMES) == {"Zoë, 1": "not a number: 3, of 4", "B#2": 'says "no"'}


def test_letters_in_two_parts_are_the_same_letters(tmp_path: Path) -> None:
    assert read_exclusions(lines(tmp_path / "x", unicodedata.normalize("NFD", "Zoë, 1")), NAMES) == {"Zoë, 1": ""}


def test_unknown_and_doubled_names_are_refused_by_line(tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        read_exclusions(lines(tmp_path / "x", "A-000", "AA-000", "", "A-000, again", "who"), NAMES)
    assert str(raised.value).splitlines() == [
        f"{tmp_path / 'x'}, line 2: no case is named 'AA-000'; did you mean A-000?",
        f"{tmp_path / 'x'}, line 4: A-000 is there twice, first in line 1",
        f"{tmp_path / 'x'}, line 5: no case is named 'who'",
    ]


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_exclusions(tmp_path / "absent", NAMES)
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="expected names of cases as UTF-8"):
        read_exclusions(tmp_path / "x", NAMES)


def test_excluded_cases_are_noted_and_not_found(tmp_path: Path) -> None:
    data = touched(tmp_path / "D", "A/A-t1n.nii.gz", "B/B-t1n.nii.gz", "B/B-t1n.nii", "C/C-t1n.nii.gz")
    found = find_cases(data, Data(exclude=str(lines(tmp_path / "x", "B, two scans"))))
    assert [case.name for case in found] == ["A", "C"]
    assert [(note.case, note.severity, note.what, note.detail) for note in found.findings] == [
        ("B", "note", "excluded", "two scans")
    ]
    assert found.where == {data: 2}
    with pytest.raises(DataError, match=r"every case of .* is left out"):
        find_cases(data, Data(exclude=str(lines(tmp_path / "x", "A", "B", "C"))))


def test_references_of_an_overlay(tmp_path: Path) -> None:
    files = ("A-000.nii.gz", "deep/down/A-001-seg.nii", "B#2_seg.NII.GZ", "._A-000.nii.gz", "notes.txt")
    found = read_overlay(touched(tmp_path, *files), NAMES)
    assert {name: path.relative_to(tmp_path).as_posix() for name, path in found.items()} == {
        "A-000": files[0],
        "A-001": files[1],
        "B#2": files[2],
    }


def test_unknown_and_doubled_references_are_refused_by_name(tmp_path: Path) -> None:
    files = ("A-000.nii.gz", "a/A-000-seg.nii.gz", "A-002-seg.nii.gz", "A-001-t1n.nii.gz")
    with pytest.raises(DataError) as raised:
        read_overlay(touched(tmp_path, *files), NAMES)
    faults = str(raised.value)
    assert f"{tmp_path / 'A-002-seg.nii.gz'}: no case is named 'A-002-seg'; did you mean A-00" in faults
    assert f"{tmp_path / 'A-001-t1n.nii.gz'}: no case is named 'A-001-t1n'" in faults
    assert f"{tmp_path / files[1]}: a reference of A-000 is there already" in faults
    assert len(faults.splitlines()) == 3


def test_folders_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        read_overlay(tmp_path / "absent", NAMES)
    with pytest.raises(DataError, match="found no image"):
        read_overlay(tmp_path, NAMES)


def test_an_overlay_may_lie_in_the_data_set_or_correct_an_excluded_case(tmp_path: Path) -> None:
    data = touched(tmp_path / "D", "A/A-t1n.nii.gz", "A/A-seg.nii.gz", "B/B-t1n.nii.gz", "new/A-seg.nii.gz")
    touched(data, "new/B-seg.nii.gz")
    (case,) = found = find_cases(data, Data(overlay=str(data / "new"), exclude=str(lines(tmp_path / "x", "B"))))
    assert case.labels == data / "new" / "A-seg.nii.gz"
    assert sorted(finding.what for finding in found.findings) == ["excluded", "reference of the overlay"]
