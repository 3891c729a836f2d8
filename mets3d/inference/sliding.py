"""A network on a whole volume, window by window."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mets3d.shapes import SegOutput


@torch.inference_mode()
def window_probabilities(
    network: Callable[[Tensor], SegOutput],
    image: Float[Tensor, "C X Y Z"],
    *,
    patch: Sequence[int],
    overlap: float = 0.5,
    window_batch: int = 2,
) -> Float[Tensor, "R X Y Z"]:
    """Probabilities of every channel, fp32, on the image's device: Gaussian-weighted mean over overlapping windows.

    A volume smaller than the patch is padded with 0, the value outside the brain, and cropped back.
    """
    from monai.inferers.utils import sliding_window_inference

    probabilities = sliding_window_inference(
        image[None].float(),
        roi_size=tuple(patch),
        sw_batch_size=window_batch,
        predictor=lambda windows: network(windows).probabilities,
        overlap=overlap,
        mode="gaussian",
        sigma_scale=0.125,
    )
    assert isinstance(probabilities, torch.Tensor)
    return probabilities[0]
