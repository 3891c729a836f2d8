"""Makes one region's mask: removes components, fills holes, and paints it into the label map.

Of a mask's 26-connected components some are removed, in this order:

  1. hysteresis: those whose highest probability is not above `peak`;
  2. those smaller than `min_volume_mm3`;
  3. with `largest_only`, all but the largest (of equals, the one with the higher peak).

With `fill_holes`, background that the mask encloses (6-connected) then joins it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from mets3d.inference.decoding_settings import RegionDecoding
from mets3d.inference.slabs import numbered_voxels
from mets3d.ops.components import Mask, Numbers, components
from mets3d.ops.voxels import bounding_box
from mets3d.regions import Region

ROUNDING = 1e-6  # voxels times a rounded spacing can miss a limit that they meet


@dataclass(frozen=True)
class Components:
    """Voxels and highest probability of every component of a mask; entry 0 is component 1."""

    voxels: Int64[np.ndarray, " N"]
    peaks: Float32[np.ndarray, " N"]


def selected(mask: Mask, probability: Float32[np.ndarray, "X Y Z"], setting: RegionDecoding, voxel_mm3: float) -> Mask:
    """Returns the part of a thresholded mask that stays by the region's settings, with holes filled if they say so."""
    if setting.filters:
        numbers = components(mask)
        stays = kept(measure(numbers, probability), setting, voxel_mm3)
        if not stays.all():
            mask = np.concatenate([[False], stays])[numbers]
    return filled(mask) if setting.fill_holes else mask


def measure(numbers: Numbers, probability: Float32[np.ndarray, "X Y Z"]) -> Components:
    """Returns sizes and highest probabilities of numbered components."""
    count = int(numbers.max(initial=0)) + 1
    voxels, peaks = np.zeros(count, np.int64), np.full(count, -np.inf, np.float32)
    for component, values, _ in numbered_voxels(numbers, probability):
        voxels += np.bincount(component, minlength=count)
        np.maximum.at(peaks, component, values)
    return Components(voxels[1:], peaks[1:])


def kept(found: Components, setting: RegionDecoding, voxel_mm3: float) -> Bool[np.ndarray, " N"]:
    """Returns which components stay by the settings; an empty array where there are none."""
    stays = found.voxels * voxel_mm3 >= setting.min_volume_mm3 * (1 - ROUNDING)
    if setting.peak is not None:
        stays &= found.peaks > setting.peak
    if setting.largest_only and stays.any():
        candidates = np.flatnonzero(stays)
        best = candidates[np.lexsort((found.peaks[candidates], found.voxels[candidates]))[-1]]
        stays = np.arange(len(stays)) == best
    return stays


def filled(mask: Mask) -> Mask:
    """Adds all background from which no path over voxel faces leads out of the mask, as `binary_fill_holes` does."""
    box = bounding_box(mask)
    if box is None:
        return mask
    outside = components(~np.pad(mask[box], 1), connectivity=6)
    solid = mask.copy()
    solid[box] = (outside != outside[0, 0, 0])[1:-1, 1:-1, 1:-1]
    return solid


def paint(labels: UInt8[np.ndarray, "*S"], mask: Bool[np.ndarray, "*S"], region: Region) -> None:
    """Paints a region, in place, where no region further inside is painted."""
    labels[mask & (labels == 0)] = region.decoded_as
