"""A layout that a dataset.yaml describes, and faults in it."""

import textwrap
from pathlib import Path

import numpy as np
import pytest

from mets3d.config import Data
from mets3d.data import DataError
from mets3d.data.cases import find_cases
from mets3d.data.layouts.patterns import PathPattern
from tests.builders.layouts import filled, first_labels, names_in, touched
from tests.builders.runs import ROOT

DOCUMENT = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
COMPLETE = textwrap.dedent(DOCUMENT[DOCUMENT.index("    name: Our hospital") :].partition("\n\n")[0])  # its example
SIMPLE = "sequences: {t1c: '{case}/x.nii.gz'}\n"


def own(data: Path, text: str) -> Path:
    data.mkdir(parents=True, exist_ok=True)
    (data / "dataset.yaml").write_text(text, encoding="utf-8")
    return data


def test_a_complete_description(tmp_path: Path) -> None:
    for visit in ("P 1/2020", "P 1/2021", "P2/2020"):
        touched(own(tmp_path, COMPLETE), f"scans/{visit}/s3_T1_KM.nii.gz", f"scans/{visit}/rest.nii.gz")
        touched(tmp_path, f"scans/{visit}/s1_T1.nii.gz")
    filled(tmp_path, {"masks/P 1/2020-a.nii.gz": [1, 2], "corrected/P 1_2021-seg.nii.gz": [2, 1]})
    touched(tmp_path, "exclude.txt", "scans/P2/2020/P2_t1.nii.gz")
    (tmp_path / "exclude.txt").write_text("P2_2020, moved\n", encoding="utf-8")
    patients = "case,patient\nP 1_2020,P 1\nP 1_2021,P 1\nP2_2020,P2\n"
    (tmp_path / "patients.csv").write_text(patients, encoding="utf-8")
    first, second = found = find_cases(tmp_path)
    assert found.layout == "dataset.yaml: Our hospital"
    assert (first.name, first.patient, first.label_map) == ("P 1_2020", "P 1", {1: 3})
    assert names_in(first, tmp_path) == {
        "t1n": "scans/P 1/2020/s1_T1.nii.gz",
        "t1c": "scans/P 1/2020/s3_T1_KM.nii.gz",
        "t2f": "scans/P 1/2020/rest.nii.gz",
        "seg": "masks/P 1/2020-a.nii.gz",
    }
    assert first.sequences["t2f"].volume == 0
    assert [first_labels(case, 2) for case in (first, second)] == [[3, 2], [2, 3]]
    assert sorted((finding.case, finding.what) for finding in found.findings) == [
        ("2020", "folder is not a case"),
        ("P 1_2021", "reference of the overlay"),
        ("P2_2020", "excluded"),
    ]


def test_settings_win(tmp_path: Path) -> None:
    touched(own(tmp_path / "D", COMPLETE), "scans/P1/1/s_T1_KM.nii.gz", "exclude.txt")
    other = tmp_path / "other.txt"
    other.touch()
    filled(tmp_path, {"corrections/P1_1.nii.gz": [0]})
    chosen = Data(labels={1: 1}, exclude=str(other), overlay=str(tmp_path / "corrections"), patients="(P[0-9]+)")
    (case,) = find_cases(tmp_path / "D", chosen)
    assert (case.label_map, case.labels) == ({1: 1}, tmp_path / "corrections" / "P1_1.nii.gz")


def test_it_comes_before_known_layouts(tmp_path: Path) -> None:
    own(tmp_path, "sequences: {t1c: '{case}/{case}-t1n.nii.gz'}")
    (case,) = find_cases(touched(tmp_path, "A/A-t1n.nii.gz"))
    assert [*case.sequences] == ["t1c"]


def test_a_pattern_without_files_is_told(tmp_path: Path) -> None:
    found = find_cases(touched(own(tmp_path, SIMPLE + "reference: '{case}/y.nii.gz'"), "A/x.nii.gz"))
    assert [(finding.severity, finding.what) for finding in found.findings] == [("warning", "pattern without files")]
    with pytest.raises(DataError, match=r"expected files that match {case}/x.nii.gz, found images such as B/z.nii.gz"):
        find_cases(touched(own(tmp_path / "D", SIMPLE), "B/z.nii.gz"))


def test_two_files_for_one_scan_are_told(tmp_path: Path) -> None:
    own(tmp_path, "sequences: {t1c: '{case}/*.nii*'}")
    (case,) = found = find_cases(touched(tmp_path, "A/b.nii.gz", "A/a.nii"))
    assert names_in(case, tmp_path) == {"t1c": "A/b.nii.gz"}
    assert [finding.what for finding in found.findings] == ["scan there twice"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "cannot be read as YAML: .*line 1"),
        ("", "expected keys and values, as `sequences:`, found nothing"),
        ("- a", "expected keys and values"),
        ("name: x", "line 1: sequences: expected a pattern for at least one sequence.*, found 'nothing'"),
        (SIMPLE + "\nrefrence: x", "line 3: refrence: expected reference, the nearest key"),
        ("sequences:\n  t1c: 3", "line 2: sequences.t1c: expected a pattern, .*, found 3"),
        ("sequences:\n  t1: '{case}.nii'", "line 2: sequences.t1: expected one of t1n, t1c, t2w, t2f, found 't1'"),
        ("sequences:\n  t1c: 'a.nii'", "line 2: sequences.t1c: expected a pattern with {case}"),
        ("sequences:\n  t1c: '../{case}.nii'", "line 2: sequences.t1c: expected a path relative to the folder"),
        ("sequences:\n  t1c: '{case.nii'", "line 2: sequences.t1c: expected names of letters"),
        ("sequences:\n  t1c: {file: '{case}.nii'}", "line 2: sequences.t1c: expected a pattern, or {file"),
        (
            "sequences:\n  t1c:\n    file: '{case}.nii'\n    volume: -1",
            "line 4: sequences.t1c.volume: expected the",
        ),
        (SIMPLE + "labels: {1: 7}", "line 2: labels.1: expected a whole number from 0, mapped to one of 0 to 4"),
        (SIMPLE + "labels: 3", "line 2: labels: expected a map"),
        (SIMPLE + "labels: {a: 1}", "line 2: labels.a: expected a whole number"),
        (SIMPLE + "case: all", "line 2: case: expected a name in braces"),
        (SIMPLE + "case: '{patient}'", "line 1: sequences.t1c: expected a pattern with {patient}"),
        (SIMPLE + "name: 3", "line 2: name: expected text, found 3"),
        (SIMPLE + "exclude: [a]", "line 2: exclude: expected text"),
        (SIMPLE + "patients: '(a'", "line 2: patients: expected a file, or a regular expression"),
        (SIMPLE + "name: a\nname: b", "line 3: name: is there twice"),
    ],
)
def test_a_broken_description_is_refused_by_key_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"dataset.yaml.*{message}"):
        find_cases(touched(own(tmp_path, text), "A/x.nii.gz"))


def test_all_faults_are_told_together(tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        find_cases(own(tmp_path, "sequences:\n  t1: x\nlabels: 3\n"))
    assert [line.split(": ")[1] for line in str(raised.value).splitlines()[:2]] == ["sequences.t1", "labels"]


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").write_bytes(np.arange(250, 256, dtype=np.uint8).tobytes())
    with pytest.raises(DataError, match="cannot be read as YAML"):
        find_cases(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "path", "names"),
    [
        ("{case}/{case}_T1.nii", "P 1/P 1_T1.nii", {"case": "P 1"}),
        ("{case}/{case}_T1.nii", "P1/P2_T1.nii", None),
        ("{case}_T1.nii", "a/b_T1.nii", None),
        ("**/{case}_T1.nii", "a/b/c_T1.nii", {"case": "c"}),
        ("**/{case}_T1.nii", "c_T1.nii", {"case": "c"}),
        ("*/{case}?.nii", "x/ab.nii", {"case": "a"}),
        ("{a}-{b}.nii", "1-2-3.nii", {"a": "1", "b": "2-3"}),
        ("x.nii", "xanii", None),
    ],
)
def test_patterns(pattern: str, path: str, names: dict[str, str] | None) -> None:
    assert PathPattern(pattern).match(path) == names
