"""Defines labels, regions and the meaning of the network's channels. The only module that knows a label integer.

A BraTS-METS label map holds one integer per voxel. What is learned and scored are, by default, the nested regions made
of those labels: whole tumour WT = 1+2+3, tumour core TC = 1+3, enhancing tumour ET = 3 (BraTS-METS 2023, arXiv
2306.00838). From 2024 on, label 4 is the resection cavity RC, which belongs to no other region.

Imports neither NumPy nor torch: everything below works on both kinds of array by operators alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, Literal

BACKGROUND, NETC, SNFH, ET_LABEL, RC_LABEL = 0, 1, 2, 3, 4

LABEL_NAMES = {
    BACKGROUND: "background",
    NETC: "NETC",  # non-enhancing tumour core: necrosis
    SNFH: "SNFH",  # surrounding non-enhancing FLAIR hyperintensity: oedema
    ET_LABEL: "ET",  # enhancing tumour
    RC_LABEL: "RC",  # resection cavity, 2024 onward
}
LABEL_MEANINGS = {
    BACKGROUND: "background",
    NETC: "non-enhancing tumour core",
    SNFH: "surrounding non-enhancing FLAIR hyperintensity",
    ET_LABEL: "enhancing tumour",
    RC_LABEL: "resection cavity",
}
KNOWN_LABELS = tuple(LABEL_NAMES)
IllegalLabels = Literal["error", "background"]  # what a label that is none of them is: an error, or no region
BACKGROUNDS = ("t1c", "t2f", "t2w", "t1n")  # of pictures where a region's own is not there


@dataclass(frozen=True)
class Region:
    """A union of labels that is learned and scored as one mask."""

    name: str
    labels: tuple[int, ...]
    decoded_as: int  # label painted where the region is predicted and no inner region is
    colour: str  # of Okabe and Ito's palette, which colour-blind readers can tell apart
    shown_on: str  # sequence on which a reader sees it best

    def background(self, sequences: Collection[str]) -> str:
        """Returns the sequence to show the region on: `shown_on`, else the first of BACKGROUNDS, else what is there."""
        return next((name for name in (self.shown_on, *BACKGROUNDS, *sequences) if name in sequences), self.shown_on)

    def mask(self, labels: Any) -> Any:
        """Returns the boolean mask of this region in a label map, a NumPy array or tensor of any shape."""
        return reduce(or_, (labels == label for label in self.labels))


WT = Region("WT", (NETC, SNFH, ET_LABEL), SNFH, "#E69F00", "t2f")
TC = Region("TC", (NETC, ET_LABEL), NETC, "#CC79A7", "t1c")
ET = Region("ET", (ET_LABEL,), ET_LABEL, "#56B4E9", "t1c")
RC = Region("RC", (RC_LABEL,), RC_LABEL, "#009E73", "t1c")


def label_colours(labels: Collection[int]) -> dict[int, tuple[int, int, int]]:
    """Returns red, green and blue, 0 to 255, of each of these labels but the background: those of its region."""
    colours = {region.decoded_as: region.colour for region in (WT, TC, ET, RC)}
    return {
        label: (int(colours[label][1:3], 16), int(colours[label][3:5], 16), int(colours[label][5:7], 16))
        for label in labels
        if label != BACKGROUND
    }


def scored_regions(cavity: bool = False) -> tuple[Region, ...]:
    """Returns the regions in channel order, outermost first: WT, TC, ET and, where the cavity is on, RC."""
    return (WT, TC, ET, RC) if cavity else (WT, TC, ET)


@dataclass(frozen=True)
class Target:
    """The meaning of the network's channels.

    kind `regions`: one sigmoid channel a region, overlapping. kind `labels`: one softmax channel a label, the
    background first.
    """

    kind: Literal["regions", "labels"] = "regions"
    cavity: bool = False

    @property
    def regions(self) -> tuple[Region, ...]:
        """Returns the regions in channel order, whether they are learned or made of labels."""
        return scored_regions(self.cavity)

    @property
    def labels(self) -> tuple[int, ...]:
        """Returns the labels that are learned, the background first."""
        return KNOWN_LABELS if self.cavity else KNOWN_LABELS[:-1]

    @property
    def names(self) -> tuple[str, ...]:
        """Returns the name of each channel."""
        if self.kind == "regions":
            return tuple(region.name for region in self.regions)
        return tuple(LABEL_NAMES[label] for label in self.labels)

    @property
    def channels(self) -> int:
        """Returns the number of channels."""
        return len(self.names)

    @property
    def foreground(self) -> slice:
        """Returns the channels that losses on regions of interest see: all regions, or labels but the background."""
        return slice(0 if self.kind == "regions" else 1, None)

    def masks(self, labels: Any) -> list[Any]:
        """Returns one boolean mask a channel of a label map, NumPy array or tensor, to stack on the axis that suits."""
        if self.kind == "regions":
            return [region.mask(labels) for region in self.regions]
        return [labels == label for label in self.labels]

    def decode(self, probabilities: Any, threshold: float = 0.5) -> Any:
        """Returns the label map of channel-first probabilities [R, X, Y, Z], a NumPy array or tensor.

        Regions: a voxel above `threshold` is painted, outermost region first, so that an inner region overwrites an
        outer one. Labels: the channel with the highest probability.
        """
        if self.kind == "labels":
            return probabilities.argmax(0)
        painted = (probabilities[0] > threshold) * 0
        for region, probability in zip(self.regions, probabilities, strict=True):
            inside = probability > threshold
            painted = painted * ~inside + region.decoded_as * inside
        return painted
