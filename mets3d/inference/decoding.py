"""Probabilities -> label map, uncertainty map and a table of the predicted lesions. NumPy alone.

A region's mask is where its probability is above a threshold (label mode: where the most probable label is one of its
labels). Of its 26-connected components some are removed, in this order:

  1. hysteresis: those whose highest probability is not above `peak`;
  2. those smaller than `min_volume_mm3`;
  3. with `largest_only`, all but the largest (of equals, the one with the higher peak).

With `fill_holes`, background that the mask encloses (6-connected) then joins it. The masks are painted in the order WT,
TC, ET, RC, an inner region over an outer one. With the default settings this is `Target.decode`.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64, Integer, Num, UInt8

from mets3d.files import TEXT, read_object, write_json
from mets3d.ops.components import components
from mets3d.ops.voxels import Box, bounding_box
from mets3d.regions import Region, Target
from mets3d.settings import Predict

LESION_COLUMNS = (
    *("region", "lesion", "volume_mm3", "x_mm", "y_mm", "z_mm"),
    *("peak_probability", "mean_probability", "voxels"),
)
WEIGHTS = "weights_sha256"  # key of the file: what it was tuned for
SLAB_VOXELS = 2**20  # what is worked on at once where a temporary of the whole volume would be many times as large
ROUNDING = 1e-6  # voxels times a rounded spacing can miss a limit that they meet
LABELS_HAVE_NO_THRESHOLD = (
    "a threshold does not apply to softmax labels, where the most probable label is taken; leave it at 0.5"
)


@dataclass(frozen=True)
class RegionDecoding:
    """How one region's probability becomes a mask. Raises ValueError for a senseless value, saying what is expected."""

    threshold: float = 0.5  # a voxel above it belongs to the region
    peak: float | None = None  # only components whose highest probability is above it stay
    min_volume_mm3: float = 0.0  # smaller components are removed
    largest_only: bool = False  # for the cavity
    fill_holes: bool = False  # for the cavity

    def __post_init__(self) -> None:
        _check_values(asdict(self))

    @property
    def filters(self) -> bool:
        """Whether components can be removed at all."""
        return self.peak is not None or self.min_volume_mm3 > 0 or self.largest_only


Decoding = Mapping[str, RegionDecoding]  # by region name


@dataclass(frozen=True, eq=False)
class Decoded:
    """What one case's probabilities say. `lesions` has one dict per predicted lesion, with LESION_COLUMNS as keys."""

    labels: UInt8[np.ndarray, "X Y Z"]
    uncertainty: Float32[np.ndarray, "X Y Z"]
    lesions: list[dict[str, Any]]


def decoding_for(target: Target, predict: Predict, tuned: Path | None) -> Decoding:
    """The settings of every region of a target: those in the file `tuned`, else one threshold for all.

    Raises ValueError for a threshold other than 0.5 in label mode, and as `read_decoding`.
    """
    if target.kind == "labels" and predict.threshold != RegionDecoding.threshold:
        raise ValueError(f"predict.threshold is {predict.threshold:g}, but {LABELS_HAVE_NO_THRESHOLD}")
    default = RegionDecoding(threshold=predict.threshold)
    if tuned is not None:
        return read_decoding(tuned, target, default)
    return {region.name: default for region in target.regions}


def decode(
    channels: Sequence[Float32[np.ndarray, "X Y Z"]],
    target: Target,
    decoding: Decoding,
    spacing_mm: Sequence[SupportsFloat],
    *,
    within: tuple[Sequence[tuple[int, int]], tuple[int, int, int]] | None = None,
) -> Decoded:
    """Label map, uncertainty and lesions of one case on a grid with voxels of `spacing_mm`.

    within: a box, as first and past-the-last voxel an axis, and the shape of the case's grid, where the channels are
    those in the box and beyond it no region has any probability. The result is that of decoding the whole grid.

    `channels` are the target's, in its order, and may be made anew whenever they are asked for: one is held at a time,
    and each is asked for once (label mode: twice). A region's probability is its channel, or the sum of its labels'.

    Uncertainty: the binary entropy -p log2 p - (1-p) log2 (1-p) in bits of each region's probability, the largest over
    the regions; 0 certain, 1 undecided.

    Lesions: the 26-connected components of each region in the label map as painted, numbered per region, the largest
    first. Centroids are along the array's axes (index times spacing). A region without a voxel has no row.

    Raises ValueError for settings that lack a region, a threshold in label mode, another number of channels, and NaN.
    """
    _check(channels, target, decoding)
    spacing = tuple(float(side) for side in spacing_mm)
    winner = likeliest_label(channels, target) if target.kind == "labels" else None
    probability_of = _Probabilities(channels, target)
    painted = nearest = None
    painted_box: Box | None = None
    origin = (0, 0, 0) if within is None else tuple(start for start, _ in within[0])
    lesions: dict[str, list[dict[str, Any]]] = {}
    # From the inside out: a voxel is painted once, and when a region's probability is at hand its lesions are final.
    for region in reversed(target.regions):
        probability = probability_of(region)
        if painted is None or nearest is None:
            painted, nearest = np.zeros(probability.shape, np.uint8), np.full(probability.shape, 0.5, np.float32)
        _approach_half(nearest, probability, region.name)
        mask = probability > decoding[region.name].threshold if winner is None else region.mask(winner)
        box = bounding_box(mask)
        if box is not None:
            inside = selected(mask[box], probability[box], decoding[region.name], math.prod(spacing))
            paint(painted[box], inside, region)
            painted_box = box if painted_box is None else _hull(painted_box, box)
        lesions[region.name] = _lesions(region, painted, probability, painted_box, spacing, origin)
        del probability, mask  # before the next one is made
    assert painted is not None
    assert nearest is not None
    rows = [row for region in target.regions for row in lesions[region.name]]
    uncertainty = _entropy_bits(nearest)
    if within is not None:
        painted, uncertainty = (_pasted(volume, *within) for volume in (painted, uncertainty))
    return Decoded(painted, uncertainty, rows)


def lesion_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """The lesion table as CSV: a header, then a line per lesion, numbers in full precision."""
    text = io.StringIO()
    writer = csv.DictWriter(text, LESION_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


# ---------------------------------------------------------------- the file


def read_decoding(path: Path, target: Target, default: RegionDecoding | None = None) -> Decoding:
    """The settings in a file that `write_decoding` or a person wrote. What it does not name is as in `default`.

    Raises FileNotFoundError, and ValueError naming the file, the key and what is expected there.
    """
    start = asdict(default or RegionDecoding())
    names = [region.name for region in target.regions]
    given = _regions_in(path)
    for name, values in given.items():
        if name not in names:
            raise ValueError(f"{path}: regions.{name}: expected one of {', '.join(names)}, the regions of this run")
        if not isinstance(values, dict):
            raise ValueError(f"{path}: regions.{name}: expected settings in braces, found {values!r}")
        for key in values:
            if key not in start:
                raise ValueError(f"{path}: regions.{name}.{key}: no such setting, expected one of {', '.join(start)}")
    decoding = {}
    for name in names:
        try:
            _check_values(start | given.get(name, {}))
        except ValueError as error:
            raise ValueError(f"{path}: regions.{name}.{error}") from None
        decoding[name] = RegionDecoding(**(start | given.get(name, {})))
        if target.kind == "labels" and decoding[name].threshold != RegionDecoding.threshold:
            raise ValueError(f"{path}: regions.{name}.threshold: {LABELS_HAVE_NO_THRESHOLD}")
    return decoding


def check_tuned_for(path: Path, weights: Collection[str], *, otherwise: str = "take --decoding default") -> None:
    """Raises ValueError, saying what to do, if the file names weights and they are none of these (sha256 each).

    An older file, or one that a person wrote, names none.
    """
    told = read_object(path, may={WEIGHTS: TEXT}).get(WEIGHTS)
    if told is not None and told not in weights:
        raise ValueError(f"{path}: tuned for other weights than these; run `mets3d tune` again, or {otherwise}")


def write_decoding(path: Path, decoding: Decoding, about: Mapping[str, Any] | None = None) -> None:
    """Writes the settings per region, then what else is told of them: how they were chosen, and what they score."""
    write_json(path, {"regions": {name: asdict(setting) for name, setting in decoding.items()}} | dict(about or {}))


def _regions_in(path: Path) -> dict[str, Any]:
    regions = read_object(path).get("regions")
    if not isinstance(regions, dict):
        raise ValueError(f'{path}: expected {{"regions": {{"ET": {{"threshold": 0.5}}, ...}}}}, found no "regions"')
    return regions


def _check_values(setting: Mapping[str, Any]) -> None:
    """Raises ValueError that begins with the name of the setting whose value is senseless."""
    threshold, peak, volume_mm3 = setting["threshold"], setting["peak"], setting["min_volume_mm3"]
    if not (_is_number(threshold) and 0 < threshold < 1):
        raise ValueError(f"threshold: expected a number between 0 and 1, found {threshold!r}")
    if peak is not None and not (_is_number(peak) and threshold <= peak < 1):
        raise ValueError(f"peak: expected nothing, or a number from the threshold {threshold:g} to 1, found {peak!r}")
    if not (_is_number(volume_mm3) and 0 <= volume_mm3 < math.inf):
        raise ValueError(f"min_volume_mm3: expected a volume of at least 0 mm3, found {volume_mm3!r}")
    for name in ("largest_only", "fill_holes"):
        if not isinstance(setting[name], bool):
            raise ValueError(f"{name}: expected true or false, found {setting[name]!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# ---------------------------------------------------------------- one region's mask

Mask = Bool[np.ndarray, "X Y Z"]
Numbers = Integer[np.ndarray, "X Y Z"]  # 0 background, then 1, 2, ...


@dataclass(frozen=True)
class Parts:
    """Of every component, entry 0 being component 1: its voxels, and its highest probability."""

    voxels: Int64[np.ndarray, " N"]
    peaks: Float32[np.ndarray, " N"]


def selected(mask: Mask, probability: Float32[np.ndarray, "X Y Z"], setting: RegionDecoding, voxel_mm3: float) -> Mask:
    """What of a mask stays by the region's settings (its threshold is past), with holes filled where they say so."""
    if setting.filters:
        numbers = components(mask)
        stays = kept(measure(numbers, probability), setting, voxel_mm3)
        if not stays.all():
            mask = np.concatenate([[False], stays])[numbers]
    return filled(mask) if setting.fill_holes else mask


def measure(numbers: Numbers, probability: Float32[np.ndarray, "X Y Z"]) -> Parts:
    """Sizes and highest probabilities of numbered components."""
    count = int(numbers.max(initial=0)) + 1
    voxels, peaks = np.zeros(count, np.int64), np.full(count, -np.inf, np.float32)
    for component, values, _ in _voxels(numbers, probability):
        voxels += np.bincount(component, minlength=count)
        np.maximum.at(peaks, component, values)
    return Parts(voxels[1:], peaks[1:])


def kept(parts: Parts, setting: RegionDecoding, voxel_mm3: float) -> Bool[np.ndarray, " N"]:
    """Which components stay by the settings. None at all: an empty array."""
    stays = parts.voxels * voxel_mm3 >= setting.min_volume_mm3 * (1 - ROUNDING)
    if setting.peak is not None:
        stays &= parts.peaks > setting.peak
    if setting.largest_only and stays.any():
        candidates = np.flatnonzero(stays)
        best = candidates[np.lexsort((parts.peaks[candidates], parts.voxels[candidates]))[-1]]
        stays = np.arange(len(stays)) == best
    return stays


def filled(mask: Mask) -> Mask:
    """The mask and all background from which no path over voxel faces leads out of it, as binary_fill_holes."""
    box = bounding_box(mask)
    if box is None:
        return mask
    outside = components(~np.pad(mask[box], 1), connectivity=6)
    solid = mask.copy()
    solid[box] = (outside != outside[0, 0, 0])[1:-1, 1:-1, 1:-1]
    return solid


def paint(labels: UInt8[np.ndarray, "*S"], mask: Bool[np.ndarray, "*S"], region: Region) -> None:
    """Paints a region, in place, where no region further inside is."""
    labels[mask & (labels == 0)] = region.decoded_as


# ---------------------------------------------------------------- probabilities


class _Probabilities:
    """Each region's probability, asked for from the inside out; so a label's channel is read once for all of them."""

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


def region_probability(
    channels: Sequence[Float32[np.ndarray, "X Y Z"]], target: Target, region: Region
) -> Float32[np.ndarray, "X Y Z"]:
    """One region's probability: its channel, or the sum of its labels' channels."""
    return _Probabilities(channels, target)(region)


def likeliest_label(channels: Sequence[Float32[np.ndarray, "X Y Z"]], target: Target) -> UInt8[np.ndarray, "X Y Z"]:
    """The most probable label of every voxel, of equals the lower one, reading one channel at a time."""
    highest = channels[0].copy()
    winner = np.full(highest.shape, target.labels[0], np.uint8)
    for index in range(1, target.channels):
        channel = channels[index]
        winner[channel > highest] = target.labels[index]
        np.maximum(highest, channel, out=highest)
        del channel
    return winner


def _approach_half(
    nearest: Float32[np.ndarray, "X Y Z"], probability: Float32[np.ndarray, "X Y Z"], region: str
) -> None:
    """Keeps, in place, the smallest distance from 1/2 of any region's probability: entropy falls with it."""
    for slab in _slabs(nearest):
        np.minimum(nearest[slab], np.abs(probability[slab] - 0.5), out=nearest[slab])
        if np.isnan(nearest[slab]).any():
            raise ValueError(f"expected probabilities from 0 to 1, found NaN in {region}; the weights may be broken")


def _entropy_bits(nearest: Float32[np.ndarray, "X Y Z"]) -> Float32[np.ndarray, "X Y Z"]:
    """Binary entropy, in place, of the probability that lies this far from 1/2."""
    for slab in _slabs(nearest):
        bits = np.zeros_like(nearest[slab])
        for probability in (0.5 - nearest[slab], 0.5 + nearest[slab]):
            bits -= probability * np.log2(np.maximum(probability, np.float32(1e-30)))  # 0 log 0 is 0
        nearest[slab] = bits
    return nearest


def _pasted(
    volume: Num[np.ndarray, "x y z"], box: Sequence[tuple[int, int]], shape: tuple[int, int, int]
) -> Num[np.ndarray, "X Y Z"]:
    """The volume where it lies in a larger one that is 0 elsewhere."""
    whole = np.zeros(shape, volume.dtype)
    whole[tuple(slice(start, stop) for start, stop in box)] = volume
    return whole


# ---------------------------------------------------------------- lesions


def _lesions(
    region: Region,
    labels: UInt8[np.ndarray, "X Y Z"],
    probability: Float32[np.ndarray, "X Y Z"],
    painted_box: Box | None,
    spacing_mm: Sequence[float],
    origin: Sequence[int],
) -> list[dict[str, Any]]:
    """One row per component of a region in the label map, of which all that is painted lies in a box.

    `origin` is where the label map's first voxel lies in the case.
    """
    if painted_box is None:
        return []
    numbers, probability = components(region.mask(labels[painted_box])), probability[painted_box]
    parts = measure(numbers, probability)
    totals, centres = _sums(numbers, probability, len(parts.voxels))
    rows = []
    for number, component in enumerate(np.argsort(-parts.voxels, kind="stable"), start=1):
        voxels = int(parts.voxels[component])
        centre_mm = [
            (first + side.start + float(index)) * spacing
            for first, side, index, spacing in zip(
                origin, painted_box, centres[component] / voxels, spacing_mm, strict=True
            )
        ]
        rows.append(
            {
                "region": region.name,
                "lesion": number,
                "volume_mm3": voxels * math.prod(spacing_mm),
                **dict(zip(("x_mm", "y_mm", "z_mm"), centre_mm, strict=True)),
                "peak_probability": float(parts.peaks[component]),
                "mean_probability": float(totals[component]) / voxels,
                "voxels": voxels,
            }
        )
    return rows


def _sums(
    numbers: Numbers, probability: Float32[np.ndarray, "X Y Z"], count: int
) -> tuple[Float64[np.ndarray, " N"], Float64[np.ndarray, "N 3"]]:
    """Of every component the sum of its probabilities, and of its voxels' indices."""
    totals, indices = np.zeros(count + 1), np.zeros((count + 1, 3))
    for component, values, where in _voxels(numbers, probability):
        totals += np.bincount(component, values, minlength=count + 1)
        for axis, index in enumerate(np.unravel_index(where, numbers.shape)):
            indices[:, axis] += np.bincount(component, index, minlength=count + 1)
    return totals[1:], indices[1:]


def _voxels(
    numbers: Numbers, probability: Float32[np.ndarray, "X Y Z"]
) -> Iterator[tuple[Int64[np.ndarray, " V"], Float32[np.ndarray, " V"], Int64[np.ndarray, " V"]]]:
    """Component, probability and flat index of every numbered voxel, slab by slab."""
    for slab in _slabs(numbers):
        flat = numbers[slab].ravel()
        where = np.flatnonzero(flat != 0)
        yield (
            flat[where].astype(np.int64),
            probability[slab].ravel()[where],
            where + slab.start * math.prod(numbers.shape[1:]),
        )


def _hull(one: Box, other: Box) -> Box:
    x, y, z = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return x, y, z


def _slabs(volume: Integer[np.ndarray, "X Y Z"] | Float[np.ndarray, "X Y Z"]) -> list[slice]:
    """Ranges along X of about a million voxels."""
    step = max(1, SLAB_VOXELS // max(1, math.prod(volume.shape[1:])))
    return [slice(start, min(start + step, len(volume))) for start in range(0, len(volume), step)]


# ---------------------------------------------------------------- arguments


def _check(channels: Sequence[Float32[np.ndarray, "X Y Z"]], target: Target, decoding: Decoding) -> None:
    if len(channels) != target.channels:
        raise ValueError(f"expected {target.channels} channels ({', '.join(target.names)}), found {len(channels)}")
    missing = [region.name for region in target.regions if region.name not in decoding]
    if missing:
        raise ValueError(f"expected decoding settings of {', '.join(missing)}, found those of {', '.join(decoding)}")
    for region in target.regions:
        if target.kind == "labels" and decoding[region.name].threshold != RegionDecoding.threshold:
            raise ValueError(f"{region.name}: threshold: {LABELS_HAVE_NO_THRESHOLD}")
