"""The rules of 2024 and 2026: situations by hand, slow second implementations, clusters and growing."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mets3d.evaluation.lesion_maps import lesion_maps
from mets3d.evaluation.lesions import lesion_scores
from mets3d.evaluation.rules import BLOCK, BRATS_2024, RULE_SETS, clusters, grow
from tests.evaluation.test_lesions import (
    CUBE,
    ONE,
    SHAPE,
    STRAY,
    STRAYS,
    THREE_VOXELS,
    TWO_VOXELS,
    UNIT,
    counts,
    label_pairs,
    row,
    told,
    volume,
)

NAN = math.nan
JOINED = volume(CUBE, ((17, 10, 10), (3, 3, 3)))
JOINED[13:17, 10:13, 10:13] = 1

# Name: prediction, reference; 2024: Dice, NSD at 1 mm, (found, false, missed); 2026: Dice, counts, F1 of small lesions.
SITUATIONS: dict[str, tuple[Any, ...]] = {
    "perfect and one stray voxel": (volume(CUBE, STRAY), volume(CUBE), 1, 1, (1, 0, 0), 0.5, (1, 1, 0), NAN),
    "perfect and three stray voxels": (volume(CUBE, STRAYS), volume(CUBE), 0.5, 0.5, (1, 1, 0), 0.5, (1, 1, 0), NAN),
    "2 voxels missed": (volume(), volume(TWO_VOXELS), 1, 1, (0, 0, 0), NAN, (0, 0, 1), 0),
    "3 voxels missed": (volume(), volume(THREE_VOXELS), 0, 0, (0, 0, 1), NAN, (0, 0, 1), 0),
    "blob beside one voxel": (volume(((11, 10, 10), (3, 3, 3))), volume(ONE), 1, 1, (0, 0, 0), NAN, (0, 1, 1), 0),
    "touching faces": (volume(((13, 10, 10), (3, 3, 3))), volume(CUBE), 0, None, (1, 0, 0), 0, (0, 1, 1), NAN),
    "touching edges": (volume(((13, 13, 10), (3, 3, 3))), volume(CUBE), 0, None, (1, 0, 0), 0, (0, 1, 1), NAN),
    "touching corners": (volume(((13, 13, 13), (3, 3, 3))), volume(CUBE), 0, 0, (0, 1, 1), 0, (0, 1, 1), NAN),
    "two voxels apart": (volume(CUBE, ((15, 10, 10), (3, 3, 3))),) * 2 + (1, 1, (1, 0, 0), 1, (2, 0, 0), NAN),
    "one blob over two": (
        volume(((10, 10, 10), (9, 3, 3))),
        volume(CUBE, ((16, 10, 10), (3, 3, 3))),
        *(0.5, None, (2, 0, 0), 0.25, (1, 0, 1), NAN),
    ),
    "one in two parts": (
        volume(CUBE, ((16, 10, 10), (3, 3, 3))),
        volume(((10, 10, 10), (9, 3, 3))),
        *(0.8, None, (1, 0, 0), 0.25, (1, 1, 0), NAN),
    ),
    "two parts joined by a core": (JOINED, JOINED, 1, 1, (1, 0, 0), 1, (2, 0, 0), NAN),
    "both empty": (volume(), volume(), 1, 1, (0, 0, 0), NAN, (0, 0, 0), NAN),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_situations_by_hand(situation: str) -> None:
    prediction, reference, dice24, nsd24, counts24, dice26, counts26, small_f1 = SITUATIONS[situation]
    of_2024 = row(lesion_scores(prediction, reference, UNIT, rules="brats2024"), "ET")
    assert of_2024["lesion_wise_dice"] == pytest.approx(dice24)
    if nsd24 is not None:
        assert of_2024["lesion_wise_nsd_1.0"] == pytest.approx(nsd24, abs=1e-8)
    assert counts(of_2024) == counts24
    of_2026 = row(lesion_scores(prediction, reference, UNIT, rules="brats2026"), "ET")
    assert of_2026["lesion_wise_dice"] == pytest.approx(dice26, nan_ok=True)
    assert counts(of_2026) == counts26
    assert of_2026["small_f1"] == pytest.approx(small_f1, nan_ok=True)


def test_penalties_go_with_the_rules() -> None:
    pair = volume(), volume(CUBE)
    found = {rules.name: row(lesion_scores(*pair, UNIT, rules=rules.name), "ET") for rules in RULE_SETS}
    diagonal = math.sqrt(sum(side**2 for side in SHAPE))
    assert {name: scores["lesion_wise_hd95"] for name, scores in found.items()} == {
        "brats2023": 374.0,
        "brats2024": diagonal,
        "brats2026": 373.0,
    }
    assert {name: scores["hd95"] for name, scores in found.items()} == {
        name: scores["lesion_wise_hd95"] for name, scores in found.items()
    }
    assert [scores["dice"] for scores in found.values()] == [0.0, 0.0, 0.0]


def test_the_cavity_is_scored_from_2024_on() -> None:
    reference = volume(CUBE, label=4)
    for rules, regions in (("brats2023", 3), ("brats2024", 4), ("brats2026", 4)):
        scores = lesion_scores(reference, reference, UNIT, rules=rules)
        assert len(scores) == regions
        assert [counts(each) for each in scores][3:] == [(1, 0, 0)][: regions - 3]


def test_a_part_between_two_cores_goes_with_the_first_and_joining_is_not_passed_on() -> None:
    """Three parts of ET in a row with cores between them: the middle one joins the first, the third stays alone."""
    labels = volume(*(((x, 10, 10), (3, 2, 2)) for x in (3, 12, 21)))  # cores three voxels apart, so two of them
    labels[6:12, 10:12, 10:12] = 1
    labels[15:21, 10:12, 10:12] = 1
    assert counts(row(lesion_scores(labels, labels, UNIT, rules="brats2024"), "ET")) == (2, 0, 0)
    numbers = lesion_maps(labels, labels, UNIT, rules="brats2024")["ET"].reference
    assert numbers[4, 10, 10] == numbers[12, 10, 10] != numbers[21, 10, 10]


@pytest.mark.parametrize(("step", "lesions"), [((0, 0, 1), 1), ((0, 1, 1), 1), ((1, 1, 1), 2)])
def test_a_core_joins_parts_at_faces_and_edges_and_not_at_corners(step: tuple[int, int, int], lesions: int) -> None:
    x, y, z = step
    labels = volume(*(((15 + by * x, 15 + by * y, 15 + by * z), (2, 2, 2)) for by in (-2, 3)))  # three voxels apart
    assert counts(row(lesion_scores(labels, labels, UNIT, rules="brats2024"), "ET")) == (2, 0, 0)
    labels[15:18, 15:18, 15:18] = 1
    assert counts(row(lesion_scores(labels, labels, UNIT, rules="brats2024"), "ET")) == (lesions, 0, 0)


def test_the_first_core_is_the_first_with_x_running_fastest() -> None:
    """The upper core starts at a smaller x, the lower one at a smaller z: the lower one is the first."""
    labels = volume(((10, 10, 12), (3, 3, 3)), ((4, 10, 19), (2, 2, 2)), ((20, 10, 6), (2, 2, 2)))
    labels[4:12, 11, 15:19] = 1  # up, and back to x = 4
    labels[12:22, 11, 8:12] = 1  # down, and on to x = 21
    numbers = lesion_maps(labels, labels, UNIT, rules="brats2024")["ET"].reference
    assert numbers[10, 10, 12] == numbers[20, 10, 6] != numbers[4, 10, 19]


def test_2024_deletes_two_voxels_whatever_their_size() -> None:
    prediction, reference = volume(CUBE, ((30, 30, 20), (2, 1, 1))), volume(CUBE)
    scores = row(lesion_scores(prediction, reference, (3.0, 3.0, 3.0), rules="brats2024"), "ET")
    assert counts(scores) == (1, 0, 0)
    assert (scores["legacy_dice"], scores["dice"]) == (1.0, pytest.approx(2 * 27 / (27 + 29)))
    assert BRATS_2024.deleted_up_to_voxels == 2


def test_2026_detects_from_dice_and_size() -> None:
    """A large lesion half found, one barely met, a small one found; one false component counts in both classes."""
    reference = volume(CUBE, ((20, 10, 10), (4, 4, 4)), ((30, 30, 10), (2, 2, 2)))
    prediction = volume(((10, 10, 10), (3, 3, 1)), ((23, 13, 13), (2, 2, 2)), ((30, 30, 10), (2, 2, 2)), STRAY)
    scores = row(lesion_scores(prediction, reference, UNIT, rules="brats2026"), "ET")
    assert counts(scores) == (3, 1, 0)
    assert [scores[f"large_{name}"] for name in ("found", "missed", "false")] == [1, 1, 1]
    assert [scores[f"small_{name}"] for name in ("found", "missed", "false")] == [1, 0, 1]
    assert (scores["large_f1"], scores["small_f1"]) == (pytest.approx(2 / 4), pytest.approx(2 / 3))
    dice = (2 * 9 / 36, 2 * 1 / 72, 0.0)
    assert scores["lesion_wise_dice"] == pytest.approx(np.mean(dice))
    assert scores["lesion_wise_dice_sd"] == pytest.approx(np.std(dice))


@pytest.mark.parametrize("mirrored", [False, True])
def test_2026_pairs_for_the_best_sum(mirrored: bool) -> None:
    """Two lesions and two components, all four pairs overlapping: whichever is numbered first, the better pairs win."""
    near, far = ((8, 10, 10), (10, 8, 3)), ((20, 10, 10), (10, 8, 3))
    mostly_far, mostly_near = volume(((16, 10, 10), (14, 3, 3))), volume(((8, 14, 10), (14, 4, 3)))
    prediction, reference = mostly_far + mostly_near, volume(near, far)
    if mirrored:
        prediction, reference, mostly_far, mostly_near = (
            np.flip(labels, 1) for labels in (prediction, reference, mostly_far, mostly_near)
        )
    pairs = [(volume(near), mostly_near), (volume(far), mostly_far)]
    expected = [
        2 * (a & b).sum() / (a.sum() + b.sum())
        for a, b in (((np.flip(x, 1) if mirrored else x) > 0, y > 0) for x, y in pairs)
    ]
    scores = row(lesion_scores(prediction, reference, UNIT, rules="brats2026"), "ET")
    assert counts(scores) == (2, 0, 0)
    assert scores["lesion_wise_dice"] == pytest.approx(np.mean(expected))


@pytest.mark.parametrize(("side", "large"), [(0.99, False), (1.0, True)])
def test_27_mm3_is_large(side: float, large: bool) -> None:
    scores = row(lesion_scores(volume(CUBE), volume(CUBE), (1.0, 1.0, side), rules="brats2026"), "ET")
    assert math.isnan(scores["large_found"]) == (not large)
    assert math.isnan(scores["small_found"]) == large
    assert math.isnan(scores["lesion_wise_dice"]) == (not large)


@pytest.mark.parametrize("label", [5, 200])
def test_2026_refuses_labels_it_does_not_know(label: int) -> None:
    odd = volume(CUBE, label=label)
    with pytest.raises(ValueError, match=rf"labels 0 to 4 under brats2026, found {label} in the reference"):
        lesion_scores(volume(), odd, UNIT, rules="brats2026")
    assert counts(row(lesion_scores(volume(), odd, UNIT, rules="brats2024"), "WT")) == (0, 0, 0)


def test_compat_swaps_the_first_and_the_last_side() -> None:
    prediction, reference = volume(((12, 10, 10), (3, 3, 3))), volume(CUBE)
    uneven = (1.0, 2.0, 4.0)
    swapped = row(lesion_scores(prediction, reference, uneven, rules="brats2026", compat="organisers"), "ET")
    right = row(lesion_scores(prediction, reference, uneven[::-1], rules="brats2026"), "ET")
    assert swapped["lesion_wise_hd95"] == right["lesion_wise_hd95"] == 8.0
    own = row(lesion_scores(prediction, reference, uneven, rules="brats2026"), "ET")
    assert (own["lesion_wise_hd95"], own["hd95"], swapped["hd95"]) == (2.0, 2.0, 2.0)
    with pytest.raises(ValueError, match="compat to be organisers"):
        lesion_scores(prediction, reference, uneven, compat="yes")


def test_size_classes_hold_what_lies_between_their_edges() -> None:
    """Reference volumes of 1, 8 and 27 mm3 and false ones of 1 and 30."""
    reference = volume(ONE, ((20, 10, 10), (2, 2, 2)), ((30, 10, 10), (3, 3, 3)))
    prediction = volume(((20, 10, 10), (2, 2, 2)), ((30, 30, 3), (1, 1, 1)), ((10, 30, 10), (5, 3, 2)))
    scores = row(lesion_scores(prediction, reference, UNIT, rules="brats2026"), "ET")
    found = {
        name: [scores[f"{kind}_{name}"] for kind in ("found", "missed", "false")]
        for name in ("below_2", "2_to_27", "27_to_100", "100_to_275", "from_275")
    }
    assert found == {
        "below_2": [0, 1, 1],
        "2_to_27": [1, 0, 0],
        "27_to_100": [0, 1, 1],
        "100_to_275": [0, 0, 0],
        "from_275": [0, 0, 0],
    }
    assert (scores["recall_2_to_27"], scores["precision_27_to_100"]) == (1.0, 0.0)
    assert math.isnan(scores["recall_from_275"])
    other = lesion_scores(prediction, reference, UNIT, rules="brats2026", size_edges_mm3=[8])
    assert [row(other, "ET")[f"found_{name}"] for name in ("below_8", "from_8")] == [0, 1]
    for bad in ([3, 2], [2, 2], [0.0], [float("nan")], [2, float("inf")]):
        with pytest.raises(ValueError, match="ascending size edges"):
            lesion_scores(prediction, reference, UNIT, size_edges_mm3=bad)


def test_chosen_regions_and_no_distances() -> None:
    prediction, reference, *_ = SITUATIONS["one in two parts"]
    for rules in RULE_SETS:
        everything = lesion_scores(prediction, reference, UNIT, rules=rules.name)
        (only,) = lesion_scores(prediction, reference, UNIT, rules=rules.name, regions=["TC"], distances=False)
        assert not any("hd95" in name or "nsd" in name for name in only)
        assert told([only]) == told([{name: row(everything, "TC")[name] for name in only}])
    with pytest.raises(ValueError, match="regions of brats2023: WT, TC, ET; found RC"):
        lesion_scores(prediction, reference, UNIT, regions=["RC"])


# ---------------------------------------------------------------- slow second implementations

EVERYWHERE = np.ones((3, 3, 3))


def slow_2026(prediction: np.ndarray, reference: np.ndarray) -> tuple[list[tuple[int, float]], int]:
    """Size and Dice of every lesion, 0 for a missed one, and the false ones, by trying all pairings."""
    theirs, lesions = ndimage.label(reference, EVERYWHERE)
    ours, parts = ndimage.label(prediction, EVERYWHERE)
    dice = np.zeros((lesions, max(parts, 1)))
    for i, j in np.ndindex(lesions, parts):
        a, b = theirs == i + 1, ours == j + 1
        dice[i, j] = 2 * (a & b).sum() / (a.sum() + b.sum())
    choices = [None, *range(parts)]
    best: tuple[float, tuple[int | None, ...]] = (math.inf, ())
    for pairing in itertools.product(choices, repeat=lesions):
        used = [j for j in pairing if j is not None]
        if len(used) == len(set(used)) and all(j is None or dice[i, j] > 0 for i, j in enumerate(pairing)):
            cost = sum(1 - dice[i, j] if j is not None else 1 for i, j in enumerate(pairing))
            if cost < best[0] - 1e-12:
                best = (cost, pairing)
    scores = [0.0 if j is None else float(dice[i, j]) for i, j in enumerate(best[1])]
    sizes = [int((theirs == i + 1).sum()) for i in range(lesions)]
    return list(zip(sizes, scores, strict=True)), parts - sum(score > 0 for score in scores)


@st.composite
def few_lesions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """At most three lesions and three components, so that all pairings can be tried."""
    pair = []
    for _ in range(2):
        labels = np.zeros((12, 9, 8), np.uint8)
        for _ in range(draw(st.integers(0, 3))):
            x, y, z = (draw(st.integers(0, 6)) for _ in range(3))
            labels[x : x + draw(st.integers(1, 6)), y : y + 3, z : z + draw(st.integers(1, 3))] = 3
        pair.append(labels)
    return pair[0], pair[1]


@settings(max_examples=60, deadline=None)
@given(pair=few_lesions())
def test_2026_equals_trying_all_pairings(pair: tuple[np.ndarray, np.ndarray]) -> None:
    scores = row(lesion_scores(*pair, UNIT, rules="brats2026"), "ET")
    lesions, false = slow_2026(pair[0] == 3, pair[1] == 3)
    large = [dice for size, dice in lesions if size >= 27]
    assert scores["lesions_false"] == false
    assert scores["lesions_found"] == sum(dice > 0 for _, dice in lesions)
    expected = sum(large) / (len(large) + false) if large else NAN
    assert scores["lesion_wise_dice"] == pytest.approx(expected, nan_ok=True)


def slow_2024(prediction: np.ndarray, reference: np.ndarray) -> tuple[float, tuple[int, int, int]]:
    """WT: lesion-wise Dice and (found, false, missed), on whole volumes with SciPy's labelling alone."""
    step = ndimage.generate_binary_structure(3, 2)
    merged = [
        ndimage.label(ndimage.binary_dilation(mask, step), EVERYWHERE)[0] * mask for mask in (prediction, reference)
    ]
    ours, theirs = merged
    for number in range(1, int(ours.max()) + 1):
        if (ours == number).sum() <= 2:
            ours[ours == number] = 0
    met: set[int] = set()
    dice, found, missed = 0.0, 0, 0
    for number in range(1, int(theirs.max()) + 1):
        lesion = theirs == number
        matched = set(ours[ndimage.binary_dilation(lesion, step)].tolist()) - {0}
        met |= matched
        if lesion.sum() > 2:
            match = np.isin(ours, list(matched))
            found, missed = found + bool(matched), missed + (not matched)
            dice += 2 * (match & lesion).sum() / (match.sum() + lesion.sum())
    false = len(set(ours[ours > 0].tolist()) - met)
    total = found + missed + false
    return (dice / total if total else 1.0), (found, false, missed)


@settings(max_examples=80, deadline=None)
@given(pair=label_pairs())
def test_2024_equals_the_slow_implementation(pair: tuple[np.ndarray, np.ndarray]) -> None:
    scores = row(lesion_scores(*pair, UNIT, rules="brats2024"), "WT")
    dice, expected = slow_2024(pair[0] > 0, pair[1] > 0)
    assert counts(scores) == expected
    assert scores["lesion_wise_dice"] == pytest.approx(dice, abs=1e-12)


# ---------------------------------------------------------------- clusters and growing


@settings(max_examples=60, deadline=None)
@given(pair=label_pairs())
def test_growing_is_scipys(pair: tuple[np.ndarray, np.ndarray]) -> None:
    mask = np.pad(pair[0] > 0, 1)
    assert np.array_equal(grow(mask), ndimage.binary_dilation(mask, ndimage.generate_binary_structure(3, 2)))


def test_clusters_hold_every_voxel_once_and_lie_apart() -> None:
    rng = np.random.default_rng(0)
    prediction, reference = (np.zeros((90, 70, 60), np.uint8) for _ in range(2))
    for labels in (prediction, reference):
        for _ in range(9):
            x, y, z = rng.integers(0, (85, 65, 55))
            labels[x : x + 4, y : y + 3, z : z + 5] = rng.integers(1, 5)
    found = clusters(prediction, reference)
    assert len(found) > 3
    again = [np.zeros_like(prediction), np.zeros_like(reference)]
    voxels = []
    for cluster in found:
        for image, part in zip(again, (cluster.prediction, cluster.reference), strict=True):
            inside = np.argwhere(part)
            image[tuple((inside + cluster.corner).T)] = part[tuple(inside.T)]
        voxels.append(np.argwhere((cluster.prediction > 0) | (cluster.reference > 0)) + cluster.corner)
        for axis, end in itertools.product(range(3), (0, -1)):
            assert not np.moveaxis(cluster.prediction, axis, 0)[end].any()
    assert np.array_equal(again[0], prediction)
    assert np.array_equal(again[1], reference)
    for one, other in itertools.combinations(voxels, 2):
        assert np.abs(one[:, None] - other[None]).max(2).min() > BLOCK
    assert clusters(volume(), volume()) == []


@settings(max_examples=30, deadline=None)
@given(pair=label_pairs(), apart=st.integers(12, 30), rules=st.sampled_from([rules.name for rules in RULE_SETS]))
def test_cases_far_apart_in_one_image_add_up(pair: tuple[np.ndarray, np.ndarray], apart: int, rules: str) -> None:
    """The same situation twice in one image has twice the lesions, and the same means."""
    one = lesion_scores(*pair, UNIT, rules=rules)
    wide = [np.zeros((labels.shape[0] * 2 + apart, *labels.shape[1:]), np.uint8) for labels in pair]
    for image, labels in zip(wide, pair, strict=True):
        image[: labels.shape[0]] = image[-labels.shape[0] :] = labels
    both = lesion_scores(*wide, UNIT, rules=rules)
    for single, double in zip(one, both, strict=True):
        assert tuple(2 * number for number in counts(single)) == counts(double)
        assert double["lesion_wise_dice"] == pytest.approx(single["lesion_wise_dice"], nan_ok=True)
        assert double["reference_volume_mm3"] == 2 * single["reference_volume_mm3"]
    assert [lesion["lesion"] for lesion in both.lesions if lesion["region"] == "WT"] == list(
        range(1, sum(lesion["region"] == "WT" for lesion in both.lesions) + 1)
    )


@settings(max_examples=30, deadline=None)
@given(pair=label_pairs(), rules=st.sampled_from([rules.name for rules in RULE_SETS]))
def test_maps_show_the_lesions_of_the_table(pair: tuple[np.ndarray, np.ndarray], rules: str) -> None:
    scores = lesion_scores(*pair, (1.0, 0.5, 2.0), rules=rules)
    for name, found in lesion_maps(*pair, (1.0, 0.5, 2.0), rules=rules).items():
        rows = [lesion for lesion in scores.lesions if lesion["region"] == name]
        assert found.kinds == {lesion["lesion"]: lesion["kind"] for lesion in rows}
        for lesion in rows:
            drawn = (found.false if lesion["kind"] == "false" else found.reference) == lesion["lesion"]
            volume_mm3 = lesion["prediction_volume_mm3" if lesion["kind"] == "false" else "reference_volume_mm3"]
            assert drawn.sum() == volume_mm3
            centre = np.argwhere(drawn).mean(0) * (1.0, 0.5, 2.0)
            assert centre == pytest.approx([lesion[f"{axis}_mm"] for axis in "xyz"])
