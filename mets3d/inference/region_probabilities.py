"""Computes each region's probability from the channels of a target, one channel in memory at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8

from mets3d.regions import Region, Target


def region_probability(
    channels: Sequence[Float32[np.ndarray, "X Y Z"]], target: Target, region: Region
) -> Float32[np.ndarray, "X Y Z"]:
    """Returns one region's probability: its channel, or the sum of its labels' channels."""
    return RegionProbabilities(channels, target)(region)


class RegionProbabilities:
    """Each region's probability, to be fetched from the inside out: so a label's channel is read once for all regions.

    A probability is valid until the next one is fetched.
    """

    def __init__(self, channels: Sequence[Float32[np.ndarray, "X Y Z"]], target: Target):
        self.channels, self.target = channels, target
        self.summed: set[int] = set()
        self.total: Float32[np.ndarray, "X Y Z"] | None = None

    def __call__(self, region: Region) -> Float32[np.ndarray, "X Y Z"]:
        if self.target.kind == "regions":
            return self.channels[self.target.regions.index(region)]
        if not self.summed <= set(region.labels):
            self.summed, self.total = set(), None
        for label in sorted(set(region.labels) - self.summed):
            channel = self.channels[self.target.labels.index(label)]
            self.total = channel.copy() if self.total is None else np.add(self.total, channel, out=self.total)
        self.summed = set(region.labels)
        assert self.total is not None
        return self.total


def likeliest_label(channels: Sequence[Float32[np.ndarray, "X Y Z"]], target: Target) -> UInt8[np.ndarray, "X Y Z"]:
    """Returns the most probable label of every voxel, of equals the lower one."""
    highest = channels[0].copy()
    winner = np.full(highest.shape, target.labels[0], np.uint8)
    for index in range(1, target.channels):
        channel = channels[index]
        winner[channel > highest] = target.labels[index]
        np.maximum(highest, channel, out=highest)
        del channel  # before the next one is made
    return winner
