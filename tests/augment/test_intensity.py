"""Brightness, contrast, gamma and bias field follow their formulas, each sequence with numbers of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mets3d.augment.intensity import BiasField, Brightness, BrightnessShift, Contrast, Gamma, GammaInverted
from tests.builders.batches import brain_of, random_batch

FACTORS = (0.5, 1.0, 2.0, 1.5)


def changed(change: Any, image: Tensor) -> Tensor:
    """The batch after a change of its second sample."""
    return type(change).apply({1: change}, image.clone(), brain_of(image))  # type: ignore[no-any-return]


def test_brightness_multiplies_and_shifts() -> None:
    image, _ = random_batch()
    np.testing.assert_allclose(
        changed(Brightness(FACTORS), image)[1].numpy(),
        image[1].numpy() * np.array(FACTORS)[:, None, None, None],
        rtol=1e-6,
    )
    shifted = changed(BrightnessShift((0.25, 0.0, -1.0, 0.0)), image)
    np.testing.assert_allclose(
        (shifted - image)[1].mean((1, 2, 3)).numpy(), np.array((0.25, 0, -1, 0)), rtol=0, atol=1e-6
    )
    for result in (shifted, changed(Brightness(FACTORS), image)):
        assert torch.equal(result[0], image[0]), "the first sample drew nothing"


def test_contrast_stretches_about_the_brains_mean_and_keeps_the_range() -> None:
    image, _ = random_batch()
    image[1] += 3  # its mean is not 0
    image[1][..., :2] = 0
    inside = brain_of(image)[1, 0].numpy()
    result = changed(Contrast(FACTORS), image)
    for factor, before, after in zip(FACTORS, image[1].numpy(), result[1].numpy(), strict=True):
        mean = before[inside].mean(dtype=np.float64)
        expected = np.clip((before - mean) * factor + mean, before.min(), before.max())
        np.testing.assert_allclose(after, expected, rtol=0, atol=1e-5)
    assert (result[1, 2] == image[1, 2].max()).sum() > 5, "a factor of 2 carries some values over the end"


@pytest.mark.parametrize("kind", [Gamma, GammaInverted])
def test_gamma_bends_the_range_and_keeps_mean_and_deviation_in_the_brain(kind: type[Gamma | GammaInverted]) -> None:
    image, _ = random_batch(shape=(12, 10, 8))
    inside = brain_of(image)[1, 0].numpy()
    sign = -1.0 if kind is GammaInverted else 1.0
    result = changed(kind(FACTORS), image)
    for exponent, before, after in zip(FACTORS, sign * image[1].double().numpy(), result[1].numpy(), strict=True):
        bent = ((before - before.min()) / np.ptp(before)) ** exponent
        bent = (bent - bent[inside].mean()) / bent[inside].std() * before[inside].std() + before[inside].mean()
        np.testing.assert_allclose(after, sign * bent, rtol=0, atol=2e-5)
        assert after[inside].mean() == pytest.approx(sign * before[inside].mean(), abs=1e-5)
        assert after[inside].std() == pytest.approx(before[inside].std(), rel=1e-4)
    np.testing.assert_allclose(result[1, 1].numpy(), image[1, 1].numpy(), rtol=0, atol=2e-5)  # exponent 1


def test_a_gamma_curve_of_the_negative_works_on_the_other_end() -> None:
    ramp = torch.linspace(-2, 3, 4 * 5 * 6).view(1, 1, 4, 5, 6)
    image = torch.cat([ramp, ramp])
    plain, inverted = (changed(kind((1.5,)), image)[1].flatten().diff() for kind in (Gamma, GammaInverted))
    assert plain[0] < plain[-1], "an exponent above 1 brings dark values together"
    torch.testing.assert_close(inverted, plain.flip(0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [Gamma, GammaInverted, Contrast])
def test_constant_and_missing_sequences_stay(kind: Any) -> None:
    image, _ = random_batch()
    image[1, 0], image[1, 2] = 0.0, 7.0
    result = changed(kind(FACTORS), image)
    assert torch.equal(result[1, 0], image[1, 0])
    torch.testing.assert_close(result[1, 2], image[1, 2])
    assert result.isfinite().all()


def test_a_bias_field_is_a_smooth_factor_within_its_strength() -> None:
    image = torch.rand(2, 2, 20, 16, 12, generator=torch.Generator().manual_seed(0)) + 0.5
    image[..., 0] = 0  # the least value: the field is a factor on what the scanner measured
    drawn = BiasField.draw(np.random.default_rng(0), sequences=2, bias_field=1.0, bias_field_strength=0.4)
    assert drawn is not None
    field = (changed(drawn, image)[1] / image[1])[..., 1:].log().numpy()
    assert 0.05 < np.abs(field).max() <= 0.4
    assert np.abs(field[0] - field[1]).max() > 0.05, "each sequence has its own"
    for axis in (1, 2, 3):
        assert np.abs(np.diff(field, n=3, axis=axis)).max() < 1e-5, "of degree two along each axis"
        assert np.abs(np.diff(field, n=1, axis=axis)).max() > 1e-4


def test_a_bias_field_is_the_product_of_its_controls_at_the_corners() -> None:
    image = torch.ones(2, 1, 5, 5, 5)
    image[1, 0, 2, 2, 2] = 0
    controls = np.random.default_rng(1).uniform(-1, 1, 27)
    field = changed(BiasField((tuple(controls.tolist()),)), image)[1, 0].log().numpy()
    np.testing.assert_allclose(field[::4, ::4, ::4], controls.reshape(3, 3, 3)[::2, ::2, ::2], rtol=0, atol=1e-6)
    # In the middle of an edge, the quadratic has 1/4, 1/2, 1/4 of its three controls.
    assert field[0, 0, 2] == pytest.approx(controls[:3] @ [0.25, 0.5, 0.25], abs=1e-6)


def test_a_bias_field_acts_on_tissue_of_mean_brightness() -> None:
    image, _ = random_batch()
    image[1, :, 0] = 0
    drawn = BiasField(((0.3,) * 27,) * 4)  # the same everywhere: a coil that is brighter
    low = image[1].amin((1, 2, 3), keepdim=True)
    torch.testing.assert_close(changed(drawn, image)[1], (image[1] - low) * np.exp(0.3) + low)


@pytest.mark.parametrize("change", [Brightness, Contrast, Gamma, GammaInverted])
def test_factors_have_their_probability_and_are_below_one_as_often_as_above(change: Any) -> None:
    name = {GammaInverted: "gamma_inverted"}.get(change, change.__name__.lower())
    limits = {name.removesuffix("_inverted") + "_range": (0.7, 1.6)}
    drawn = [change.draw(np.random.default_rng(key), sequences=3, **{name: 0.4}, **limits) for key in range(2000)]
    values = np.array([next(iter(vars(one).values())) for one in drawn if one is not None])
    assert len(values) / 2000 == pytest.approx(0.4, abs=0.04)
    assert values.shape[1] == 3
    assert 0.7 <= values.min() < 0.71
    assert 1.59 < values.max() <= 1.6
    assert (values < 1).mean() == pytest.approx(0.5, abs=0.04)
    assert values[values < 1].mean() == pytest.approx(0.85, abs=0.01)
    assert values[values > 1].mean() == pytest.approx(1.3, abs=0.02)
    assert np.abs(np.corrcoef(values.T)[np.triu_indices(3, 1)]).max() < 0.15


@pytest.mark.parametrize(("limits", "mean"), [((0.5, 0.9), 0.7), ((1.2, 1.4), 1.3), ((1.0, 1.0), 1.0)])
def test_a_range_on_one_side_of_one_is_uniform(limits: tuple[float, float], mean: float) -> None:
    drawn = [Brightness.draw(np.random.default_rng(key), 4, 1.0, limits) for key in range(300)]
    values = np.array([one.factors for one in drawn if one is not None])
    assert limits[0] <= values.min() <= values.max() <= limits[1]
    assert values.mean() == pytest.approx(mean, abs=0.02)


def test_a_shift_is_normal_and_of_half_of_the_sequences() -> None:
    drawn = [
        BrightnessShift.draw(np.random.default_rng(key), 4, brightness_shift=0.3, brightness_shift_std=0.2)
        for key in range(1500)
    ]
    values = np.array([one.shifts for one in drawn if one is not None])
    assert len(values) / 1500 == pytest.approx(0.3, abs=0.035)
    assert (values != 0).mean() == pytest.approx(0.5, abs=0.035)
    assert values[values != 0].mean() == pytest.approx(0, abs=0.02)
    assert values[values != 0].std() == pytest.approx(0.2, rel=0.05)
