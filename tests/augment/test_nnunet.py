"""Given the same numbers, changes of the image equal nnU-Net's own transforms, on a patch that is all brain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mets3d.augment.artefacts import Blur, LowResolution
from mets3d.augment.intensity import Brightness, Contrast, Gamma, GammaInverted
from tests.builders.batches import brain_of

pytest.importorskip("batchgeneratorsv2", reason="nnU-Net's transforms: benchmarks/requirements.txt")

FACTORS = (0.8, 1.3, 0.7)
ALL = torch.arange(3)


def transforms() -> dict[type, tuple[Any, dict[str, Any]]]:
    """For each change nnU-Net's transform and the numbers that it would have drawn."""
    from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
    from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform

    factors = torch.tensor(FACTORS)
    bent = {"apply_to_channel": ALL, "retain_stats": ALL >= 0, "gamma": factors}
    return {
        Brightness: (
            MultiplicativeBrightnessTransform((0.7, 1.3), False),
            {"apply_to_channel": ALL, "multipliers": factors},
        ),
        Contrast: (ContrastTransform((0.7, 1.3), True, False), {"apply_to_channel": ALL, "multipliers": factors}),
        Gamma: (GammaTransform((0.7, 1.3), 0, False, 1, 1), {**bent, "invert_image": ALL < 0}),
        GammaInverted: (GammaTransform((0.7, 1.3), 1, False, 1, 1), {**bent, "invert_image": ALL >= 0}),
        Blur: (
            GaussianBlurTransform((0.5, 1.5), False, False, 1),
            {"apply_to_channel": torch.tensor([True, False, True]), "sigmas": [(0.5, 0.77, 1.0), (1.49, 1.2, 0.91)]},
        ),
        LowResolution: (
            SimulateLowResolutionTransform((0.5, 1.0), False, True, ()),
            {"apply_to_channel": ALL[1:], "scales": torch.tensor([[0.53] * 3, [0.81] * 3])},
        ),
    }


@pytest.mark.parametrize(
    "change",
    [
        Brightness(FACTORS),
        Contrast(FACTORS),
        Gamma(FACTORS),
        GammaInverted(FACTORS),
        Blur(((0.5, 0.77, 1.0), None, (1.49, 1.2, 0.91))),
        LowResolution((None, 0.53, 0.81)),
    ],
    ids=lambda change: type(change).__name__,
)
def test_a_change_is_nnunets(change: Any) -> None:
    image = torch.randn(1, 3, 16, 14, 13, generator=torch.Generator().manual_seed(0)) + 0.5
    transform, numbers = transforms()[type(change)]
    expected: Tensor = transform._apply_to_image(image[0].clone(), **numbers)
    assert (expected - image[0]).abs().max() > 0.1
    result = type(change).apply({0: change}, image.clone(), brain_of(image))
    torch.testing.assert_close(result[0], expected, rtol=0, atol=2e-5)


def test_factors_are_drawn_as_nnunets() -> None:
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast

    np.random.seed(0)  # noqa: NPY002 - nnU-Net draws from the global generator
    limits = (0.65, 1.5)
    theirs = np.sort([BGContrast(limits)() for _ in range(4000)])
    drawn = [Contrast.draw(np.random.default_rng(key), 4, 1.0, limits) for key in range(1000)]
    ours = np.sort([factor for one in drawn if one is not None for factor in one.factors])
    assert np.abs(ours - theirs).max() < 0.05, "the distributions' quantiles"
