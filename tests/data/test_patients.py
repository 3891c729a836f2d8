"""Who is who: by the name, by a pattern, by a file, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from mets3d.data import DataError
from mets3d.data.patients import patient_of, patients_of


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("BraTS-MET-00001-000", "BraTS-MET-00001"),
        ("BraTS-MET-00110-012", "BraTS-MET-00110"),
        ("x-123-456", "x-123"),
        ("P-1-001", "P-1"),
        ("P001-000", "P001"),
        ("00012-001", "00012"),
        ("sub-01_ses-02", "sub-01"),
        ("sub-CTRL7_ses-pre_run-1", "sub-CTRL7"),
        ("P07_ses-2", "P07"),
        ("Patient-001_week-044", "Patient-001"),
        ("UCSF-PDGM-0429_FU001d", "UCSF-PDGM-0429"),
        ("P01_baseline", "P01"),
        ("P07_2019-03-28", "P07"),
        ("MET_0012-20190328", "MET_0012"),
        ("100101A", "100101"),
        ("100101B", "100101"),
    ],
)
def test_a_time_point_is_no_part_of_the_patient(name: str, patient: str) -> None:
    assert patient_of(name) == patient


@pytest.mark.parametrize(
    "name",
    [
        *("MET-001", "sub-001", "siteA-001", "site-1-001", "site012-001", "Mets_001", "BRATS_001", "A-000"),
        *("BraTS20_Training_001", "BraTS2021_00012", "TCGA-FG-6692", "site-12", "P007", "UCSF-PDGM-0004"),
        *("2021-001", "MET-20190328", "sub-01", "Brats18_CBICA_AAB_1"),
    ],
)
def test_without_a_time_point_the_whole_name_is_the_patient(name: str) -> None:
    assert patient_of(name) == name


def test_a_pattern_is_searched_for_in_the_name() -> None:
    names = ["a_P1_x", "a_P1_y", "a_P22_x"]
    assert patients_of(names, r"_(P\d+)_") == {"a_P1_x": "P1", "a_P1_y": "P1", "a_P22_x": "P22"}
    assert patients_of(names, r"^(?:a|b)_(P\d+)")["a_P22_x"] == "P22"
    longer_than_a_file_name = "|".join(f"Q{number}" for number in range(2000))
    assert patients_of(["a_P1_x"], rf"_(P1|{longer_than_a_file_name})_") == {"a_P1_x": "P1"}


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"P\d+", "has 0 groups; expected one"),
        (r"(a)_(P\d+)", "has 2 groups; expected one"),
        (r"(P\d+", "neither a file nor a regular expression"),
        (r"(Q\d+)", r"finds no patient in the name of 2 cases: a_P1, b_P2"),
        (r"a_(P\d+)", r"finds no patient in the name of 1 case: b_P2"),
        (r"(x*)", r"finds no patient in the name of 2 cases"),
    ],
)
def test_patterns_that_do_not_serve_are_refused(pattern: str, said: str) -> None:
    with pytest.raises(DataError, match=r"data\.patients") as refused:
        patients_of(["a_P1", "b_P2"], pattern)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "A,one\nB,two\nC,one\n",
        "case,patient\nA,one\n\nB,two\nC,one\n",
        "\ufeffCase;Patient\nA;one\nB;two\nC;one",
        "age,patient,case\n7,one,A\n8,two,B\n9,one,C\n",
        "case\tpatient\nA\tone\nB\t two \nC\tone\n",
    ],
)
def test_a_file_with_or_without_a_header(tmp_path: Path, text: str) -> None:
    file = tmp_path / "who.csv"
    file.write_text(text, encoding="utf-8")
    assert patients_of(["A", "B", "C"], str(file)) == {"A": "one", "B": "two", "C": "one"}


def test_a_file_may_name_cases_that_are_known_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "who.csv"
    file.write_text("A,one\nB,two\n", encoding="utf-8")
    assert patients_of(["A"], str(file), also_known=["B"]) == {"A": "one"}


def test_all_faults_of_a_file_are_named_by_line(tmp_path: Path) -> None:
    file = tmp_path / "who.csv"
    file.write_text("case,patient\nA,one\nX,two\nA,one\nB,\n", encoding="utf-8")
    with pytest.raises(DataError) as refused:
        patients_of(["A", "B", "C"], str(file))
    _, *faults = str(refused.value).splitlines()
    assert [fault.strip() for fault in faults] == [
        "line 3: X is no case of the data set",
        "line 4: A for the second time, after line 2",
        "line 5: B has no patient",
        "no line for 1 case: C",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [("A\nB\n", "line 1: expected case,patient, found 1 columns"), ("A,one\nB,two,3\n", "line 2: expected 2 columns")],
)
def test_tables_of_another_form_are_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "who.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        patients_of(["A", "B"], str(file))
    file.write_bytes(b"A,\xff\n")
    with pytest.raises(DataError, match="expected a UTF-8 text file"):
        patients_of(["A"], str(file))
    with pytest.raises(FileNotFoundError, match=r"data.patients: .*: no such file; expected one with lines"):
        patients_of(["A"], str(tmp_path / "absent.csv"))
