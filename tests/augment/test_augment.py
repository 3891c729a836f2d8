"""Augmentation: what is drawn depends on the key alone; what is applied equals the same thing done by hand."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from mets3d import augment
from mets3d.augment.apply import augment as apply
from mets3d.augment.draw import Drawn
from mets3d.config import Augment

SHAPE = (8, 10, 6)


def batch(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(2, 4, *shape, generator=generator)
    image[..., :2] = 0  # outside the brain
    labels = torch.randint(0, 4, (2, *shape), generator=generator, dtype=torch.uint8)
    return image, labels


def turn(degrees: float) -> tuple[tuple[float, ...], ...]:
    """Rotation about Z."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return ((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0))


def test_nothing_drawn_changes_nothing() -> None:
    image, labels = batch()
    changed, kept = apply(image, labels, [Drawn(), Drawn()])
    assert torch.equal(changed, image)
    assert torch.equal(kept, labels)


def test_mirror_flips_image_and_labels_of_its_own_sample() -> None:
    image, labels = batch()
    changed, kept = apply(image, labels, [Drawn(mirror=(True, False, True)), Drawn()])
    assert torch.equal(changed[0], image[0].flip((1, 3)))
    assert torch.equal(kept[0], labels[0].flip((0, 2)))
    assert torch.equal(changed[1], image[1])


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_quarter_turns_are_exact(degrees: int) -> None:
    image, labels = batch(shape=(8, 8, 6))
    changed, kept = apply(image, labels, [Drawn(matrix_mm=turn(degrees)), Drawn()])
    # Output voxel p shows input voxel M p, so the picture turns the other way.
    expected = torch.rot90(image[0], -degrees // 90, (1, 2))
    torch.testing.assert_close(changed[0], expected, rtol=0, atol=2e-5)
    assert torch.equal(kept[0], torch.rot90(labels[0], -degrees // 90, (0, 1)))


def test_rotation_is_in_millimetres_not_voxels() -> None:
    # A rod of 8 voxels of 1 mm along X becomes one of 4 voxels of 2 mm along Y.
    image = torch.zeros(1, 1, 16, 16, 4)
    image[0, 0, 4:12, 7:9] = 1
    labels = image[:, 0].to(torch.uint8)
    _, kept = apply(image, labels, [Drawn(matrix_mm=turn(90))], spacing_mm=(1.0, 2.0, 1.0))
    extent = [int(kept[0].any(dim=tuple(a for a in range(3) if a != axis)).sum()) for axis in range(2)]
    assert extent == [4, 4]


def test_a_scale_above_one_enlarges() -> None:
    image = torch.zeros(1, 1, 16, 16, 16)
    image[0, 0, 6:10, 6:10, 6:10] = 1
    drawn = Drawn(matrix_mm=((0.5, 0.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 0.5)))
    _, kept = apply(image, image[:, 0].to(torch.uint8), [drawn])
    assert kept.sum() == 8**3


def test_intensities_follow_their_formulas_and_stay_zero_outside_the_brain() -> None:
    image, labels = batch()
    factors = (0.5, 1.0, 2.0, 1.5)
    brain = (image[0] != 0).any(0)
    bright, _ = apply(image, labels, [Drawn(brightness=factors), Drawn()])
    torch.testing.assert_close(bright[0], image[0] * torch.tensor(factors)[:, None, None, None])
    contrast, _ = apply(image, labels, [Drawn(contrast=factors), Drawn()])
    for channel, factor in enumerate(factors):
        inside = image[0, channel][brain]
        torch.testing.assert_close(contrast[0, channel][brain], (inside - inside.mean()) * factor + inside.mean())
    gamma, _ = apply(image, labels, [Drawn(gamma=factors), Drawn()])
    for channel in range(4):
        inside, curved = image[0, channel][brain], gamma[0, channel][brain]
        torch.testing.assert_close(curved.mean(), inside.mean(), rtol=0, atol=1e-5)
        torch.testing.assert_close(curved.std(unbiased=False), inside.std(unbiased=False), rtol=1e-4, atol=0)
        assert torch.equal(curved.argsort(), inside.argsort()), "a gamma curve keeps the order"
    for changed in (bright, contrast, gamma):
        assert (changed[0][:, ~brain] == 0).all()


def test_noise_is_that_of_its_seed_wherever_the_sample_stands() -> None:
    image, labels = batch()
    drawn = Drawn(noise_std=0.3, noise_seed=5)
    first, _ = apply(image, labels, [drawn, Drawn()])
    second, _ = apply(image.flip(0), labels.flip(0), [Drawn(), drawn])
    assert torch.equal(first[0], second[1])
    brain = (image[0] != 0).any(0)
    assert (first[0] - image[0])[:, brain].std().item() == pytest.approx(0.3, rel=0.1)


def test_a_batch_is_its_samples() -> None:
    image, labels = batch()
    draw = augment.build(Augment(affine=1, gamma=1, noise=1, brightness=1, contrast=1), sequences=4)
    drawn = [draw(np.random.default_rng(key)) for key in (1, 2)]
    together = apply(image, labels, drawn)
    for index in range(2):
        alone = apply(image[index : index + 1], labels[index : index + 1], drawn[index : index + 1])
        assert torch.equal(together[0][index], alone[0][0])
        assert torch.equal(together[1][index], alone[1][0])


def test_probabilities_are_kept_and_do_not_shift_the_other_draws() -> None:
    count = 2000
    rare, often = (
        [partial(augment.build(Augment(affine=p), sequences=4))(np.random.default_rng(k)) for k in range(count)]
        for p in (0.2, 0.6)
    )
    assert sum(d.matrix_mm is not None for d in rare) / count == pytest.approx(0.2, abs=0.03)
    assert sum(d.matrix_mm is not None for d in often) / count == pytest.approx(0.6, abs=0.03)
    assert sum(d.mirror[1] for d in rare) / count == pytest.approx(0.5, abs=0.04)
    assert [d.gamma for d in rare] == [d.gamma for d in often]
    assert [d.noise_seed for d in rare] == [d.noise_seed for d in often]


def test_ranges_are_kept() -> None:
    settings = Augment(brightness=1, brightness_range=(0.9, 1.1), noise=1, noise_std=0.2, affine=1, scale=(0.5, 0.8))
    draw = augment.build(settings, sequences=3)
    for key in range(50):
        drawn = draw(np.random.default_rng(key))
        assert drawn.brightness is not None
        assert len(drawn.brightness) == 3
        assert all(0.9 <= factor <= 1.1 for factor in drawn.brightness)
        assert 0 <= drawn.noise_std <= 0.2
        determinant = np.linalg.det(np.array(drawn.matrix_mm))
        assert 1 / 0.8**3 - 1e-9 <= determinant <= 1 / 0.5**3 + 1e-9  # read positions: the inverse of the scale


def test_switched_off_draws_nothing() -> None:
    draw = augment.build(Augment(enabled=False), sequences=4)
    assert draw(np.random.default_rng(0)) == Drawn()
