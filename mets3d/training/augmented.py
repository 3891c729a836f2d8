"""Makes of a loader's batch what the network and the loss see, on the device: the same from the same keys."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from mets3d.augment.changes import Drawn, augment
from mets3d.data.loader import Batch
from mets3d.ops.voxels import Shape3
from mets3d.shapes import Lesions


def augmented(
    batch: Batch, patch: Shape3, device: torch.device
) -> tuple[Float[Tensor, "B C X Y Z"], Integer[Tensor, "B X Y Z"], Lesions | None]:
    """Copies a batch to the device, without waiting, and applies what was drawn for each of its samples.

    Returns images in fp32, labels, and the numbers of the lesions where the samples have them, which move alike and
    change neither images nor labels: runs with and without them see the same, to the last bit. Any sample of a run is
    made again from its step and index by `augmented(job.samples.batch([(step, index)]), ...)`.
    """
    batch = batch.to(device)
    labels: Sequence[Tensor] = batch.labels
    if batch.lesions is not None:
        labels = [torch.cat([own[None].to(n.dtype), n]) for own, n in zip(labels, batch.lesions, strict=True)]
    drawn = [Drawn() if one is None else one for one in batch.drawn]
    image, kept = augment([image.float() for image in batch.image], labels, drawn, patch, batch.spacing_mm)
    if batch.lesions is None:
        return image, kept, None
    return image, kept[:, 0].to(batch.labels[0].dtype), Lesions(kept[:, 1:], batch.most_lesions)
