"""Movements equal the same thing done by hand, labels move with the image, and what is read is all that is shown."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from mets3d.augment.changes import Drawn, augment
from mets3d.augment.displacement import Displacement
from mets3d.augment.spatial import Elastic, Mirror, Rotation, Scaling
from mets3d.config import Augment
from tests.builders.batches import augmented, random_batch

UNCHANGED = Drawn()


def rotation(degrees: float) -> Rotation:
    """A rotation about Z."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return Rotation(((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)))


def turn(degrees: float) -> Drawn:
    """The changes of a sample that is rotated about Z."""
    return Drawn(spatial=(rotation(degrees),))


def test_mirror_flips_image_and_labels_of_its_own_sample() -> None:
    image, labels = random_batch()
    changed, kept = augmented(image, labels, [Drawn(spatial=(Mirror((True, False, True)),)), UNCHANGED])
    assert torch.equal(changed[0], image[0].flip((1, 3)))
    assert torch.equal(kept[0], labels[0].flip((0, 2)))
    assert torch.equal(changed[1], image[1])


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_quarter_turns_are_exact(degrees: int) -> None:
    image, labels = random_batch(shape=(8, 8, 6))
    changed, kept = augmented(image, labels, [turn(degrees), UNCHANGED])
    # Output voxel p shows input voxel M p, so the picture turns the other way.
    expected = torch.rot90(image[0], -degrees // 90, (1, 2))
    torch.testing.assert_close(changed[0], expected, rtol=0, atol=2e-5)
    assert torch.equal(kept[0], torch.rot90(labels[0], -degrees // 90, (0, 1)))


def test_rotation_is_in_millimetres_not_voxels() -> None:
    # A rod of 8 voxels of 1 mm along X becomes one of 4 voxels of 2 mm along Y.
    image = torch.zeros(1, 1, 16, 16, 4)
    image[0, 0, 4:12, 7:9] = 1
    labels = image[:, 0].to(torch.uint8)
    _, kept = augmented(image, labels, [turn(90)], spacing_mm=(1.0, 2.0, 1.0))
    extent = [int(kept[0].any(dim=tuple(a for a in range(3) if a != axis)).sum()) for axis in range(2)]
    assert extent == [4, 4]


def test_each_sample_turns_in_its_own_millimetres() -> None:
    image, labels = random_batch(shape=(8, 8, 6))
    sizes = [(1.0, 2.0, 1.0), (0.5, 0.5, 3.0)]
    both = augmented(image, labels, [turn(90), turn(30)], spacing_mm=sizes)
    for index, (size, angle) in enumerate(zip(sizes, (90, 30), strict=True)):
        part = slice(index, index + 1)
        alone = augmented(image[part], labels[part], [turn(angle)], spacing_mm=size)
        assert torch.equal(both[0][part], alone[0])
        assert torch.equal(both[1][part], alone[1])


def test_a_scale_below_one_enlarges() -> None:
    image = torch.zeros(1, 1, 16, 16, 16)
    image[0, 0, 6:10, 6:10, 6:10] = 1
    drawn = Scaling.draw(np.random.default_rng(0), scaling=1.0, scale=(0.5, 0.5), scale_per_axis=0.0)
    assert drawn == Scaling((0.5, 0.5, 0.5))
    _, kept = augmented(image, image[:, 0].to(torch.uint8), [Drawn(spatial=(drawn,))])
    assert kept.sum() == 8**3
    _, flat = augmented(image, image[:, 0].to(torch.uint8), [Drawn(spatial=(Scaling((0.5, 1.0, 2.0)),))])
    assert flat.sum() == 8 * 4 * 2
    assert flat[0, 4:12, 6:10, 7:9].all()


MOVEMENTS = {
    "rotation": (rotation(25),),
    "scaling": (Scaling((0.83, 1.31, 1.13)),),
    "rotation and scaling": (rotation(-70), Scaling((1.6, 0.65, 1.0))),
    "elastic": (Elastic(Displacement(0.2, (0.5, 0.3, 0.4), seed=4)),),
    "all": (
        Mirror((True, False, True)),
        Elastic(Displacement(0.15, (0.4, 0.2, 0.5), seed=9)),
        rotation(40),
        Scaling((1.4, 0.9, 1.2)),
    ),
}
SPACING = (1.0, 2.0, 0.8)


@pytest.mark.parametrize("name", MOVEMENTS)
def test_a_movement_of_a_larger_read_is_the_one_of_the_whole_case(name: str) -> None:
    """S R (F p + u(F p)) by SciPy on the whole volume, of which the augmentation sees its own read."""
    drawn = Drawn(spatial=MOVEMENTS[name])
    patch, case = (12, 10, 9), (60, 52, 55)
    rng = np.random.default_rng(1)
    image = rng.normal(size=(2, *case)).astype(np.float32)
    labels = rng.integers(0, 4, size=case).astype(np.uint8)
    read = drawn.read_shape(patch, SPACING)
    assert all(whole >= part for whole, part in zip(case, read, strict=True))
    assert all((part - own) % 2 == 0 for part, own in zip(read, patch, strict=True))
    origin = (25, 20, 24)
    box = tuple(slice(o - (e - p) // 2, o - (e - p) // 2 + e) for o, p, e in zip(origin, patch, read, strict=True))
    moved, kept = augment(
        [torch.from_numpy(image[(slice(None), *box)])], [torch.from_numpy(labels[box])], [drawn], patch, SPACING
    )
    at = np.stack(np.meshgrid(*map(np.arange, patch), indexing="ij")).astype(np.float64)
    moves = drawn.movement
    for axis, flip in enumerate(moves.mirrored):
        at[axis] = patch[axis] - 1 - at[axis] if flip else at[axis]
    if moves.elastic is not None:
        field = moves.elastic.field(patch, torch.zeros(1)).numpy()
        at += np.stack([map_coordinates(part, at.astype(int), order=0) for part in field])
    middle = (np.array(patch) - 1)[:, None, None, None] / 2
    size = np.array(SPACING)[:, None, None, None]
    turned = np.eye(3)
    for change in drawn.spatial:
        turned = np.array(change.matrix) @ turned if isinstance(change, Rotation) else turned
        turned = np.diag(change.factors) @ turned if isinstance(change, Scaling) else turned
    read_mm = np.tensordot(turned, (at - middle) * size, axes=1)
    at = read_mm / size + middle + np.array(origin)[:, None, None, None]
    for channel in range(2):
        expected = map_coordinates(image[channel], at, order=1)
        np.testing.assert_allclose(moved[0, channel].numpy(), expected, atol=2e-4)
    nearest = map_coordinates(labels, at, order=0, mode="nearest")
    assert (kept[0].numpy() == nearest).mean() > 0.995, "but for positions half-way between two voxels"


@pytest.mark.parametrize("name", MOVEMENTS)
def test_no_background_is_invented_and_no_voxel_read_in_vain(name: str) -> None:
    drawn, patch = Drawn(spatial=MOVEMENTS[name]), (16, 12, 10)
    read = drawn.read_shape(patch, SPACING)
    moved, kept = augment([torch.ones(1, *read)], [torch.ones(read, dtype=torch.uint8)], [drawn], patch, SPACING)
    torch.testing.assert_close(moved, torch.ones_like(moved), rtol=0, atol=1e-3)
    assert kept.all()
    if drawn.movement.elastic is None:  # whose largest displacement need not lie in a corner
        for axis in range(3):
            less = [n - 2 * (other == axis) for other, n in enumerate(read)]
            moved, _ = augment([torch.ones(1, *less)], [torch.ones(*less, dtype=torch.uint8)], [drawn], patch, SPACING)
            assert moved.min() < 0.999


def test_without_a_movement_the_patch_is_read() -> None:
    for drawn in (UNCHANGED, Drawn(spatial=(Mirror((True, True, False)),)), turn(180)):
        assert drawn.read_shape((16, 12, 10), SPACING) == (16, 12, 10)


def test_a_displacement_is_smooth_and_as_large_as_it_says() -> None:
    patch = (40, 32, 24)
    rough, smooth = (Displacement(scale, (0.5, 0.25, 0.125), seed=3) for scale in (0.05, 0.25))
    for one in (rough, smooth):
        field = one.field(patch, torch.zeros(1, dtype=torch.float64))
        largest = [strength * one.scale * n for strength, n in zip(one.strengths, patch, strict=True)]
        np.testing.assert_allclose(field.abs().amax((1, 2, 3)).numpy(), largest)
        assert one.largest_voxels(patch).tolist() == pytest.approx(largest)
        assert torch.equal(field, one.field(patch, torch.zeros(1, dtype=torch.float64)))
    # Of white noise after a Gaussian of standard deviation s, neighbours at distance d correlate by exp(-d^2 / 4 s^2).
    together = torch.stack(
        [Displacement(0.1, (0.5,) * 3, seed).field((60, 60, 60), torch.zeros(1))[0] for seed in range(3)]
    )
    middle = together - together.mean((1, 2, 3), keepdim=True)
    correlation = float((middle[:, 6:] * middle[:, :-6]).mean() / middle.square().mean())
    assert correlation == pytest.approx(math.exp(-1 / 4), abs=0.08)


def test_another_seed_is_another_displacement() -> None:
    fields = [Displacement(0.2, (0.5,) * 3, seed).field((8, 8, 8), torch.zeros(1)) for seed in (1, 2)]
    assert (fields[0] - fields[1]).abs().max() > 0.1


def test_an_elastic_deformation_draws_nnunets_ranges() -> None:
    drawn = [Elastic.draw(np.random.default_rng(key), elastic=0.3, elastic_scale=(0.0, 0.25)) for key in range(1000)]
    found = [one.displacement for one in drawn if one is not None]
    assert len(found) / 1000 == pytest.approx(0.3, abs=0.05)
    scales = np.array([one.scale for one in found])
    strengths = np.array([one.strengths for one in found])
    assert 0 <= scales.min() < 0.01
    assert 0.24 < scales.max() <= 0.25
    assert 1 / 8 <= strengths.min() < 0.13
    assert 0.49 < strengths.max() <= 1 / 2
    assert len({one.seed for one in found}) == len(found)


def test_a_drawn_rotation_keeps_volumes_and_stays_within_its_angle() -> None:
    for key in range(50):
        drawn = Rotation.draw(np.random.default_rng(key), rotation=1.0, rotation_degrees=20.0)
        assert drawn is not None
        matrix = np.array(drawn.matrix)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(matrix) == pytest.approx(1)
        # About X, then Y, then Z: the angles are read off the product's entries.
        angles = (
            np.arctan2(-matrix[1, 2], matrix[2, 2]),
            np.arcsin(matrix[0, 2]),
            np.arctan2(-matrix[0, 1], matrix[0, 0]),
        )
        assert np.abs(np.degrees(angles)).max() <= 20


def test_scales_are_within_their_range_and_of_each_axis_as_often_as_is_set() -> None:
    drawn = [
        Scaling.draw(np.random.default_rng(key), scaling=0.5, scale=(0.65, 1.6), scale_per_axis=0.3)
        for key in range(2000)
    ]
    factors = np.array([one.factors for one in drawn if one is not None])
    assert len(factors) / 2000 == pytest.approx(0.5, abs=0.04)
    assert 0.65 <= factors.min() < 0.66
    assert 1.59 < factors.max() <= 1.6
    own = (factors != factors[:, :1]).any(1)
    assert own.mean() == pytest.approx(0.3, abs=0.05)
    assert np.abs(np.corrcoef(factors[own].T)[np.triu_indices(3, 1)]).max() < 0.15


def test_rotation_and_scaling_are_drawn_apart() -> None:
    settings = Augment()
    assert (settings.rotation, settings.scaling) == (0.2, 0.2)
    from mets3d.augment import build
    from mets3d.data.loader import generator

    draw = build(Augment(rotation=0.5, scaling=0.5), sequences=1)
    found = [
        {type(change).__name__ for change in draw(lambda name, step=step: generator(0, step, 0, name)).spatial}
        for step in range(400)
    ]
    for names in ({"Rotation"}, {"Scaling"}, {"Rotation", "Scaling"}, set[str]()):
        share = np.mean([one & {"Rotation", "Scaling"} == names for one in found])
        assert share == pytest.approx(0.25, abs=0.07), names


def test_a_lesion_of_one_voxel_keeps_its_volume_on_average_and_its_number() -> None:
    labels = torch.zeros(20, 20, 20, dtype=torch.int16)
    labels[8, 8, 8], labels[12, 9, 11] = 7, 301
    image = torch.ones(1, 20, 20, 20)
    sums = np.zeros(2)
    for key in range(60):
        drawn = Rotation.draw(np.random.default_rng(key), rotation=1.0, rotation_degrees=90.0)
        assert drawn is not None
        _, kept = augment([image], [labels], [Drawn(spatial=(drawn,))], (16, 16, 16))
        assert set(kept.unique().tolist()) <= {0, 7, 301}
        sums += [int((kept == 7).sum()), int((kept == 301).sum())]
    assert sums / 60 == pytest.approx([1, 1], abs=0.25)


def test_a_mirror_has_its_probability_on_every_axis() -> None:
    drawn = [Mirror.draw(np.random.default_rng(key), mirror=0.3) for key in range(2000)]
    flips = np.array([one.axes if one else (False, False, False) for one in drawn])
    assert flips.mean(0) == pytest.approx([0.3] * 3, abs=0.04)
    assert flips.all(1).mean() == pytest.approx(0.3**3, abs=0.015), "the axes are drawn independently"
