"""Words for sequences, references and labels."""

import pytest

from mets3d.data.layouts.words import cut, kind_of, label_of, region_of


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("t1", "T1w", "t1n", "T1_pre", "T1Native"), "t1n"),
        (("t1ce", "T1GD", "t1_post", "ce-T1w", "ce-gadolinium_T1w", "T1c", "t1-contrast", "T1+C"), "t1c"),
        (("t2", "T2w", "t2w", "T2Synth"), "t2w"),
        (("flair", "T2_FLAIR", "t2f", "t2flair", "FLAIR"), "t2f"),
        (("seg", "Mask", "dseg", "segmentation", "lesion_mask"), "seg"),
        (("swi", "adc", "t2star", "dwi", "", "brain"), None),
    ],
)
def test_words_of_files(words: tuple[str, ...], kind: str | None) -> None:
    assert {kind_of(word) for word in words} == {kind}


@pytest.mark.parametrize(
    ("stem", "case", "kind"),
    [
        ("P1_t2_flair", "P1", "t2f"),
        ("BraTS-MET-00001-000-t1c", "BraTS-MET-00001-000", "t1c"),
        ("a.b_T1_gd", "a.b", "t1c"),
        ("P 1 - T1", "P 1", "t1n"),
        ("flair", "", "t2f"),
        ("t1_t2", "t1", "t2w"),
    ],
)
def test_names_are_cut_before_the_longest_word(stem: str, case: str, kind: str) -> None:
    parts = cut(stem)
    assert parts is not None
    assert (parts.case, parts.kind) == (case, kind)


@pytest.mark.parametrize("stem", ["P1", "P1_swi", "t1_P1", "P1_t1_brain"])
def test_other_names_are_not_cut(stem: str) -> None:
    assert cut(stem) is None


def test_words_of_labels() -> None:
    assert [region_of(word) for word in ("Edema", "non-enhancing tumor", "Enhancing Tumour", "NCR/NET", "grey")] == [
        "SNFH",
        "NETC",
        "ET",
        "NETC",
        None,
    ]
    assert [label_of(regions) for regions in (["WT"], ["WT", "TC"], ["WT", "TC", "ET"], ["RC"])] == [2, 1, 3, 4]
    with pytest.raises(ValueError, match="at least one region"):
        label_of([])
