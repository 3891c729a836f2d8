"""Several layouts in one folder."""

from pathlib import Path

from mets3d.data.cases import find_cases
from tests.builders.layouts import described, touched, words_of


def test_five_layouts_in_one_folder_are_each_read_by_its_own(tmp_path: Path) -> None:
    touched(
        tmp_path,
        *words_of("BraTS-MET-00001-000", "BraTS-MET-00001-000-*.nii.gz", "t1n", "t1c", "seg"),
        *words_of("BraTS2021_00002", "BraTS2021_00002_*.nii.gz", "t1", "t1ce", "seg"),
        *words_of("100103A", "100103A_*.nii.gz", "T1pre", "T1post", "seg"),
        *words_of("Mets_004", "*.nii.gz", "t1_pre", "t1_gd", "bravo", "seg"),
        *words_of("sub-05/anat", "sub-05_*.nii.gz", "T1w", "ce-gd_T1w", "dseg"),
    )
    found = find_cases(tmp_path)
    assert [(case.name, case.label_map) for case in found] == [
        ("100103A", {1: 3}),
        ("BraTS-MET-00001-000", {}),
        ("BraTS2021_00002", {4: 3}),
        ("Mets_004", {1: 3}),
        ("sub-05", {}),
    ]
    assert all([*case.sequences] == ["t1n", "t1c"] and case.labels for case in found)
    (mixed,) = found.findings
    assert (mixed.severity, mixed.what) == ("warning", "several layouts")
    for name in ("BraTS-METS 2023-2026", "BraTS 2018-2021", "UCSF-BMSR", "BrainMetShare", "BIDS"):
        assert f"1 of {name}" in mixed.detail
        assert name in found.layout


def test_one_name_in_two_layouts_is_an_error(tmp_path: Path) -> None:
    touched(tmp_path, *words_of("A", "A-*.nii.gz", "t1n", "t1c"), "raw/imagesTr/A_0000.nii.gz")
    described(tmp_path / "raw", channel_names={"0": "T1"}, labels={"background": 0, "ET": 1}, file_ending=".nii.gz")
    found = find_cases(tmp_path)
    assert "case named twice" in [finding.what for finding in found.findings if finding.severity == "error"]
