"""The dataset.yaml that is proposed for images of no known layout works once saved."""

from pathlib import Path

import pytest

from mets3d.data import DataError
from mets3d.data.cases import find_cases
from tests.builders.layouts import touched

WORDS = ("T1", "T1c", "FLAIR", "seg")
NUMBERS = (1, 2, 3)


def proposed(data: Path) -> str:
    with pytest.raises(DataError) as raised:
        find_cases(data)
    assert str(data / "dataset.yaml") in str(raised.value)
    return str(raised.value).split("for example:\n\n")[1]


@pytest.mark.parametrize(
    ("pattern", "case"),
    [
        ("P{n}/P{n}_scan_{word}_brain.nii.gz", "P{n}"),
        ("{word}/P{n}.nii.gz", "P{n}"),
        ("{word}_P{n}.nii.gz", "P{n}"),
        ("P{n}/anat/2020010{n}_{word}_brain.nii.gz", "P{n}"),
        ("P{n}/{word}/x{n}.nii", "P{n}"),
        ("site/P{n}/{word}/run/image.nii.gz", "P{n}"),
        ("P{n}_{word}/image.nii.gz", "P{n}"),
        ("it's/P{n}/x_{word}_y.nii.gz", "P{n}"),
    ],
)
def test_it_finds_the_cases(tmp_path: Path, pattern: str, case: str) -> None:
    touched(tmp_path, *(pattern.format(n=n, word=word) for n in NUMBERS for word in WORDS))
    (tmp_path / "dataset.yaml").write_text(proposed(tmp_path), encoding="utf-8")
    found = find_cases(tmp_path)
    assert [each.name for each in found] == [case.format(n=n) for n in NUMBERS]
    for n, each in zip(NUMBERS, found, strict=True):
        files = {**{kind: scan.path for kind, scan in each.sequences.items()}, "seg": each.labels}
        assert files == {
            kind: tmp_path / pattern.format(n=n, word=word)
            for kind, word in zip(("t1n", "t1c", "t2f", "seg"), WORDS, strict=True)
        }
    assert found.findings == []


def test_where_nothing_can_be_guessed_it_is_an_example(tmp_path: Path) -> None:
    text = proposed(touched(tmp_path, "imagesTr/P1_0000.nii.gz", "imagesTr/P1_0001.nii.gz"))
    assert "# there is: imagesTr/P1_0001.nii.gz" in text
    (tmp_path / "dataset.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="expected files that match"):
        find_cases(tmp_path)


def test_images_of_no_known_word_are_named_where_a_pattern_is_missing(tmp_path: Path) -> None:
    touched(tmp_path, *(f"{word}_P{n}.nii.gz" for n in NUMBERS for word in ("T1", "T1c", "dark", "Maske")))
    text = proposed(tmp_path)
    comments = "for t2w, t2f, reference; add one if these images are it:\n#   Maske_P1.nii.gz\n#   dark_P1.nii.gz\nseq"
    assert comments in text
    (tmp_path / "dataset.yaml").write_text(text, encoding="utf-8")
    assert [set(case.sequences) for case in find_cases(tmp_path)] == [{"t1n", "t1c"}] * 3
