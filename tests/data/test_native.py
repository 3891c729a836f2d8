"""Scans on different grids, brought onto that of t1c by their headers."""

import numpy as np
import pytest

from mets3d.data.brain import with_background
from mets3d.data.native import how_far, image_onto, is_on_grid, labels_onto, reference_of, volumes_mm3
from mets3d.data.nifti import Grid, ImageVolume, LabelVolume

PLANE = np.array([0.7, -1.3, 2.1, 40.0])  # a value that is linear in the world, which interpolation keeps


def turned(degrees: float, axis: int) -> np.ndarray:
    a, b = [(1, 2), (0, 2), (0, 1)][axis]
    turn = np.eye(4)
    angle = np.deg2rad(degrees)
    turn[a, a] = turn[b, b] = np.cos(angle)
    turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
    return turn


def affine(shape: tuple[int, ...], sides: tuple[float, ...], turn: np.ndarray, centre: tuple[float, ...]) -> np.ndarray:
    """An affine whose volume has its centre there."""
    found = turn @ np.diag([*sides, 1.0])
    found[:3, 3] = np.array(centre) - found[:3, :3] @ ((np.array(shape) - 1) / 2)
    return found


def image(data: np.ndarray, placed: np.ndarray) -> ImageVolume:
    sides = tuple(np.linalg.norm(placed[:3, :3], axis=0).tolist())
    return ImageVolume(data.astype(np.float32), sides, placed, Grid(data.shape, placed, sides, {}))


def labels(data: np.ndarray, placed: np.ndarray) -> LabelVolume:
    one = image(data, placed)
    return LabelVolume(data.astype(np.uint8), one.spacing_mm, placed, one.source)


def world(shape: tuple[int, ...], placed: np.ndarray) -> np.ndarray:
    indices = np.stack([*np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), np.ones(shape)], axis=-1)
    return indices @ placed.T


T1C_SHAPE, T2F_SHAPE = (30, 28, 12), (26, 32, 14)
T1C = affine(T1C_SHAPE, (0.9, 0.9, 3.0), turned(7, 0), (5, -3, 10))
T2F = affine(T2F_SHAPE, (1.0, 0.8, 2.5), turned(-9, 1) @ turned(4, 2), (6, -4, 9))
TARGET = image(np.zeros(T1C_SHAPE), T1C)


def test_a_value_keeps_its_place_in_the_world() -> None:
    source = image(world(T2F_SHAPE, T2F) @ PLANE, T2F)
    found = image_onto(source, TARGET)
    assert found.shape == T1C_SHAPE
    np.testing.assert_array_equal(found.affine, T1C)
    assert (found.source, found.spacing_mm) == (TARGET.source, TARGET.spacing_mm)
    places = world(T1C_SHAPE, T1C)
    index = places @ np.linalg.inv(T2F).T
    between = ((index[..., :3] >= 0) & (index[..., :3] <= np.array(T2F_SHAPE) - 1)).all(-1)
    beyond = ((index[..., :3] < -0.51) | (index[..., :3] > np.array(T2F_SHAPE) - 0.49)).any(-1)
    np.testing.assert_allclose(found.data[between], (places @ PLANE)[between], atol=1e-3)
    assert between.mean() > 0.5
    assert beyond.mean() > 0.02
    assert (found.data[beyond] == 0).all()
    within = ((index[..., :3] > -0.49) & (index[..., :3] < np.array(T2F_SHAPE) - 0.51)).all(-1)
    assert (found.data[within] != 0).all()


def test_a_background_that_is_not_0_lies_beyond_the_box_too() -> None:
    data = np.full(T2F_SHAPE, -1.0)
    data[8:18, 8:24, 4:10] = 50
    found = image_onto(with_background(image(data, T2F)), TARGET)
    assert found.background == -1
    assert (found.data[0] == -1).all()
    share = np.mean(found.data != -1) * abs(np.linalg.det(T1C[:3, :3])) * np.prod(T1C_SHAPE)
    assert share > 10 * 16 * 6 * abs(np.linalg.det(T2F[:3, :3]))


def test_what_lies_on_the_grid_is_left_as_it_is() -> None:
    source = image(np.random.default_rng(0).random(T1C_SHAPE), T1C + 1e-6)
    assert is_on_grid(source, TARGET)
    assert image_onto(source, TARGET).data is source.data
    truth = labels(np.random.default_rng(0).integers(0, 4, T1C_SHAPE), T1C)
    assert labels_onto(truth, TARGET).labels is truth.labels


@pytest.mark.parametrize("shift", [0.05, 0.2])
def test_a_tenth_of_a_voxel_decides(shift: float) -> None:
    moved = T1C.copy()
    moved[0, 3] += shift * 0.9
    assert is_on_grid(image(np.zeros(T1C_SHAPE), moved), TARGET) == (shift < 0.1)


def ball(shape: tuple[int, ...], placed: np.ndarray, centre: tuple[float, ...], radius: float) -> np.ndarray:
    return np.linalg.norm(world(shape, placed)[..., :3] - centre, axis=-1) < radius


def test_labels_keep_place_and_volume() -> None:
    truth = np.zeros(T2F_SHAPE, np.uint8)
    expected = np.zeros(T1C_SHAPE, np.uint8)
    for label, centre, radius in ((2, (5, -4, 10), 11), (3, (5, -4, 10), 8), (1, (5, -4, 10), 5)):
        truth[ball(T2F_SHAPE, T2F, centre, radius)] = label
        expected[ball(T1C_SHAPE, T1C, centre, radius)] = label
    source = labels(truth, T2F)
    found = labels_onto(source, TARGET)
    before, after = volumes_mm3(source), volumes_mm3(found)
    for label in (1, 2, 3):
        assert after[label] == pytest.approx(before[label], rel=0.1)
        overlap = np.count_nonzero((found.labels == label) & (expected == label))
        dice = 2 * overlap / (np.count_nonzero(found.labels == label) + np.count_nonzero(expected == label))
        assert dice > 0.75


def test_volumes_are_counted_by_the_affine() -> None:
    truth = np.zeros(T2F_SHAPE, np.uint8)
    truth[3, 4, 5:7] = 3
    assert volumes_mm3(labels(truth, T2F)) == {3: pytest.approx(2 * 1.0 * 0.8 * 2.5)}


def test_lesions_smaller_than_a_voxel_do_not_vanish() -> None:
    coarse_shape = (10, 10, 8)
    coarse = image(np.zeros(coarse_shape), affine(coarse_shape, (3, 3, 4), turned(5, 2), (6, -4, 9)))
    truth = np.zeros(T2F_SHAPE, np.uint8)
    truth[10:16, 10:20, 3:9] = 2
    truth[12, 14, 5] = 3  # within the oedema
    truth[3, 3, 3] = truth[20, 28, 10] = 1
    found = labels_onto(labels(truth, T2F), coarse).labels
    for index, label in (((12, 14, 5), 3), ((3, 3, 3), 1), ((20, 28, 10), 1)):
        place = np.linalg.inv(coarse.affine) @ T2F @ [*index, 1]
        assert found[tuple(np.rint(place[:3]).astype(int))] == label


def test_labels_beyond_the_grid_are_lost_and_nothing_is_smeared() -> None:
    truth = np.zeros(T2F_SHAPE, np.uint8)
    truth[0, :, :] = 3  # at the edge of its own volume
    away = T2F.copy()
    away[:3, 3] += 500
    assert not labels_onto(labels(truth, away), TARGET).labels.any()
    assert not labels_onto(labels(np.zeros(T2F_SHAPE), T2F), TARGET).labels.any()
    wide_shape = (60, 60, 40)
    wide = image(np.zeros(wide_shape), affine(wide_shape, (1, 1, 1), np.eye(4), (6, -4, 9)))
    source = labels(truth, T2F)
    assert volumes_mm3(labels_onto(source, wide))[3] == pytest.approx(volumes_mm3(source)[3], rel=0.1)


def test_how_far_is_shift_turn_and_share() -> None:
    far = how_far(image(np.zeros(T1C_SHAPE), turned(0, 0) @ T1C), TARGET)
    assert (far.shift_mm, far.share) == (pytest.approx(0, abs=1e-9), 1)
    assert far.degrees == pytest.approx(0, abs=1e-4)
    half = T1C.copy()
    half[:3, 3] += half[:3, :3] @ [15, 0, 0]
    far = how_far(image(np.zeros(T1C_SHAPE), half), TARGET)
    assert far.shift_mm == pytest.approx(15 * 0.9)
    assert far.share == pytest.approx(0.5, abs=0.02)
    around = affine(T1C_SHAPE, (0.9, 0.9, 3.0), turned(7, 0) @ turned(12, 2), (5, -3, 10))
    assert how_far(image(np.zeros(T1C_SHAPE), around), TARGET).degrees == pytest.approx(12)


def test_cohorts_of_different_origins_do_not_overlap() -> None:
    """BraTS-METS is RAS with its origin at (0, 239, 0), BraTS gliomas LPS with the same."""
    shape = (24, 24, 15)
    mets = np.diag([10.0, 10.0, 10.0, 1.0])
    mets[:3, 3] = [0, 239, 0]
    glioma = np.diag([10.0, 10.0, 10.0, 1.0])
    glioma[:3, 3] = [-230, 9, 0]
    far = how_far(image(np.zeros(shape), glioma), image(np.zeros(shape), mets))
    assert not far.overlaps
    assert far.share < 0.01


def test_the_reference_is_t1c_or_the_first() -> None:
    assert reference_of({"t1n": 0, "t1c": 0}) == "t1c"
    assert reference_of({"t2w": 0, "t2f": 0}) == "t2w"
