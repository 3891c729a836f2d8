"""Random batches as the loader yields them."""

from __future__ import annotations

import torch
from torch import Tensor


def random_batch(seed: int = 0, shape: tuple[int, int, int] = (8, 10, 6)) -> tuple[Tensor, Tensor]:
    """Returns two images of four sequences and their labels; the first two planes along Z are outside the brain."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(2, 4, *shape, generator=generator)
    image[..., :2] = 0  # outside the brain
    labels = torch.randint(0, 4, (2, *shape), generator=generator, dtype=torch.uint8)
    return image, labels
