"""Makes what the viewer holds of a case: its volumes cropped, in bytes and packed, within the size of a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from mets3d.ops.voxels import Box, Shape3, bounding_box
from mets3d.regions import KNOWN_LABELS, LABEL_NAMES, scored_regions
from mets3d.reporting.pictures.slices import grey_window
from mets3d.reporting.viewer.case_layers import CaseLayers, SoftMap
from mets3d.reporting.viewer.mosaics import Mosaic, columns_of, lossless, lossy

MOST_CHARACTERS = 3_500_000  # of a page's volumes; the rest of a page of 4 MB is script, style and tables
MOST_SOFT_CHARACTERS = 900_000  # of that for probabilities and uncertainty
MOST_VOXELS = 12_000_000  # of one volume: the largest picture that every browser decodes has 16.7 million
MARGIN_VOXELS = 2
QUALITIES = (88, 80, 70, 55, 40, 25, 10)  # of the sequences; the first that fits is taken
SOFT_QUALITY = 80
SAMPLED = 200_000  # values of a sequence from which its window is read
LABEL_SCALE = 32  # labels lie so far apart in their picture that no browser's rounding joins two
RINGING = 5  # of 255: what JPEG leaves around the brain, where it was 0
LEAST_SHOWN = 13  # of 255: a probability below 0.05 is not shown

# From the low end to the high end of a soft map's colours, as red, green, blue.
PROBABILITY_COLOURS = ((150, 20, 60), (255, 235, 120))
UNCERTAINTY_COLOURS = ((0, 90, 130), (130, 255, 240))

IN_A_WORD = {"NETC": "necrosis", "SNFH": "oedema", "ET": "enhancing tumour", "RC": "resection cavity"}

Kind = Literal["image", "labels", "map"]


@dataclass(frozen=True)
class Overlay:
    """A control for one layer of the viewer."""

    id: str
    name: str
    on: bool


@dataclass(frozen=True)
class ViewerContents:
    """The data that the viewer reads, and the names of the controls that the template writes."""

    data: dict[str, Any]
    sequences: list[Overlay]
    overlays: list[Overlay]
    problems: list[str]

    @property
    def labels(self) -> list[dict[str, Any]]:
        """Returns name and colour of each label that is there, for the legend."""
        return [label for label in self.data["labels"] if label["there"]]


def viewer_contents(layers: CaseLayers, start_mm: Sequence[float] | None = None) -> ViewerContents:
    """Packs a case's layers. `start_mm` is where the crosshair stands at first, in RAS; None is the middle.

    Everything lies on the box around the brain and all labels, in-plane by so few voxels that a browser can decode
    it: images are means there, labels the largest, so that no lesion vanishes.
    """
    box = _box(layers)
    step = _step(_sizes(box))
    problems = list(layers.problems)
    overlays = _label_layers(layers, box, step)
    used = sum(len(layer["source"]) for layer in overlays)
    soft, left_out = _soft_layers(layers, box, step)
    if left_out:
        problems.append(f"Left out, for a page holds no more: {', '.join(left_out)}.")
    overlays += soft
    images = _image_layers(layers, box, step, MOST_CHARACTERS - used - sum(len(layer["source"]) for layer in soft))
    size = tuple(math.ceil(n / by) for n, by in zip(_sizes(box), step, strict=True))
    data = {
        "shape": size,
        "columns": columns_of(size),
        "affine": _affine(layers.affine, box, step)[:3].tolist(),
        "spacing_mm": [side * by for side, by in zip(layers.spacing_mm, step, strict=True)],
        "first": [side.start for side in box],
        "step": step,
        "whole": next(iter(layers.images.values())).shape,
        "start_mm": None if start_mm is None else [*start_mm],
        "labels": _labels(layers),
        "layers": [*images, *overlays],
    }
    first = next((layer for layer in images if layer["name"] == "t1c"), images[0])
    controls = [Overlay(layer["id"], layer["name"], layer["on"]) for layer in overlays]
    return ViewerContents(
        data, [Overlay(layer["id"], layer["name"], layer is first) for layer in images], controls, problems
    )


# ---------------------------------------------------------------- layers


def _image_layers(layers: CaseLayers, box: Box, step: Shape3, room: int) -> list[dict[str, Any]]:
    """Packs the sequences in the best quality in which they all fit; in the least one where none does."""
    volumes = {name: _means(_grey(image[box]), step) for name, image in layers.images.items()}
    packed: dict[str, Mosaic] = {}
    for quality in QUALITIES:
        packed = {name: lossy(volume, quality) for name, volume in volumes.items()}
        if sum(len(mosaic.source) for mosaic in packed.values()) <= room:
            break
    return [_layer(f"image-{at}", name, "image", packed[name]) | {"least": RINGING} for at, name in enumerate(packed)]


def _label_layers(layers: CaseLayers, box: Box, step: Shape3) -> list[dict[str, Any]]:
    """Packs the reference, filled, and the predictions as outlines; the first one is shown at once."""
    named: list[tuple[str, UInt8[np.ndarray, "X Y Z"]]] = []
    if layers.reference is not None:
        named.append(("Reference", layers.reference))
    named += [
        (f"Prediction of {run}" if layers.several else "Prediction", map_) for run, map_ in layers.predictions.items()
    ]
    scale = np.zeros(256, np.uint8)
    scale[list(KNOWN_LABELS)] = [LABEL_SCALE * label for label in KNOWN_LABELS]
    first = next((name for name, labels in named if labels is not layers.reference), None)
    return [
        _layer(f"labels-{at}", name, "labels", lossless(scale[_largest(labels[box], step)]))
        | {"scale": LABEL_SCALE, "outlined": labels is not layers.reference}
        | {"on": labels is layers.reference or name == first}
        for at, (name, labels) in enumerate(named)
    ]


def _soft_layers(layers: CaseLayers, box: Box, step: Shape3) -> tuple[list[dict[str, Any]], list[str]]:
    """Packs probabilities and uncertainties, and names those that a page has no room for."""
    packed, left_out, used = [], [], 0
    for at, soft in enumerate(layers.soft):
        name = f"{soft.name}, {soft.run}" if layers.several else soft.name
        mosaic = lossy(_means(_soft_bytes(soft, box), step), SOFT_QUALITY)
        used += len(mosaic.source)
        if used > MOST_SOFT_CHARACTERS:
            left_out.append(name)
            continue
        low, high = UNCERTAINTY_COLOURS if soft.region is None else PROBABILITY_COLOURS
        packed.append(
            _layer(f"map-{at}", name, "map", mosaic) | {"from": low, "to": high, "least": LEAST_SHOWN, "on": False}
        )
    return packed, left_out


def _layer(name_in_page: str, name: str, kind: Kind, mosaic: Mosaic) -> dict[str, Any]:
    return {"id": name_in_page, "name": name, "kind": kind, "type": mosaic.type, "source": mosaic.source}


def _labels(layers: CaseLayers) -> list[dict[str, Any]]:
    """Returns value, name and colour of each label, that of the region which is painted by it, and if it is there."""
    maps = [map_ for map_ in (layers.reference, *layers.predictions.values()) if map_ is not None]
    there = {label for map_ in maps for label in KNOWN_LABELS if (map_ == label).any()}
    return [
        {
            "value": region.decoded_as,
            "name": LABEL_NAMES[region.decoded_as],
            "colour": region.colour,
            "meaning": IN_A_WORD[LABEL_NAMES[region.decoded_as]],
            "there": region.decoded_as in there,
            "rgb": [*bytes.fromhex(region.colour.removeprefix("#"))],
        }
        for region in sorted(scored_regions(cavity=True), key=lambda region: region.decoded_as)
    ]


# ---------------------------------------------------------------- bytes


def _grey(image: Float32[np.ndarray, "X Y Z"]) -> UInt8[np.ndarray, "X Y Z"]:
    """Scales an image to 1 to 255 between the percentiles of its inside; 0 outside."""
    inside = image != 0
    values = image[inside]
    low, high = grey_window(values[:: max(1, values.size // SAMPLED)])
    scaled = np.clip((image - low) * np.float32(254 / max(high - low, 1e-6)), 0, 254) + 1
    grey: UInt8[np.ndarray, "X Y Z"] = np.where(inside, np.nan_to_num(scaled), 0).astype(np.uint8)
    return grey


def _soft_bytes(soft: SoftMap, box: Box) -> UInt8[np.ndarray, "X Y Z"]:
    values: UInt8[np.ndarray, "X Y Z"] = np.rint(np.nan_to_num(soft.values[box]).clip(0, 1) * 255).astype(np.uint8)
    values[values < LEAST_SHOWN] = 0
    return values


# ---------------------------------------------------------------- grid


def _box(layers: CaseLayers) -> Box:
    """Returns the box around everything that is not background, the whole volume where there is nothing."""
    first, *others = layers.images.values()
    held: Bool[np.ndarray, "X Y Z"] = first != 0
    for volume in (*others, layers.reference, *layers.predictions.values()):
        if volume is not None:
            held |= volume != 0
    x, y, z = held.shape
    return bounding_box(held, MARGIN_VOXELS) or (slice(0, x), slice(0, y), slice(0, z))


def _sizes(box: Box) -> Shape3:
    x, y, z = (side.stop - side.start for side in box)
    return x, y, z


def _step(shape: Shape3) -> Shape3:
    """Returns how many voxels become one along each axis: as many in-plane as bring the volume below MOST_VOXELS."""
    by = math.ceil(math.sqrt(max(1.0, math.prod(shape) / MOST_VOXELS)))
    return by, by, 1


def _affine(affine: Float64[np.ndarray, "4 4"], box: Box, step: Shape3) -> Float64[np.ndarray, "4 4"]:
    """Returns the affine of the box: the middle of its first voxel is that of the voxels that it stands for."""
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ [side.start + (by - 1) / 2 for side, by in zip(box, step, strict=True)]
    moved[:3, :3] *= step
    return moved


def _means(volume: UInt8[np.ndarray, "X Y Z"], step: Shape3) -> UInt8[np.ndarray, "x y z"]:
    if math.prod(step) == 1:
        return volume
    means: UInt8[np.ndarray, "x y z"] = np.rint(_blocks(volume, step).mean(axis=(1, 3, 5))).astype(np.uint8)
    return means


def _largest(volume: UInt8[np.ndarray, "X Y Z"], step: Shape3) -> UInt8[np.ndarray, "x y z"]:
    if math.prod(step) == 1:
        return volume
    return np.asarray(_blocks(volume, step).max(axis=(1, 3, 5)))


def _blocks(volume: UInt8[np.ndarray, "X Y Z"], step: Shape3) -> UInt8[np.ndarray, "x a y b z c"]:
    padded = np.pad(volume, [(0, -n % by) for n, by in zip(volume.shape, step, strict=True)])
    sizes = [part for n, by in zip(padded.shape, step, strict=True) for part in (n // by, by)]
    blocks: UInt8[np.ndarray, "x a y b z c"] = padded.reshape(sizes)
    return blocks
