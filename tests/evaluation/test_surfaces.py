"""Surface elements and distances: by hand, against a slow construction from polygons, and what must not matter."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from surface_distance import compute_robust_hausdorff, compute_surface_distances

from mets3d.evaluation.surfaces import Distances, area_table, hausdorff
from mets3d.ops.voxels import bounding_box
from tests.builders.surfaces import hd95, surface, whole_distances

UNIT = (1.0, 1.0, 1.0)
UNEVEN = (0.5, 1.25, 3.0)
SPACINGS = st.sampled_from([UNIT, UNEVEN, (0.6, 0.6, 1.5)])
MASKS = hnp.arrays(bool, (4, 5, 3))
FILLED = MASKS.filter(lambda mask: bool(mask.any()))


def box(shape: tuple[int, int, int], start: tuple[int, int, int], size: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] = True
    return mask


# ---------------------------------------------------------------- a second way to everything


def polygons(inside: frozenset[tuple[int, int, int]]) -> list[list[np.ndarray]]:
    """Loops of midpoints of cut cell edges around corners that are joined along edges; neighbours share a cell face."""
    corners = list(itertools.product((0, 1), repeat=3))
    near = {a: [b for b in corners if sum(abs(p - q) for p, q in zip(a, b, strict=True)) == 1] for a in corners}
    loops, left = [], set(inside)
    while left:
        part, rim = set(), [left.pop()]
        while rim:
            corner = rim.pop()
            part.add(corner)
            rim += [other for other in near[corner] if other in inside and other not in part]
        left -= part
        cuts = [(np.array(a) + np.array(b)) / 2 for a in part for b in near[a] if b not in part]
        loop = [cuts.pop()]
        while cuts:
            touching = [i for i, cut in enumerate(cuts) if any(cut[k] == loop[-1][k] in (0, 1) for k in range(3))]
            loop.append(cuts.pop(touching[0]))
        loops.append(loop)
    return loops


def triangle_area(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    return float(np.linalg.norm(np.cross(b - a, c - a))) / 2


def folded_area(loop: list[np.ndarray], spacing: tuple[float, float, float], start: int) -> float:
    """Ears cut off every other vertex from `start` on, then the rest, which is flat in every loop of this test."""
    points = [point * spacing for point in loop]
    ears = range(start, len(points), 2) if len(points) == 6 else [start] if len(points) == 5 else []
    area = sum(triangle_area(points[i - 1], points[i], points[(i + 1) % len(points)]) for i in ears)
    rest = [point for i, point in enumerate(points) if i not in ears]
    return area + sum(triangle_area(rest[0], rest[i], rest[i + 1]) for i in range(1, len(rest) - 1))


def lone_vertex(loop: list[np.ndarray]) -> int:
    """The vertex of a pentagon whose two neighbours lie, with it, in one plane across an axis."""
    for i, point in enumerate(loop):
        if any(loop[i - 1][k] == point[k] == loop[(i + 1) % 5][k] == 0.5 for k in range(3)):
            return i
    raise AssertionError("no such vertex")


@cache
def area_by_polygons(code: int, spacing: tuple[float, float, float], hexagon_start: int) -> float:
    corners = list(itertools.product((0, 1), repeat=3))
    inside = frozenset(corner for i, corner in enumerate(corners) if code & (1 << i))
    if len(inside) > 4:
        inside = frozenset(corners) - inside
    starts = {5: lone_vertex, 6: lambda _: hexagon_start}
    return sum(folded_area(loop, spacing, starts.get(len(loop), lambda _: 0)(loop)) for loop in polygons(inside))


def elements(mask: np.ndarray, spacing: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Corner positions in mm and areas, one corner at a time."""
    padded = np.pad(mask, 1)
    places, areas = [], []
    for corner in itertools.product(*(range(side + 1) for side in mask.shape)):
        cell = padded[tuple(slice(k, k + 2) for k in corner)].ravel()
        if 0 < cell.sum() < 8:
            places.append(np.array(corner) * spacing)
            areas.append(area_by_polygons(sum(1 << i for i in range(8) if cell[i]), spacing, 0))
    return np.array(places), np.array(areas)


def slow_hausdorff(a: np.ndarray, b: np.ndarray, spacing: tuple[float, float, float], share: float) -> float:
    (at_a, area_a), (at_b, area_b) = elements(a, spacing), elements(b, spacing)
    apart = np.linalg.norm(at_a[:, None] - at_b[None], axis=2)
    worst = 0.0
    for distances, areas in ((apart.min(1), area_a), (apart.min(0), area_b)):
        reached = [d for d in np.unique(distances) if areas[distances <= d + 1e-9].sum() >= share * areas.sum()]
        worst = max(worst, reached[0])
    return worst


# ---------------------------------------------------------------- areas


@pytest.mark.parametrize("spacing", [UNIT, UNEVEN])
@pytest.mark.parametrize("hexagon_start", [0, 1])
def test_every_area_equals_that_of_its_polygons(spacing: tuple[float, float, float], hexagon_start: int) -> None:
    expected = [area_by_polygons(code, spacing, hexagon_start) for code in range(256)]
    np.testing.assert_allclose(area_table(spacing), expected, rtol=1e-12)


def test_area_of_a_voxel_and_of_a_cube_by_hand() -> None:
    voxel = surface(box((3, 3, 3), (1, 1, 1), (1, 1, 1)), UNIT)
    assert len(voxel.areas_mm2) == 8
    assert voxel.areas_mm2.sum() == pytest.approx(8 * math.sqrt(3) / 8)
    cube = surface(box((5, 5, 5), (1, 1, 1), (3, 3, 3)), UNIT)
    assert len(cube.areas_mm2) == 4**3 - 2**3
    assert cube.areas_mm2.sum() == pytest.approx(8 * math.sqrt(3) / 8 + 12 * 2 * math.sqrt(2) / 2 + 6 * 4 * 1)


def test_area_of_an_uneven_block_by_hand() -> None:
    x, y, z = UNEVEN
    block = surface(box((4, 5, 6), (1, 1, 1), (2, 3, 4)), UNEVEN)
    corners = 8 * math.sqrt((y * z) ** 2 + (x * z) ** 2 + (x * y) ** 2) / 8
    edges = 4 * (1 * x * math.hypot(y, z) + 2 * y * math.hypot(x, z) + 3 * z * math.hypot(x, y)) / 2
    faces = 2 * (2 * 3 * y * z + 1 * 3 * x * z + 1 * 2 * x * y)
    assert block.areas_mm2.sum() == pytest.approx(corners + edges + faces)


def test_corners_are_those_between_the_voxels_even_at_the_image_border() -> None:
    at_border = surface(box((2, 2, 2), (1, 1, 1), (1, 1, 1)), UNIT).where
    assert sorted(map(tuple, at_border.tolist())) == list(itertools.product((1, 2), repeat=3))
    full = surface(np.ones((2, 2, 2), bool), UNIT)
    assert len(full.where) == 26


# ---------------------------------------------------------------- distances


def distances_of(a: np.ndarray, b: np.ndarray, spacing: tuple[float, float, float]) -> Distances:
    return whole_distances(surface(a, spacing), surface(b, spacing), spacing)


def test_distances_of_two_cubes_by_hand() -> None:
    a, b = box((12, 5, 5), (1, 1, 1), (3, 3, 3)), box((12, 5, 5), (6, 1, 1), (3, 3, 3))
    distances = distances_of(a, b, UNIT)
    values, counts = np.unique(distances.prediction_to_reference_mm, return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {2.0: 16, 3.0: 12, 4.0: 12, 5.0: 16}
    end = 4 * math.sqrt(3) / 8 + 8 * math.sqrt(2) / 2 + 4
    side = 4 * math.sqrt(2) / 2 + 8
    near = distances.prediction_areas_mm2[distances.prediction_to_reference_mm <= 4].sum()
    assert near == pytest.approx(end + 2 * side)
    beyond = 100 * (end + 2 * side) / (2 * end + 2 * side)
    assert hausdorff(distances, beyond - 0.01) == 4.0
    assert hausdorff(distances, beyond + 0.01) == 5.0


def test_area_decides_not_the_number_of_elements() -> None:
    """A bar one voxel longer: its end is 4 of 48 elements, more than 5 %, and 2.9 % of the area."""
    short, long = box((3, 3, 14), (1, 1, 1), (1, 1, 10)), box((3, 3, 14), (1, 1, 1), (1, 1, 11))
    distances = distances_of(long, short, UNIT)
    assert (distances.prediction_to_reference_mm == 1).mean() == pytest.approx(4 / 48)
    assert hausdorff(distances) == 0.0
    assert hausdorff(distances, 100.0) == 1.0


def test_the_larger_direction_counts() -> None:
    both = box((20, 3, 3), (1, 1, 1), (1, 1, 1)) | box((20, 3, 3), (11, 1, 1), (1, 1, 1))
    one = box((20, 3, 3), (1, 1, 1), (1, 1, 1))
    assert hd95(both, one, UNIT) == hd95(one, both, UNIT) == 10.0


def test_empty_masks() -> None:
    empty, full = np.zeros((3, 3, 3), bool), box((3, 3, 3), (0, 0, 0), (2, 2, 2))
    assert hd95(empty, empty, UNIT) == 0.0
    assert hd95(empty, full, UNIT) == hd95(full, empty, UNIT) == math.inf
    assert np.isinf(distances_of(full, empty, UNIT).prediction_to_reference_mm).all()
    assert not len(surface(empty, UNIT).where)
    assert bounding_box(empty) is None


@settings(max_examples=60, deadline=None)
@given(a=FILLED, b=FILLED, spacing=SPACINGS, percent=st.sampled_from([50.0, 95.0, 99.0]))
def test_equals_the_slow_construction(
    a: np.ndarray, b: np.ndarray, spacing: tuple[float, float, float], percent: float
) -> None:
    """Exactly on the asked share the last bit decides, so a share just below and one just above are the bounds."""
    fast = hausdorff(distances_of(a, b, spacing), percent)
    below, above = (slow_hausdorff(a, b, spacing, percent / 100 + tip) for tip in (-1e-9, 1e-9))
    assert below - 1e-9 <= fast <= above + 1e-9


@settings(max_examples=60, deadline=None)
@given(a=FILLED, b=FILLED, spacing=SPACINGS, margin=hnp.arrays(int, (3, 2), elements=st.integers(0, 4)))
def test_position_crop_and_direction_change_nothing(
    a: np.ndarray, b: np.ndarray, spacing: tuple[float, float, float], margin: np.ndarray
) -> None:
    value = hd95(a, b, spacing)
    assert hd95(np.pad(a, margin), np.pad(b, margin), spacing) == value
    assert hd95(b, a, spacing) == value
    for axis in range(3):
        assert hd95(np.flip(a, axis), np.flip(b, axis), spacing) == pytest.approx(value, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(a=FILLED, b=FILLED, order=st.permutations(range(3)))
def test_axes_and_units_go_with_the_spacing(a: np.ndarray, b: np.ndarray, order: list[int]) -> None:
    value = hd95(a, b, UNEVEN)
    x, y, z = (UNEVEN[k] for k in order)
    assert hd95(a.transpose(order), b.transpose(order), (x, y, z)) == pytest.approx(value, abs=1e-9)
    assert hd95(a, b, (4 * UNEVEN[0], 4 * UNEVEN[1], 4 * UNEVEN[2])) == pytest.approx(4 * value, abs=1e-9)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of that program
@settings(max_examples=40, deadline=None)
@given(a=FILLED, b=FILLED, spacing=SPACINGS, percent=st.sampled_from([50.0, 95.0, 100.0]))
def test_equals_the_program_that_the_challenge_calls(
    a: np.ndarray, b: np.ndarray, spacing: tuple[float, float, float], percent: float
) -> None:
    """DeepMind's surface-distance; beyond the image it sees the image's edge repeated, so the masks get a margin."""
    padded = np.pad(a, 1), np.pad(b, 1)
    theirs = compute_robust_hausdorff(compute_surface_distances(*padded, spacing), percent)
    ours = hausdorff(distances_of(*padded, spacing), percent)
    tip = 1e-9  # where the share is reached exactly, the last bit decides
    below, above = (hausdorff(distances_of(*padded, spacing), min(percent + by, 100.0)) for by in (-tip, tip))
    assert ours == pytest.approx(theirs) or below - 1e-9 <= theirs <= above + 1e-9
