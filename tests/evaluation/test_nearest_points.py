"""Nearest points and border distances: against all pairs, against SciPy and MONAI, and every way of looking."""

from __future__ import annotations

import math
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.metrics import compute_dice, compute_hausdorff_distance
from scipy import ndimage

from mets3d.evaluation import surfaces
from mets3d.evaluation.region_scores import overlap
from mets3d.evaluation.surfaces import (
    Points,
    border,
    nearest_points,
    normalised_surface_dice,
    point_distances,
    pooled_hausdorff,
)
from tests.builders.surfaces import border_surface, whole_distances


def nearest_mm(start: np.ndarray, goal: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    return nearest_points(start, goal, spacing).distance_mm


UNIT = (1.0, 1.0, 1.0)
SPACINGS = st.sampled_from([UNIT, (0.5, 1.25, 3.0), (0.6, 0.6, 1.5)])
MASKS = hnp.arrays(bool, (6, 7, 5), elements=st.booleans())
FILLED = MASKS.filter(lambda mask: bool(mask.any()))


def cloud(seed: int, points: int, size: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.unique(rng.integers(-size, size, (points, 3)), axis=0)


def all_pairs(start: np.ndarray, goal: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    steps = (start[:, None] - goal[None]) * spacing
    return np.asarray(np.sqrt((steps**2).sum(2)).min(1))


@pytest.mark.parametrize("spacing", [UNIT, (0.5, 1.25, 3.0), (0.859, 0.859, 1.5)])
@pytest.mark.parametrize(("points", "size"), [(3, 5), (150, 4), (400, 12), (900, 40)])
@pytest.mark.parametrize("way", ["as it comes", "tree", "transform"])
def test_equals_all_pairs(way: str, points: int, size: int, spacing: tuple[float, float, float]) -> None:
    start, goal = cloud(0, points, size), cloud(1, points // 2 + 1, size)
    per_point = {"as it comes": surfaces.VOXELS_PER_POINT, "tree": 0, "transform": 10**6}[way]
    with mock.patch.object(surfaces, "VOXELS_PER_POINT", per_point):
        found = nearest_points(start, goal, spacing)
    expected = all_pairs(start, goal, spacing)
    np.testing.assert_allclose(found.distance_mm, expected, rtol=1e-13)
    told = np.sqrt((((goal[found.index] - start) * spacing) ** 2).sum(1))
    np.testing.assert_array_equal(told, found.distance_mm)
    np.testing.assert_array_equal(nearest_mm(start, goal, spacing), found.distance_mm)


def test_no_goal_is_infinitely_far() -> None:
    found = nearest_points(cloud(0, 5, 3), np.zeros((0, 3), np.int64), UNIT)
    assert np.isinf(found.distance_mm).all()
    assert (found.index == -1).all()
    assert len(nearest_points(np.zeros((0, 3), np.int64), cloud(0, 5, 3), UNIT).index) == 0


@pytest.mark.parametrize("side", [0.1, 0.7, 0.859, 1.1, 1 / 3])
def test_a_step_is_exactly_its_side(side: float) -> None:
    """Else NSD at the smallest spacing would depend on rounding."""
    start = np.array([[7, 3, x] for x in range(300)])
    spacing = (2.0, 2.0, side)
    assert nearest_mm(start[1:], start[:1], spacing)[0] == side
    assert (nearest_mm(start * [1, 1, 2] + [0, 0, 1], start * [1, 1, 2], spacing) == side).all()


@settings(max_examples=60, deadline=None)
@given(mask=MASKS)
def test_border_voxels_are_those_that_erosion_takes(mask: np.ndarray) -> None:
    taken = mask & ~ndimage.binary_erosion(mask)
    np.testing.assert_array_equal(border(mask), np.argwhere(taken))


@settings(max_examples=60, deadline=None)
@given(a=FILLED, b=FILLED, spacing=SPACINGS)
def test_border_scores_equal_those_by_distance_transforms(
    a: np.ndarray, b: np.ndarray, spacing: tuple[float, float, float]
) -> None:
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (a, b)]
    to_b, to_a = (ndimage.distance_transform_edt(~goal, spacing)[start] for start, goal in (edges, edges[::-1]))
    distances = whole_distances(border_surface(a), border_surface(b), spacing)
    np.testing.assert_allclose(distances.prediction_to_reference_mm, to_b, rtol=1e-13)
    np.testing.assert_allclose(distances.reference_to_prediction_mm, to_a, rtol=1e-13)
    assert pooled_hausdorff(distances) == pytest.approx(np.percentile(np.concatenate([to_a, to_b]), 95))
    for tolerance in (0.5, 1.0, min(spacing)):
        expected = ((to_a <= tolerance).mean() + (to_b <= tolerance).mean()) / 2
        assert normalised_surface_dice(distances, tolerance) == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # MONAI's own
@settings(max_examples=30, deadline=None)
@given(a=FILLED, b=FILLED, spacing=SPACINGS)
def test_the_farthest_border_voxel_and_dice_are_monais(
    a: np.ndarray, b: np.ndarray, spacing: tuple[float, float, float]
) -> None:
    """At 100 % pooling makes no difference, and MONAI's Hausdorff distance is between the same border voxels."""
    tensors = [torch.from_numpy(mask)[None, None] for mask in (a, b)]
    theirs = compute_hausdorff_distance(*tensors, include_background=True, spacing=list(spacing))
    distances = whole_distances(border_surface(a), border_surface(b), spacing)
    assert pooled_hausdorff(distances, 100.0) == pytest.approx(float(theirs), rel=1e-6)
    assert overlap([(a, b)], a.size).dice == pytest.approx(float(compute_dice(*tensors)), rel=1e-6)


def test_empty_borders() -> None:
    nothing, something = (border_surface(np.full((3, 3, 3), filled)) for filled in (False, True))
    assert len(nothing.where) == 0
    for pair in ((nothing, something), (something, nothing)):
        distances = whole_distances(*pair, UNIT)
        assert normalised_surface_dice(distances, 1.0) == 0.0
        assert pooled_hausdorff(distances) == math.inf
    both = whole_distances(nothing, nothing, UNIT)
    assert math.isnan(normalised_surface_dice(both, 1.0))
    assert math.isnan(pooled_hausdorff(both))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), spacing=SPACINGS)
def test_distances_of_a_choice_equal_a_search_among_the_chosen(seed: int, spacing: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(seed)
    sides = [cloud(seed + k, 120, 9) for k in range(2)]
    points = [Points(where, rng.integers(0, 4, len(where)), rng.random(len(where))) for where in sides]
    both = point_distances(*points, spacing)
    chosen = [np.flatnonzero(rng.random(len(where)) < 0.3) for where in sides]
    distances = both.between(*chosen)
    ours, theirs = (where[index] for where, index in zip(sides, chosen, strict=True))
    np.testing.assert_array_equal(distances.prediction_to_reference_mm, nearest_mm(ours, theirs, spacing))
    np.testing.assert_array_equal(distances.reference_to_prediction_mm, nearest_mm(theirs, ours, spacing))
    np.testing.assert_array_equal(distances.prediction_areas_mm2, points[0].areas_mm2[chosen[0]])
    nobody = both.between(chosen[0], np.zeros(0, np.int64))
    assert np.isinf(nobody.prediction_to_reference_mm).all()
