"""Counts the bytes of the losses' stages. They work in fp32 whatever the precision of the network is."""

from __future__ import annotations

import math

from mets3d.planning.network_bytes import Sizes
from mets3d.planning.stages import FP32, Stage
from mets3d.settings import Loss

# In volumes of all regions in fp32: kept for the backward pass, and needed at the worst moment of either pass.
BOUNDARY = {
    "hausdorff_distance": (1.0, 4.0, 2.0),  # the weighted error; two fields of two masks each
    "hausdorff_log": (1.0, 4.0, 2.0),
    "hausdorff_erosion": (1.0, 4.0, 2.3),  # and one for each erosion, with a mask where it is by peak
    "hausdorff_convolution": (5.0, 8.0, 3.3),  # and four for each radius, and its transforms
    "hausdorff_conditioned": (1.0, 4.0, 2.0),
    "signed_distance": (1.0, 4.2, 2.0),
    "generalized_surface": (1.0, 4.0, 2.0),
    "region_wise": (1.0, 4.2, 2.0),
    "blob": (1.3, 2.5, 2.0),
    "cc_dice": (1.3, 2.5, 2.0),
    "focal_tversky": (1.3, 2.5, 2.0),
    "top_k": (1.8, 4.0, 3.0),
}


def loss_stages(sizes: Sizes, loss: Loss) -> list[Stage]:
    """Returns the base loss and each boundary term, which has probabilities of its own."""
    stages = [_base(sizes, loss)]
    for name in loss.boundary_terms:
        stages += [_probabilities(sizes), _boundary(sizes, loss, name)]
    return stages


def _base(sizes: Sizes, loss: Loss) -> Stage:
    """Region loss of the heads, query loss of the masks matched by every prediction."""
    model = sizes.model
    of_heads = FP32 * sizes.channels * sum(sizes.voxels(level) for level in sizes.deep)
    of_finest = FP32 * sizes.channels * sizes.voxels(0)
    volumes = (3 if sizes.half else 2) + (1 if loss.batch_dice else 0)
    if not model.has_queries:
        whole = of_heads + of_finest
        return Stage("region loss", kept=volumes * whole, forward=2.0 * of_finest, backward=2.0 * of_finest)
    predictions = model.decoder_layers + 1 if loss.query_predictions == "all" else 1
    masks = predictions * of_finest
    features = FP32 * sizes.width(0) * sizes.voxels(0)
    return Stage(
        "query loss",
        kept=volumes * of_heads + (features if sizes.half else 0) + 2 * masks + of_finest,
        forward=float(masks),
        backward=float(max(3 * masks, features - masks - of_finest)),
        gradient=sizes.map(0) if loss.boundary == "none" else 0,
    )


def _probabilities(sizes: Sizes) -> Stage:
    """Region probabilities: in the query modes of the masks of all queries, at full resolution."""
    of_regions = float(FP32 * sizes.channels * sizes.voxels(0))
    if not sizes.model.has_queries:
        return Stage("probabilities", kept=of_regions, forward=of_regions, backward=of_regions)
    masks = float(FP32 * sizes.model.queries * sizes.voxels(0))
    features = float(FP32 * sizes.width(0) * sizes.voxels(0))
    return Stage(
        "probabilities of the queries",
        kept=masks + (features if sizes.half else 0),
        lent=masks + of_regions,
        forward=2 * of_regions,
        backward=max(2 * masks, features) + of_regions,
        gradient=sizes.map(0),
    )


def _boundary(sizes: Sizes, loss: Loss, name: str) -> Stage:
    volume = float(FP32 * sizes.channels * sizes.voxels(0))
    kept, forward, backward = BOUNDARY[name]
    if name == "hausdorff_erosion":
        kept += loss.boundary_erosions * (1.25 if loss.boundary_rescale == "peak" else 1)
    if name == "hausdorff_convolution":
        # A transform is of the patch and the reach of the largest ball beside it, taken as voxels of 1 mm.
        transform = math.prod(1 + max(loss.boundary_radii_mm) / size for size in sizes.patch)
        # The balls' are of one channel: of each sample in the product, and of one more in the cache.
        balls = transform / sizes.channels * (1 + 1 / sizes.samples)
        kept += transform + len(loss.boundary_radii_mm) * (4 + balls)
        forward += 4 * transform
    return Stage(f"boundary term {name}", kept * volume, 0.0, forward * volume, backward * volume)
