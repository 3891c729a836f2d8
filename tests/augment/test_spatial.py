"""Mirrors and rotations equal the same thing done by hand, and labels move with the image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mets3d.augment.changes import Drawn, augment
from mets3d.augment.spatial import Affine, Mirror
from tests.builders.batches import random_batch

UNCHANGED = Drawn()


def turn(degrees: float) -> Drawn:
    """A rotation about Z."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return Drawn(spatial=(Affine(((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0))),))


def test_mirror_flips_image_and_labels_of_its_own_sample() -> None:
    image, labels = random_batch()
    changed, kept = augment(image, labels, [Drawn(spatial=(Mirror((True, False, True)),)), UNCHANGED])
    assert torch.equal(changed[0], image[0].flip((1, 3)))
    assert torch.equal(kept[0], labels[0].flip((0, 2)))
    assert torch.equal(changed[1], image[1])


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_quarter_turns_are_exact(degrees: int) -> None:
    image, labels = random_batch(shape=(8, 8, 6))
    changed, kept = augment(image, labels, [turn(degrees), UNCHANGED])
    # Output voxel p shows input voxel M p, so the picture turns the other way.
    expected = torch.rot90(image[0], -degrees // 90, (1, 2))
    torch.testing.assert_close(changed[0], expected, rtol=0, atol=2e-5)
    assert torch.equal(kept[0], torch.rot90(labels[0], -degrees // 90, (0, 1)))


def test_rotation_is_in_millimetres_not_voxels() -> None:
    # A rod of 8 voxels of 1 mm along X becomes one of 4 voxels of 2 mm along Y.
    image = torch.zeros(1, 1, 16, 16, 4)
    image[0, 0, 4:12, 7:9] = 1
    labels = image[:, 0].to(torch.uint8)
    _, kept = augment(image, labels, [turn(90)], spacing_mm=(1.0, 2.0, 1.0))
    extent = [int(kept[0].any(dim=tuple(a for a in range(3) if a != axis)).sum()) for axis in range(2)]
    assert extent == [4, 4]


def test_each_sample_turns_in_its_own_millimetres() -> None:
    image, labels = random_batch(shape=(8, 8, 6))
    sizes = [(1.0, 2.0, 1.0), (0.5, 0.5, 3.0)]
    both = augment(image, labels, [turn(90), turn(30)], spacing_mm=sizes)
    for index, (size, angle) in enumerate(zip(sizes, (90, 30), strict=True)):
        part = slice(index, index + 1)
        alone = augment(image[part], labels[part], [turn(angle)], spacing_mm=size)
        assert torch.equal(both[0][part], alone[0])
        assert torch.equal(both[1][part], alone[1])


def test_a_scale_above_one_enlarges() -> None:
    image = torch.zeros(1, 1, 16, 16, 16)
    image[0, 0, 6:10, 6:10, 6:10] = 1
    drawn = Affine.draw(np.random.default_rng(0), rotation=1.0, scaling=1.0, rotation_degrees=0.0, scale=(2.0, 2.0))
    assert drawn == Affine(((0.5, 0.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 0.5)))
    _, kept = augment(image, image[:, 0].to(torch.uint8), [Drawn(spatial=(drawn,))])
    assert kept.sum() == 8**3


def test_a_drawn_rotation_keeps_volumes_and_stays_within_its_angle() -> None:
    for key in range(50):
        drawn = Affine.draw(
            np.random.default_rng(key), rotation=1.0, scaling=1.0, rotation_degrees=20.0, scale=(1.0, 1.0)
        )
        assert drawn is not None
        matrix = np.array(drawn.matrix_mm)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(matrix) == pytest.approx(1)
        # About X, then Y, then Z: the angles are read off the product's entries.
        angles = (
            np.arctan2(-matrix[1, 2], matrix[2, 2]),
            np.arcsin(matrix[0, 2]),
            np.arctan2(-matrix[0, 1], matrix[0, 0]),
        )
        assert np.abs(np.degrees(angles)).max() <= 20


def test_scales_are_within_their_range() -> None:
    for key in range(50):
        drawn = Affine.draw(
            np.random.default_rng(key), rotation=1.0, scaling=1.0, rotation_degrees=180.0, scale=(0.5, 0.8)
        )
        assert drawn is not None
        determinant = np.linalg.det(np.array(drawn.matrix_mm))
        assert 1 / 0.8**3 - 1e-9 <= determinant <= 1 / 0.5**3 + 1e-9  # read positions: the inverse of the scale


def test_a_mirror_has_its_probability_on_every_axis() -> None:
    drawn = [Mirror.draw(np.random.default_rng(key), mirror=0.3) for key in range(2000)]
    flips = np.array([one.axes if one else (False, False, False) for one in drawn])
    assert flips.mean(0) == pytest.approx([0.3] * 3, abs=0.04)
    assert flips.all(1).mean() == pytest.approx(0.3**3, abs=0.015), "the axes are drawn independently"
