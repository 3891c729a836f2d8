"""BraTS 2018-2021: `_t1ce` and `_flair`, label 4 is ET."""

from pathlib import Path

from mets3d.data.cases import find_cases
from tests.builders.layouts import filled, first_labels, first_values, names_in, touched, words_of

WORDS = ("t1", "t1ce", "t2", "flair", "seg")


def test_label_4_becomes_et(tmp_path: Path) -> None:
    name = "BraTS20_Training_001"
    filled(tmp_path, {f"{name}/{name}_{word}.nii.gz": value for value, word in enumerate(WORDS[:4])})
    filled(tmp_path, {f"{name}/{name}_seg.nii.gz": [1, 2, 4, 0]})
    (case,) = found = find_cases(tmp_path)
    assert found.layout == "BraTS 2018-2021 (labels 1 NETC, 2 oedema, 4 ET)"
    assert first_values(case) == {"t1n": 0, "t1c": 1, "t2w": 2, "t2f": 3}
    assert first_labels(case, 4) == [1, 2, 3, 0]
    assert found.findings == []


def test_grades_are_subfolders_and_suffixes_may_differ(tmp_path: Path) -> None:
    touched(
        tmp_path,
        *words_of("HGG/Brats18_2013_11_1", "Brats18_2013_11_1_*.nii.gz", *WORDS),
        *words_of("LGG/Brats18_TCIA09_1", "Brats18_TCIA09_1_*.nii", *WORDS[:4]),
    )
    found = find_cases(tmp_path)
    assert [(case.name, case.label_map) for case in found] == [
        ("Brats18_2013_11_1", {4: 3}),
        ("Brats18_TCIA09_1", {4: 3}),
    ]
    assert found.where == {tmp_path / "HGG": 1, tmp_path / "LGG": 1}
    assert (found.findings, found[1].labels) == ([], None)


def test_the_reference_of_another_name_is_found(tmp_path: Path) -> None:
    folder = "BraTS20_Training_355"
    touched(tmp_path, *words_of(folder, f"{folder}_*.nii", *WORDS[:4]), f"{folder}/W39_1998.09.19_Segm.nii")
    (case,) = find_cases(tmp_path)
    assert names_in(case, tmp_path)["seg"] == f"{folder}/W39_1998.09.19_Segm.nii"


def test_two_sequences_in_upper_case_are_a_case(tmp_path: Path) -> None:
    (case,) = find_cases(touched(tmp_path, "P 7/P 7_T1CE.NII.GZ", "P 7/P 7_Flair.nii.gz"))
    assert names_in(case, tmp_path) == {"t1c": "P 7/P 7_T1CE.NII.GZ", "t2f": "P 7/P 7_Flair.nii.gz"}
