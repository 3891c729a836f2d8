"""Files named CASE_SEQUENCE, beside each other or in folders of any name."""

from pathlib import Path

import pytest

from mets3d.data.cases import find_cases
from tests.builders.layouts import names_in, touched, words_of


def test_files_beside_each_other(tmp_path: Path) -> None:
    touched(
        tmp_path, "A-t1n.nii.gz", "A_t1ce.nii.gz", "A T2.nii", "A-seg.nii.gz", "A_notes.txt", "B.1_FLAIR.nii.gz",
        "B.1_t1_gd.nii.gz",
    )  # fmt: skip
    first, second = found = find_cases(tmp_path)
    assert found.layout.startswith("files named CASE_SEQUENCE")
    assert (first.name, second.name) == ("A", "B.1")
    assert names_in(first, tmp_path) == {
        "t1n": "A-t1n.nii.gz",
        "t1c": "A_t1ce.nii.gz",
        "t2w": "A T2.nii",
        "seg": "A-seg.nii.gz",
    }
    assert names_in(second, tmp_path) == {"t1c": "B.1_t1_gd.nii.gz", "t2f": "B.1_FLAIR.nii.gz"}
    assert (found.where, found.findings) == ({tmp_path: 2}, [])


@pytest.mark.parametrize(("name", "label_map"), [("BraTS20_Training_001", {4: 3}), ("BraTS-MET-00001-000", {})])
def test_the_edition_in_a_name_says_what_label_4_is(tmp_path: Path, name: str, label_map: dict[int, int]) -> None:
    (case,) = find_cases(touched(tmp_path, f"all/{name}_t1ce.nii.gz", f"all/{name}_seg.nii.gz"))
    assert (case.name, case.label_map) == (name, label_map)


def test_sequences_alone_are_named_after_their_folders(tmp_path: Path) -> None:
    words = ("T1", "T1ce", "FLAIR", "mask")
    touched(tmp_path, *words_of("P1", "*.nii.gz", *words), *words_of("P2", "*.nii.gz", *words))
    assert [case.name for case in find_cases(tmp_path)] == ["P1", "P2"]
    touched(tmp_path, *words_of("P3/2020-01-01", "*.nii.gz", *words), *words_of("P4/2020-01-01", "*.nii.gz", *words))
    assert [case.name for case in find_cases(tmp_path)] == ["P1", "P2", "P3_2020-01-01", "P4_2020-01-01"]


def test_a_single_image_beside_cases_is_none(tmp_path: Path) -> None:
    (case,) = found = find_cases(touched(tmp_path, "A/A-t1n.nii.gz", "atlas/mni_t1.nii.gz"))
    assert (case.name, [finding.what for finding in found.findings]) == ("A", ["folder is not a case"])
    assert [case.name for case in find_cases(touched(tmp_path / "alone", "mni_t1.nii.gz"))] == ["mni"]


def test_a_copy_of_a_case_is_none(tmp_path: Path) -> None:
    touched(tmp_path, *words_of("A", "A-*.nii.gz", "t1n", "t1c"), *words_of("old", "A-*.nii.gz", "t1n", "t1c"))
    (case,) = found = find_cases(tmp_path)
    assert (case.folder.name, [finding.what for finding in found.findings]) == ("A", ["folder is not a case"])
