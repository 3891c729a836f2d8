"""The parts of a case that have nothing to do with each other, each in a small box of its own.

A case of 46 million voxels holds a few hundred thousand that are labelled, in clusters. What labels, grows and matches
components works on the clusters one by one: it costs what the lesions cost and not what the volume does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Integer, UInt8

from mets3d.ops.components import components
from mets3d.ops.voxels import Voxels, extent, voxels_of

BLOCK = 8  # voxels a side; two islands are at least this far apart, and no rule joins parts more than three apart

Corner = tuple[int, int, int]


@dataclass(frozen=True)
class Island:
    """Both label maps in a box with a margin of one voxel of background, which may lie beyond the image."""

    prediction: UInt8[np.ndarray, "x y z"]
    reference: UInt8[np.ndarray, "x y z"]
    corner: Corner  # the image's voxel where the box begins; -1 for a margin beyond the image


def islands(prediction: Integer[np.ndarray, "X Y Z"], reference: Integer[np.ndarray, "X Y Z"]) -> list[Island]:
    """Islands of labelled voxels, in the order of their first voxel; none where both maps are empty.

    Between voxels of two islands there are at least `BLOCK` voxels along some axis. Labels are those of the BraTS
    convention, 0 to 255.
    """
    voxels = voxels_of((prediction != 0) | (reference != 0))
    if not len(voxels):
        return []
    number = _island_numbers(voxels)
    order = np.argsort(number.astype(np.uint16) if number.max() < 2**16 else number, kind="stable")  # 16 bits: radix
    found = []
    for own in np.split(voxels[order], np.flatnonzero(np.diff(number[order])) + 1):
        first, last = extent(own)
        corner, shape = first - 1, last - first + 3
        boxes = []
        for labels in (prediction, reference):
            box = np.zeros(shape, np.uint8)
            box[tuple((own - corner).T)] = labels[tuple(own.T)]
            boxes.append(box)
        x, y, z = corner.tolist()
        found.append(Island(boxes[0], boxes[1], (x, y, z)))
    return found


def _island_numbers(voxels: Voxels) -> Int[np.ndarray, " N"]:
    """The island of each voxel: blocks that hold voxels, joined where they touch; numbered by their first voxel."""
    first, last = extent(voxels)
    blocks = (voxels - first) // BLOCK
    filled = np.zeros((last - first) // BLOCK + 1, bool)
    filled[tuple(blocks.T)] = True
    number = components(filled)[tuple(blocks.T)]
    _, where, inverse = np.unique(number, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(where))[inverse]
