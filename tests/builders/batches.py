"""Random batches as the loader yields them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mets3d.augment.changes import Drawn, augment
from mets3d.ops.voxels import Spacing


def random_batch(seed: int = 0, shape: tuple[int, int, int] = (8, 10, 6)) -> tuple[Tensor, Tensor]:
    """Returns two images of four sequences and their labels; the first two planes along Z are outside the brain."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(2, 4, *shape, generator=generator)
    image[..., :2] = 0  # outside the brain
    labels = torch.randint(0, 4, (2, *shape), generator=generator, dtype=torch.uint8)
    return image, labels


def augmented(
    image: Tensor, labels: Tensor, drawn: list[Drawn], spacing_mm: Spacing | Sequence[Spacing] = (1.0, 1.0, 1.0)
) -> tuple[Tensor, Tensor]:
    """Applies changes to a batch of which no more than the patch was read."""
    x, y, z = image.shape[2:]
    return augment(tuple(image), tuple(labels), drawn, (x, y, z), spacing_mm)


def brain_of(image: Tensor) -> Tensor:
    """Returns where any sequence of a batch is not 0, [B, 1, X, Y, Z]."""
    return (image != 0).any(1, keepdim=True)
