"""BraTS-METS 2023-2026: a download with all that lies in its top folder."""

import unicodedata
from pathlib import Path

from mets3d.config import Data
from mets3d.data.cases import find_cases
from tests.builders.layouts import names_in, touched, words_of

SEQUENCES = ("t1n", "t1c", "t2w", "t2f")
WORDS = (*SEQUENCES, "seg")


def case_files(folder: str, name: str, words: tuple[str, ...] = WORDS) -> list[str]:
    return words_of(f"{folder}/{name}", f"{name}-*.nii.gz", *words)


def test_a_whole_download(tmp_path: Path) -> None:
    top, batch = "MICCAI-LH-BraTS2025-MET-Challenge-Training", "MICCAI-corrected-labels_batch1"
    touched(
        tmp_path,
        *case_files(top, "BraTS-MET-00001-000"),
        *case_files(f"{top}/UCSD - Training", "BraTS-MET-00002-001"),
        *case_files("Validation", "BraTS-MET-00003-000", SEQUENCES),
        f"{batch}/BraTS-MET-00001-000/BraTS-MET-00001-000-seg.nii.gz",
        f"{top}/BraTS-MET-00001-000/._BraTS-MET-00001-000-t1n.nii.gz",
        f"{top}/.DS_Store",
    )
    (tmp_path / top / "empty").mkdir()
    found = find_cases(tmp_path)
    assert found.layout == "BraTS-METS 2023-2026 (labels 1 NETC, 2 SNFH, 3 ET, 4 RC)"
    assert [case.name for case in found] == ["BraTS-MET-00001-000", "BraTS-MET-00002-001", "BraTS-MET-00003-000"]
    assert {str(place.relative_to(tmp_path)): count for place, count in found.where.items()} == {
        top: 1,
        f"{top}/UCSD - Training": 1,
        "Validation": 1,
    }
    (apart,) = found.findings
    assert (apart.severity, apart.what) == ("warning", "reference apart from its case")
    assert "data.overlay" in apart.advice

    overlaid = find_cases(tmp_path, Data(overlay=str(tmp_path / batch)))
    assert names_in(overlaid[0], tmp_path)["seg"] == f"{batch}/BraTS-MET-00001-000/BraTS-MET-00001-000-seg.nii.gz"
    (note,) = overlaid.findings
    assert (note.case, note.severity) == ("BraTS-MET-00001-000", "note")
    assert "in place of" in note.detail


def test_labels_are_as_they_are_but_for_those_of_the_settings(tmp_path: Path) -> None:
    touched(tmp_path, *case_files(".", "A-000"), *words_of("B", "B_*.nii.gz", "t1ce", "seg"))
    assert [case.label_map for case in find_cases(tmp_path)] == [{}, {4: 3}]
    assert [case.label_map for case in find_cases(tmp_path, Data(labels={8: 0, 4: 4}))] == [{8: 0, 4: 4}] * 2


def test_names_and_suffixes_of_other_spelling(tmp_path: Path) -> None:
    apart = unicodedata.normalize("NFD", "Zoë 1.2")  # as macOS writes it
    touched(tmp_path, f"Zoë 1.2/{apart}-T1N.NII.GZ", f"Zoë 1.2/{apart}-t1c.nii.gz.nii.gz", f"Zoë 1.2/{apart}-seg.Nii")
    (case,) = found = find_cases(tmp_path)
    assert (case.name, [*case.sequences], case.labels is not None) == ("Zoë 1.2", ["t1n", "t1c"], True)
    assert found.findings == []
