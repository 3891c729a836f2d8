"""Noise belongs to its seed; blur and low resolution equal those of other libraries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d, gaussian_filter
from torch import Tensor

from mets3d.augment.artefacts import Blur, LowResolution, Noise
from tests.builders.batches import brain_of, random_batch

SIGMAS = ((0.5, 0.8, 1.0), None, (1.5, 1.5, 1.5), None)


def changed(change: Any, image: Tensor) -> Tensor:
    """The batch after a change of its second sample."""
    return type(change).apply({1: change}, image.clone(), brain_of(image))  # type: ignore[no-any-return]


def test_noise_is_that_of_its_seed_wherever_the_sample_stands() -> None:
    image, _ = random_batch()
    noise = Noise(std=0.3, seed=5)
    second = changed(noise, image) - image
    first = Noise.apply({0: noise}, image.clone(), brain_of(image)) - image
    torch.testing.assert_close(first[0], second[1], rtol=0, atol=1e-6)
    assert not first[1].any()
    assert not second[0].any()
    assert second[1].mean().item() == pytest.approx(0, abs=0.03)
    assert second[1].std().item() == pytest.approx(0.3, rel=0.1)
    correlations = np.corrcoef(second[1].flatten(1).numpy())
    assert np.abs(correlations[np.triu_indices(4, 1)]).max() < 0.2, "each sequence has noise of its own"
    other = changed(Noise(std=0.3, seed=6), image) - image
    assert abs(np.corrcoef(other[1].flatten().numpy(), second[1].flatten().numpy())[0, 1]) < 0.1


def test_noise_has_its_probability_and_at_most_its_deviation() -> None:
    drawn = [Noise.draw(np.random.default_rng(key), noise=0.3, noise_std=0.2) for key in range(1000)]
    made = [one for one in drawn if one is not None]
    assert len(made) / 1000 == pytest.approx(0.3, abs=0.05)
    assert 0 <= min(one.std for one in made) < 0.01
    assert 0.19 < max(one.std for one in made) <= 0.2
    assert len({one.seed for one in made}) == len(made)


def test_blur_is_a_gaussian_along_each_axis() -> None:
    image, _ = random_batch(shape=(16, 12, 10))
    result = changed(Blur(SIGMAS), image)
    for sigmas, before, after in zip(SIGMAS, image[1].double().numpy(), result[1].numpy(), strict=True):
        expected = before
        for axis, sigma in enumerate(sigmas or ()):
            reach = {0.5: 1, 0.8: 2, 1.0: 3, 1.5: 4}[sigma]  # nnU-Net's: 3, 5, 7 and 9 taps
            weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
            expected = correlate1d(expected, weights / weights.sum(), axis=axis, mode="mirror")
        np.testing.assert_allclose(after, expected, rtol=0, atol=2e-6)
        if sigmas:  # cut at three standard deviations instead of four, it differs by little
            assert np.abs(after - gaussian_filter(before, sigmas, mode="mirror")).max() < 0.05
    assert torch.equal(result[0], image[0])


def test_low_resolution_takes_the_nearest_and_interpolates() -> None:
    image, _ = random_batch(shape=(16, 12, 8))
    zooms = (0.5, None, 0.75, 1.0)
    result = changed(LowResolution(zooms), image)
    for zoom, before, after in zip(zooms, image[1].double().numpy(), result[1].numpy(), strict=True):
        expected = before
        for axis, n in enumerate(before.shape):
            coarse = round(n * (zoom or 1.0))
            centres = (np.arange(coarse) + 0.5) * n / coarse  # of the coarse voxels, in voxels
            taken = np.take(expected, np.floor(centres).astype(int), axis=axis)
            places = (np.arange(n) + 0.5) * coarse / n - 0.5
            expected = np.apply_along_axis(
                lambda line, at=places: np.interp(at, np.arange(len(line)), line), axis, taken
            )
        np.testing.assert_allclose(after, expected, rtol=0, atol=5e-6)
    torch.testing.assert_close(result[1, 3], image[1, 3])
    assert torch.equal(result[1, 1], image[1, 1])


def test_a_patch_smaller_than_a_kernel_is_blurred_and_coarsened() -> None:
    image, _ = random_batch(shape=(3, 2, 1))
    for change in (Blur(((1.5, 1.5, 1.5),) * 4), LowResolution((0.3,) * 4)):
        result = changed(change, image)
        assert result.isfinite().all()
        assert result.shape == image.shape
    image[:] = 2.5
    torch.testing.assert_close(changed(Blur(((1.5, 1.0, 0.5),) * 4), image), image)


def test_half_of_the_sequences_are_blurred_or_coarsened() -> None:
    sigmas, zooms = [], []
    for key in range(2000):
        blur = Blur.draw(np.random.default_rng(key), sequences=4, blur=0.2, blur_sigma=(0.5, 1.0))
        low = LowResolution.draw(np.random.default_rng(key), 4, low_resolution=0.25, low_resolution_zoom=(0.5, 1.0))
        sigmas += [blur.sigmas] if blur else []
        zooms += [low.zooms] if low else []
    assert len(sigmas) / 2000 == pytest.approx(0.2, abs=0.03)
    assert len(zooms) / 2000 == pytest.approx(0.25, abs=0.03)
    widths = np.array([own for sample in sigmas for own in sample if own is not None])
    sizes = np.array([own for sample in zooms for own in sample if own is not None])
    assert len(widths) / len(sigmas) == pytest.approx(2, abs=0.15)
    assert len(sizes) / len(zooms) == pytest.approx(2, abs=0.15)
    for drawn in (widths, sizes):
        assert 0.5 <= drawn.min() < 0.51
        assert 0.99 < drawn.max() <= 1.0
        assert drawn.mean() == pytest.approx(0.75, abs=0.01)
    assert np.abs(np.corrcoef(widths.T)[np.triu_indices(3, 1)]).max() < 0.1, "each axis has its own"
