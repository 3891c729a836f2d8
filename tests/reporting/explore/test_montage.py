"""Slices of telling cases."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mets3d.regions import ET, RC, TC, WT
from mets3d.reporting.explore.montage import cuts, montage, sequences_to_show
from mets3d.reporting.explore.telling_cases import telling_cases
from mets3d.reporting.pictures.case_volumes import CaseVolumes
from tests.builders.described import described
from tests.builders.structure import Structure

SHAPE = (40, 50, 12)


def volumes(labels: np.ndarray, sequences: tuple[str, ...] = ("t1c", "t2f"), side: int = 1) -> CaseVolumes:
    image = np.random.default_rng(0).integers(100, 900, labels.shape).astype(np.float32)
    image[:2] = image[-2:] = image[:, :2] = image[:, -2:] = 0
    return CaseVolumes("CASE", (1.0, 1.0, 1.0), dict.fromkeys(sequences, image), labels, {})


def blank() -> np.ndarray:
    return np.zeros(SHAPE, np.uint8)


@pytest.mark.parametrize(("x", "left"), [(30, True), (8, False)])
def test_the_patients_right_is_on_the_left(x, left):
    labels = blank()
    labels[x : x + 3, 40, 5] = 3  # RAS: a large x is the patient's right
    first = cuts(volumes(labels), focus="region")[0]
    shown = np.argwhere(first.outlined[next(iter(first.outlined))])
    rows, columns = shown.T
    assert bool(columns.mean() < SHAPE[0] / 2) is left
    assert rows.mean() < SHAPE[1] / 2  # anterior is up
    panel = montage(volumes(labels), focus="region").split("</svg>")[0]
    (outline,) = re.findall(rf'd="([^"]*)" fill="none" stroke="{TC.colour}"', panel)
    middle = [float(number) for number in re.findall(r"M([\d.]+) ", outline)]
    assert bool(np.mean(middle) < 120) is left
    marks = dict(re.findall(r'<text x="([\d.]+)"[^>]*>(R|L)</text>', panel))
    assert {letter: float(at) < 120 for at, letter in marks.items()} == {"R": True, "L": False}


def test_each_region_is_outlined_on_its_sequence_where_there_is_most_of_it():
    labels = blank()
    labels[5:20, 5:20, 3] = 2
    labels[5:9, 5:9, 6] = 3
    labels[5:8, 5:8, 9] = 4
    contrast, flair = cuts(volumes(labels), focus="region")
    assert (contrast.sequence, contrast.index, {region.name for region in contrast.outlined}) == (
        "t1c",
        6,
        {"TC", "ET"},
    )
    assert (flair.sequence, flair.index, {region.name for region in flair.outlined}) == ("t2f", 3, {"WT"})
    cavity = cuts(volumes(labels), focus="cavity")[0]
    assert (cavity.index, {region.name for region in cavity.outlined}) == (9, {"RC"})


def test_the_smallest_lesion_is_where_the_slices_go_through():
    labels = blank()
    labels[5:9, 5:9, 6] = 3
    labels[30, 30, 2] = 3
    assert [cut.index for cut in cuts(volumes(labels), focus="smallest")] == [2, 2]
    only_oedema = blank()
    only_oedema[5:9, 5:9, 6] = 2
    only_oedema[30, 30, 2] = 2
    assert [cut.index for cut in cuts(volumes(only_oedema), focus="smallest")] == [2, 2]


def test_an_empty_reference_shows_the_slice_with_most_brain_and_no_enlargement():
    page = Structure(montage(volumes(blank()), focus="region"))
    assert page.faults == []
    assert len([own for own in page.named("svg") if own.get("role") == "img"]) == 2
    assert "outlined: nothing" in str(page.named("svg")[0]["aria-label"])


@pytest.mark.parametrize(
    ("present", "shown"),
    [
        (("t1n", "t1c", "t2w", "t2f"), ("t1c", "t2f")),
        (("t1n", "t2w"), ("t1n", "t2w")),
        (("t1c",), ("t1c", "t1c")),
        (("t2f",), ("t2f", "t2f")),
        (("bravo",), ("bravo", "bravo")),
    ],
)
def test_another_sequence_stands_in_for_one_that_is_missing(present, shown):
    assert tuple(sequences_to_show(present).values()) == shown


def test_one_sequence_shows_every_region():
    labels = blank()
    labels[5:20, 5:20, 3] = 2
    labels[5:9, 5:9, 3] = 3
    (only,) = cuts(volumes(labels, ("t1c",)), focus="region")
    assert {region.name for region in only.outlined} == {"WT", "TC", "ET"}


def test_both_outlines_are_drawn_where_enhancing_tumour_fills_the_core():
    labels = blank()
    labels[5:15, 5:15, 6] = 3
    html = montage(volumes(labels), focus="region")
    for region in (WT, TC, ET):
        assert f'stroke="{region.colour}"' in html
    assert RC.colour not in html
    assert html.index(TC.colour) < html.index(ET.colour)  # below it


def test_pictures_of_large_scans_stay_small():
    rng = np.random.default_rng(0)
    labels = np.zeros((600, 600, 2), np.uint8)
    labels[100:300, 100:300, 1] = 3
    image = rng.integers(0, 2000, labels.shape).astype(np.float32)  # noise is the worst to compress
    case = CaseVolumes("CASE", (0.4, 0.4, 1.0), {"t1c": image, "t2f": image}, labels, {})
    assert len(montage(case, focus="region")) < 400_000


def test_telling_cases_are_the_ends_and_the_middle_each_once():
    data = described(300, seed=3)
    chosen = telling_cases(data.cases)
    assert len({case.numbers.name for case in chosen}) == len(chosen) == 6
    tumour = {case.name: case.volume_mm3((1, 2, 3)) for case in data.cases}
    assert chosen[0].numbers.name == max(tumour, key=lambda name: tumour[name])
    assert chosen[0].why.startswith("largest tumour, ")
    assert chosen[3].focus == "smallest"
    smallest = min(lesion.volume_mm3 for case in data.cases for lesion in case.lesions["TC"])
    assert min(lesion.volume_mm3 for lesion in chosen[3].numbers.lesions["TC"]) == smallest
    assert (chosen[4].focus, bool(chosen[4].numbers.lesions["RC"])) == ("cavity", True)
    assert chosen[5].numbers.labels == ()
    assert telling_cases([]) == []


def test_the_next_case_stands_in_for_one_that_is_pictured_already():
    both = described(2, seed=3).cases
    (only,) = telling_cases(both[:1])
    assert only.why.startswith("largest tumour, ")  # and not what it would be shown for later
    first, second = telling_cases(both)
    assert first.why.startswith("largest tumour, ")
    assert {first.numbers.name, second.numbers.name} == {case.name for case in both}
