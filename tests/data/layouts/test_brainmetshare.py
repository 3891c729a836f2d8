"""BrainMetShare: the sequence is the whole name of the file, one label."""

from pathlib import Path

from mets3d.data.cases import find_cases
from tests.builders.layouts import filled, first_labels, first_values, touched, words_of


def test_its_one_label_is_et_and_bravo_is_not_read(tmp_path: Path) -> None:
    filled(tmp_path, {f"Mets_001/{word}.nii.gz": n for n, word in enumerate(("t1_pre", "t1_gd", "flair", "bravo"))})
    filled(tmp_path, {"Mets_001/seg.nii.gz": [1, 0]})
    (case,) = found = find_cases(tmp_path)
    assert found.layout == "BrainMetShare (label 1 ET)"
    assert first_values(case) == {"t1n": 0, "t1c": 1, "t2f": 2}
    assert first_labels(case, 2) == [3, 0]
    assert case.missing == ("t2w",)


def test_a_hospital_with_words_like_these_keeps_its_labels(tmp_path: Path) -> None:
    (case,) = find_cases(touched(tmp_path, *words_of("P1", "*.nii.gz", "t1_pre", "t1_gd", "flair", "seg")))
    assert (case.name, [*case.sequences], case.label_map) == ("P1", ["t1n", "t1c", "t2f"], {})
