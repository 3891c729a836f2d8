"""UCSF-BMSR: one label, a subtraction that is no sequence."""

from pathlib import Path

from mets3d.data.cases import find_cases
from tests.builders.layouts import filled, first_labels, first_values, touched, words_of


def test_its_one_label_is_et(tmp_path: Path) -> None:
    top = "UCSF_BrainMetastases_TRAIN"
    words = ("T1pre", "T1post", "T2Synth", "FLAIR", "subtraction")
    filled(tmp_path, {f"{top}/100101A/100101A_{word}.nii.gz": value for value, word in enumerate(words)})
    filled(tmp_path, {f"{top}/100101A/100101A_seg.nii.gz": [0, 1]})
    (case,) = found = find_cases(tmp_path)
    assert found.layout == "UCSF-BMSR (label 1 ET)"
    assert first_values(case) == {"t1n": 0, "t1c": 1, "t2w": 2, "t2f": 3}
    assert first_labels(case, 2) == [0, 3]
    assert found.where == {tmp_path / top: 1}
    assert found.findings == []


def test_a_hospital_with_words_like_these_keeps_its_labels(tmp_path: Path) -> None:
    (case,) = find_cases(touched(tmp_path, *words_of("P1", "P1_*.nii.gz", "T1pre", "T1post", "FLAIR", "seg")))
    assert (case.name, [*case.sequences], case.label_map) == ("P1", ["t1n", "t1c", "t2f"], {})
