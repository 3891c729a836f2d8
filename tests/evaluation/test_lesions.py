"""Lesion-wise scores by the 2023 rules: by hand, against a slow second implementation, and what must not matter."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from mets3d.evaluation.lesions import lesion_scores
from tests.builders.surfaces import hd95

SHAPE = (40, 40, 30)
UNIT = (1.0, 1.0, 1.0)
ET = 3


def volume(*boxes: tuple[tuple[int, int, int], tuple[int, int, int]], label: int = ET) -> np.ndarray:
    """A label map with boxes given by their first voxel and their size."""
    labels = np.zeros(SHAPE, np.uint8)
    for start, size in boxes:
        labels[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] = label
    return labels


def row(rows: list[dict[str, Any]], region: str) -> dict[str, Any]:
    (found,) = [each for each in rows if each["region"] == region]
    return found


def told(rows: list[dict[str, Any]]) -> list[Any]:
    """For comparison to the bit: NaN, which equals nothing, as None."""
    return [{name: None if str(value) == "nan" else value for name, value in each.items()} for each in rows]


def counts(scores: dict[str, Any]) -> tuple[int, int, int]:
    return scores["lesions_found"], scores["lesions_false"], scores["lesions_missed"]


CUBE = ((10, 10, 10), (3, 3, 3))
ONE = ((10, 10, 10), (1, 1, 1))
TWO_VOXELS = ((10, 10, 10), (2, 1, 1))
THREE_VOXELS = ((10, 10, 10), (3, 1, 1))
STRAY = ((30, 30, 20), (1, 1, 1))
STRAYS = ((30, 30, 20), (3, 1, 1))

# Name: prediction, reference, lesion-wise Dice and HD95 of ET, (found, false, missed).
SITUATIONS = {
    "perfect and one stray voxel": (volume(CUBE, STRAY), volume(CUBE), 0.5, 187.0, (1, 1, 0)),
    "perfect and three stray voxels": (volume(CUBE, STRAYS), volume(CUBE), 0.5, 187.0, (1, 1, 0)),
    "a lesion of 2 mm3 missed": (volume(), volume(TWO_VOXELS), 1.0, 0.0, (0, 0, 0)),
    "a lesion of 3 mm3 missed": (volume(), volume(THREE_VOXELS), 0.0, 374.0, (0, 0, 1)),
    "a lesion of 2 mm3 found": (volume(TWO_VOXELS), volume(TWO_VOXELS), 1.0, 0.0, (0, 0, 0)),
    "tiny lesion shields a false blob": (volume(((11, 10, 10), (3, 3, 3))), volume(ONE), 1.0, 0.0, (0, 0, 0)),
    "touching faces, no overlap": (volume(((13, 10, 10), (3, 3, 3))), volume(CUBE), 0.0, 3.0, (1, 0, 0)),
    "touching edges": (volume(((13, 13, 10), (3, 3, 3))), volume(CUBE), 0.0, None, (1, 0, 0)),
    "touching corners": (volume(((13, 13, 13), (3, 3, 3))), volume(CUBE), 0.0, 374.0, (0, 1, 1)),
    "a voxel between them": (volume(((14, 10, 10), (3, 3, 3))), volume(CUBE), 0.0, 374.0, (0, 1, 1)),
    "one lesion, prediction empty": (volume(), volume(CUBE), 0.0, 374.0, (0, 0, 1)),
    "reference empty": (volume(STRAYS), volume(), 0.0, 374.0, (0, 1, 0)),
    "both empty": (volume(), volume(), 1.0, 0.0, (0, 0, 0)),
    "one blob over two lesions": (
        volume(((10, 10, 10), (9, 3, 3))),
        volume(CUBE, ((16, 10, 10), (3, 3, 3))),
        0.5,
        6.0,
        (2, 0, 0),
    ),
    "one lesion in two parts": (
        volume(CUBE, ((16, 10, 10), (3, 3, 3))),
        volume(((10, 10, 10), (9, 3, 3))),
        0.8,
        None,
        (1, 0, 0),
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_situations_by_hand(situation: str) -> None:
    prediction, reference, dice, hd95_mm, expected = SITUATIONS[situation]
    scores = row(lesion_scores(prediction, reference, UNIT), "ET")
    assert scores["lesion_wise_dice"] == pytest.approx(dice)
    if hd95_mm is not None:
        assert scores["lesion_wise_hd95"] == pytest.approx(hd95_mm)
    assert counts(scores) == expected


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_line_of_single_voxels(axis: int) -> None:
    """All there is in the image lies in a box one voxel wide and high, every other voxel of which is set."""
    prediction, line = volume(), [10, 10, 10]
    for step in (0, 2, 4):
        line[axis] = 10 + step
        prediction[tuple(line)] = ET
    scores = row(lesion_scores(prediction, volume(), UNIT), "ET")
    assert counts(scores) == (0, 3, 0)
    assert counts(row(lesion_scores(volume(), prediction, UNIT), "ET")) == (0, 0, 1)


@pytest.mark.parametrize(("gap", "lesions"), [(1, 1), (2, 1), (3, 2)])
def test_parts_up_to_two_voxels_apart_are_one_lesion(gap: int, lesions: int) -> None:
    labels = volume(CUBE, ((13 + gap, 10, 10), (3, 3, 3)))
    scores = row(lesion_scores(labels, labels, UNIT), "ET")
    assert counts(scores) == (lesions, 0, 0)
    assert (scores["lesion_wise_dice"], scores["lesion_wise_hd95"]) == (1.0, 0.0)


def test_a_predicted_part_beside_a_merged_lesion_is_half_of_it() -> None:
    reference = volume(CUBE, ((14, 10, 10), (3, 3, 3)))
    scores = row(lesion_scores(volume(CUBE), reference, UNIT), "ET")
    assert scores["lesion_wise_dice"] == pytest.approx(2 * 27 / (27 + 54))
    assert counts(scores) == (1, 0, 0)


def test_regions_are_unions_of_labels() -> None:
    """A core that joins two enhancing parts makes one lesion of TC and leaves two of ET."""
    labels = volume(CUBE, ((17, 10, 10), (3, 3, 3)))
    labels[13:17, 10:13, 10:13] = 1
    labels[10:20, 13:15, 10:13] = 2
    scores = lesion_scores(labels, labels, UNIT)
    assert [each["region"] for each in scores] == ["WT", "TC", "ET"]
    assert [each["lesions_found"] for each in scores] == [1, 1, 2]
    assert [each["reference_volume_mm3"] for each in scores] == [27 * 2 + 36 + 60, 27 * 2 + 36, 27 * 2]
    assert {each["rules"] for each in scores} == {"brats2023"}


@pytest.mark.parametrize("label", [4, 5, 200])
def test_labels_of_no_region_are_background(label: int) -> None:
    reference = volume(CUBE)
    prediction = reference.copy()
    prediction[30:35, 30:35, 20:25] = label
    for scores in lesion_scores(prediction, reference, UNIT):
        assert (scores["lesion_wise_dice"], scores["hd95"], scores["specificity"]) == (1.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("spacing_mm", "expected"),
    [((0.5, 1.0, 1.0), (0, 0, 0)), ((1.0, 1.0, 0.67), (0, 0, 1)), ((3.0, 1.0, 1.0), (0, 0, 1))],
)
def test_the_limit_of_2_mm3_is_a_volume(spacing_mm: tuple[float, float, float], expected: tuple[int, int, int]) -> None:
    reference = volume(THREE_VOXELS)
    assert counts(row(lesion_scores(volume(), reference, spacing_mm), "ET")) == expected


def test_whole_volume_by_hand() -> None:
    prediction, reference = volume(((11, 10, 10), (3, 3, 3)), STRAY), volume(CUBE)
    scores = row(lesion_scores(prediction, reference, (2.0, 1.0, 1.0)), "ET")
    assert scores["dice"] == pytest.approx(2 * 18 / (27 + 28))
    assert scores["sensitivity"] == pytest.approx(18 / 27)
    negatives = np.prod(SHAPE) - 27
    assert scores["specificity"] == pytest.approx((negatives - 10) / negatives)
    assert (scores["reference_volume_mm3"], scores["prediction_volume_mm3"]) == (54.0, 56.0)


def test_an_empty_side_costs_the_penalty_in_the_whole_volume() -> None:
    for pair in ((volume(), volume(CUBE)), (volume(CUBE), volume())):
        scores = row(lesion_scores(*pair, UNIT), "WT")
        assert (scores["dice"], scores["hd95"]) == (0.0, 374.0)


def test_rows_of_lesions() -> None:
    spacing = (1.0, 2.0, 0.5)
    reference = volume(CUBE, ((20, 5, 5), (5, 1, 1)), ((30, 35, 25), (2, 1, 1)))
    prediction = volume(((10, 10, 11), (3, 3, 3)), ((30, 20, 3), (4, 1, 1)))
    lesions = [each for each in lesion_scores(prediction, reference, spacing).lesions if each["region"] == "ET"]
    assert [each["kind"] for each in lesions] == ["found", "missed", "ignored", "false"]
    assert [each["lesion"] for each in lesions] == [1, 2, 3, 4]
    assert [each["reference_volume_mm3"] for each in lesions] == [27.0, 5.0, 2.0, 0.0]
    assert [each["prediction_volume_mm3"] for each in lesions] == [27.0, 0.0, 0.0, 4.0]
    centres = [tuple(each[f"{axis}_mm"] for axis in "xyz") for each in lesions]
    assert centres == [(11.0, 22.0, 5.5), (22.0, 10.0, 2.5), (30.5, 70.0, 12.5), (31.5, 40.0, 1.5)]
    assert [each["dice"] for each in lesions] == [pytest.approx(2 * 18 / 54), 0.0, 0.0, 0.0]
    assert [each["hd95"] for each in lesions] == [0.5, 374.0, 374.0, 374.0]


# ---------------------------------------------------------------- a slow second implementation


def slow_scores(
    prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, float, float]
) -> tuple[float, float, int, int, int]:
    """One region's masks, on the full volume, lesion by lesion, with SciPy's labelling alone."""
    everywhere = np.ones((3, 3, 3))
    grown = ndimage.binary_dilation(reference, ndimage.generate_binary_structure(3, 2))
    lesions, lesion_count = ndimage.label(grown, everywhere)
    parts, part_count = ndimage.label(prediction, everywhere)
    dice_sum = hd_sum = 0.0
    found = missed = 0
    met: set[int] = set()
    for number in range(1, lesion_count + 1):
        matched = set(parts[lesions == number].tolist()) - {0}
        met |= matched
        lesion = (lesions == number) & reference
        if lesion.sum() * np.prod(spacing) <= 2:
            continue
        if not matched:
            missed += 1
            hd_sum += 374
            continue
        match = np.isin(parts, list(matched))
        found += 1
        dice_sum += 2 * (match & lesion).sum() / (match.sum() + lesion.sum())
        hd_sum += hd95(match, lesion, spacing)
    false = part_count - len(met)
    total = found + missed + false
    return (dice_sum / total, (hd_sum + 374 * false) / total, found, missed, false) if total else (1.0, 0.0, 0, 0, 0)


@st.composite
def label_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Sparse speckle with blocks, so that lesions merge, split, touch and miss."""
    pair = []
    for _ in range(2):
        labels = draw(hnp.arrays(np.uint8, (9, 8, 7), elements=st.integers(0, 3), fill=st.just(0)))
        for _ in range(draw(st.integers(0, 4))):
            x, y, z = (draw(st.integers(0, 7)) for _ in range(3))
            labels[x : x + 3, y : y + 2, z : z + 2] = draw(st.integers(1, 3))
        pair.append(labels)
    return pair[0], pair[1]


@settings(max_examples=80, deadline=None)
@given(pair=label_pairs(), spacing=st.sampled_from([UNIT, (0.6, 0.6, 1.5)]))
def test_equals_the_slow_implementation(
    pair: tuple[np.ndarray, np.ndarray], spacing: tuple[float, float, float]
) -> None:
    regions = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}
    for scores in lesion_scores(*pair, spacing):
        prediction, reference = (np.isin(labels, regions[scores["region"]]) for labels in pair)
        dice, hd95_mm, found, missed, false = slow_scores(prediction, reference, spacing)
        assert counts(scores) == (found, false, missed)
        assert scores["lesion_wise_dice"] == pytest.approx(dice, abs=1e-12)
        assert scores["lesion_wise_hd95"] == pytest.approx(hd95_mm, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(pair=label_pairs(), margin=hnp.arrays(int, (3, 2), elements=st.integers(0, 5)), axis=st.integers(0, 2))
def test_place_in_the_image_mirror_and_memory_order_change_nothing(
    pair: tuple[np.ndarray, np.ndarray], margin: np.ndarray, axis: int
) -> None:
    prediction, reference = pair
    scores = lesion_scores(prediction, reference, UNIT)
    other_memory = lesion_scores(np.asfortranarray(prediction), np.asfortranarray(reference), UNIT)
    assert told(other_memory) == told(scores)
    assert told(other_memory.lesions) == told(scores.lesions)
    moved = lesion_scores(np.pad(prediction, margin), np.pad(reference, margin), UNIT)
    flipped = lesion_scores(np.flip(prediction, axis), np.flip(reference, axis), UNIT)
    for before, *after in zip(scores, moved, flipped, strict=True):
        for name in set(before) - {"region", "rules", "specificity"}:
            assert [each[name] for each in after] == pytest.approx([before[name]] * 2, abs=1e-9, nan_ok=True), name
    shift = {f"{side}_mm": float(before) for side, (before, _) in zip("xyz", margin, strict=True)}
    expected = [each | {name: each[name] + by for name, by in shift.items()} for each in scores.lesions]
    assert moved.lesions == [pytest.approx(each) for each in expected]


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize("kind", [np.int16, np.int64, np.float32, np.float64])
def test_any_number_type_that_holds_labels(kind: type) -> None:
    prediction, reference, *_ = SITUATIONS["one lesion in two parts"]
    scores = lesion_scores(prediction.astype(kind), reference.astype(kind), np.array([1, 1, 1], np.float32))
    assert told(scores) == told(lesion_scores(prediction, reference, [1, 1, 1]))


@pytest.mark.parametrize(
    ("prediction", "reference", "spacing_mm", "rules", "message"),
    [
        (volume(), volume()[:-1], UNIT, "brats2023", r"one shape, found \(40, 40, 30\).*\(39, 40, 30\)"),
        (volume()[0], volume()[0], UNIT, "brats2023", r"\[X, Y, Z\]"),
        (volume()[:0], volume()[:0], UNIT, "brats2023", r"found \(0, 40, 30\)"),
        (volume() + 0.5, volume(), UNIT, "brats2023", r"whole numbers.*prediction \(float64\)"),
        (volume(), volume() * np.nan, UNIT, "brats2023", "whole numbers.*reference"),
        (volume(), volume(), (1.0, 1.0), "brats2023", r"spacing_mm, found \[1.0, 1.0\]"),
        (volume(), volume(), (1.0, 0.0, 1.0), "brats2023", "spacing_mm"),
        (volume(), volume(), (1.0, float("nan"), 1.0), "brats2023", "spacing_mm"),
        (volume(), volume(), (1.0, float("inf"), 1.0), "brats2023", "spacing_mm"),
        (volume(), volume(), UNIT, "brats2022", "brats2023, brats2024, brats2026; found 'brats2022'"),
    ],
)
def test_bad_arguments(
    prediction: np.ndarray, reference: np.ndarray, spacing_mm: tuple[float, ...], rules: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        lesion_scores(prediction, reference, spacing_mm, rules=rules)


@settings(max_examples=30, deadline=None)
@given(pair=label_pairs(), order=st.permutations(range(3)), rules=st.sampled_from(["brats2023", "brats2026"]))
def test_numbers_go_by_volume_however_the_axes_lie(
    pair: tuple[np.ndarray, np.ndarray], order: list[int], rules: str
) -> None:
    """By position among equals, so here the numbers of one volume are compared as a set."""

    def told(labels: tuple[np.ndarray, np.ndarray]) -> dict[tuple[str, str, float], list[int]]:
        found: dict[tuple[str, str, float], list[int]] = {}
        for lesion in lesion_scores(*labels, UNIT, rules=rules).lesions:
            key = (lesion["region"], str(lesion["kind"] == "false"), lesion["reference_volume_mm3"])
            found.setdefault((*key[:2], key[2] or -lesion["prediction_volume_mm3"]), []).append(lesion["lesion"])
        return found

    turned = tuple(np.flip(labels.transpose(order), 0) for labels in pair)
    assert told(pair) == told(turned)
    for region in ("WT", "TC", "ET"):
        numbers = [n for key, n in told(pair).items() if key[0] == region and key[1] == "False"]
        assert sorted(itertools.chain(*numbers)) == list(range(1, sum(map(len, numbers)) + 1))
