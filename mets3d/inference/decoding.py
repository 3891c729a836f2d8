"""Decodes probabilities into a label map, an uncertainty map and a table of predicted lesions. NumPy alone.

A region's mask is where its probability is above a threshold (label mode: where the most probable label is one of its
labels), less the components that its settings remove (`region_masks`). The masks are painted in the order WT, TC, ET,
RC, an inner region over an outer one. With the default settings this is `Target.decode`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, SupportsFloat

import numpy as np
from jaxtyping import Float32, Num, UInt8

from mets3d.inference.decoding_settings import Decoding, check_covers
from mets3d.inference.lesion_table import lesion_rows
from mets3d.inference.region_masks import paint, selected
from mets3d.inference.region_probabilities import RegionProbabilities, likeliest_label
from mets3d.inference.slabs import slabs
from mets3d.ops.voxels import Box, Shape3, Spacing, bounding_box
from mets3d.regions import Target

Ends = Sequence[tuple[int, int]]  # of a box: first and one past the last voxel, an axis each


@dataclass(frozen=True, eq=False)
class Decoded:
    """Label map, uncertainty and lesions of one case: one dict per predicted lesion, keys as `LESION_COLUMNS`."""

    labels: UInt8[np.ndarray, "X Y Z"]
    uncertainty: Float32[np.ndarray, "X Y Z"]
    lesions: list[dict[str, Any]]


def decode(
    channels: Sequence[Float32[np.ndarray, "X Y Z"]],
    target: Target,
    decoding: Decoding,
    spacing_mm: Sequence[SupportsFloat],
    *,
    within: tuple[Ends, Shape3] | None = None,
) -> Decoded:
    """Decodes one case on a grid with voxels of `spacing_mm`.

    `channels` are the target's, in its order, and may be made anew whenever one is fetched: one is held at a time, and
    each is fetched once (label mode: twice). A region's probability is its channel, or the sum of its labels'.

    within: a box, as first and past-the-last voxel an axis, and the shape of the case's grid, where the channels are
    those in the box and beyond it no region has any probability. The result is that of decoding the whole grid.

    Uncertainty: the binary entropy -p log2 p - (1-p) log2 (1-p) in bits of each region's probability, the largest over
    the regions; 0 certain, 1 undecided.

    Lesions: the 26-connected components of each region in the label map as painted, numbered per region, the largest
    first, with a place inside along the array's axes (`lesion_rows`). A region without a voxel has no row.

    Raises ValueError for settings that lack a region, a threshold in label mode, another number of channels, and NaN.
    """
    if len(channels) != target.channels:
        raise ValueError(f"expected {target.channels} channels ({', '.join(target.names)}), found {len(channels)}")
    check_covers(decoding, target)
    x_mm, y_mm, z_mm = (float(side) for side in spacing_mm)
    origin = (0, 0, 0) if within is None else tuple(start for start, _ in within[0])
    decoded = _decoded(channels, target, decoding, (x_mm, y_mm, z_mm), origin)
    if within is None:
        return decoded
    return Decoded(_pasted(decoded.labels, *within), _pasted(decoded.uncertainty, *within), decoded.lesions)


def _decoded(
    channels: Sequence[Float32[np.ndarray, "X Y Z"]],
    target: Target,
    decoding: Decoding,
    spacing_mm: Spacing,
    origin: Sequence[int],
) -> Decoded:
    """Decodes from the inside out.

    So a voxel is painted once, and a region's lesions are final while its probability is in memory.
    """
    winner = likeliest_label(channels, target) if target.kind == "labels" else None
    probability_of = RegionProbabilities(channels, target)
    labels = nearest = None
    painted: Box | None = None
    lesions: dict[str, list[dict[str, Any]]] = {}
    for region in reversed(target.regions):
        probability = probability_of(region)
        if labels is None or nearest is None:
            labels, nearest = np.zeros(probability.shape, np.uint8), np.full(probability.shape, 0.5, np.float32)
        _approach_half(nearest, probability, region.name)
        mask = probability > decoding[region.name].threshold if winner is None else region.mask(winner)
        box = bounding_box(mask)
        if box is not None:
            stays = selected(mask[box], probability[box], decoding[region.name], math.prod(spacing_mm))
            paint(labels[box], stays, region)
            painted = box if painted is None else _hull(painted, box)
        lesions[region.name] = lesion_rows(region, labels, probability, painted, spacing_mm, origin)
        del probability, mask  # before the next one is made
    assert labels is not None
    assert nearest is not None
    return Decoded(labels, _entropy_bits(nearest), [row for region in target.regions for row in lesions[region.name]])


# ---------------------------------------------------------------- uncertainty


def _approach_half(
    nearest: Float32[np.ndarray, "X Y Z"], probability: Float32[np.ndarray, "X Y Z"], region: str
) -> None:
    """Keeps, in place, the smallest distance from 1/2 of any region's probability: entropy falls with it."""
    for slab in slabs(nearest):
        np.minimum(nearest[slab], np.abs(probability[slab] - 0.5), out=nearest[slab])
        if np.isnan(nearest[slab]).any():
            raise ValueError(f"expected probabilities from 0 to 1, found NaN in {region}; the weights may be broken")


def _entropy_bits(nearest: Float32[np.ndarray, "X Y Z"]) -> Float32[np.ndarray, "X Y Z"]:
    """Replaces, in place, how far a probability lies from 1/2 by its binary entropy."""
    for slab in slabs(nearest):
        bits = np.zeros_like(nearest[slab])
        for probability in (0.5 - nearest[slab], 0.5 + nearest[slab]):
            bits -= probability * np.log2(np.maximum(probability, np.float32(1e-30)))  # 0 log 0 is 0
        nearest[slab] = bits
    return nearest


# ---------------------------------------------------------------- boxes


def _pasted(volume: Num[np.ndarray, "x y z"], box: Ends, shape: Shape3) -> Num[np.ndarray, "X Y Z"]:
    """Puts a volume where it lies into a larger one that is 0 elsewhere."""
    whole = np.zeros(shape, volume.dtype)
    whole[tuple(slice(start, stop) for start, stop in box)] = volume
    return whole


def _hull(one: Box, other: Box) -> Box:
    """Returns the smallest box that holds both."""
    x, y, z = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return x, y, z
