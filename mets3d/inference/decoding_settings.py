"""Defines the settings that turn each region's probability into a mask, and reads and writes their file."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mets3d.files import TEXT, read_object, write_json
from mets3d.regions import Target
from mets3d.settings import Predict

WEIGHTS = "weights_sha256"  # key of the file: what it was tuned for
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
        _check_values(vars(self))

    @property
    def filters(self) -> bool:
        """Whether components can be removed at all."""
        return self.peak is not None or self.min_volume_mm3 > 0 or self.largest_only


Decoding = Mapping[str, RegionDecoding]  # by region name


def decoding_for(target: Target, predict: Predict, tuned: Path | None) -> Decoding:
    """Returns the settings of every region of a target: those in the file `tuned`, else one threshold for all.

    Raises ValueError for a threshold other than 0.5 in label mode, and as `read_decoding`.
    """
    if target.kind == "labels" and predict.threshold != RegionDecoding.threshold:
        raise ValueError(f"predict.threshold is {predict.threshold:g}, but {LABELS_HAVE_NO_THRESHOLD}")
    default = RegionDecoding(threshold=predict.threshold)
    if tuned is not None:
        return read_decoding(tuned, target, default)
    return {region.name: default for region in target.regions}


def check_covers(decoding: Decoding, target: Target) -> None:
    """Raises ValueError for settings that lack a region of the target, and for a threshold in label mode."""
    missing = [region.name for region in target.regions if region.name not in decoding]
    if missing:
        raise ValueError(f"expected decoding settings of {', '.join(missing)}, found those of {', '.join(decoding)}")
    for region in target.regions:
        if target.kind == "labels" and decoding[region.name].threshold != RegionDecoding.threshold:
            raise ValueError(f"{region.name}: threshold: {LABELS_HAVE_NO_THRESHOLD}")


# ---------------------------------------------------------------- the file


def read_decoding(
    path: Path,
    target: Target,
    default: RegionDecoding | None = None,
    *,
    given: Mapping[str, Any] | None = None,
    where: str = "",
) -> Decoding:
    """Reads a file that `write_decoding` or a person wrote; settings that it does not name are as in `default`.

    given: None is the file's `regions`; else those of another place in it, whose name `where` begins keys in errors.

    Raises FileNotFoundError, and ValueError naming the file, the key and what is expected there.
    """
    start = asdict(default or RegionDecoding())
    names = [region.name for region in target.regions]
    given = _regions_in(path) if given is None else given
    place = f"{path}: {where}regions"
    _check_keys(place, given, names, list(start))
    decoding = {}
    for name in names:
        values = start | given.get(name, {})
        try:
            _check_values(values)
        except ValueError as error:
            raise ValueError(f"{place}.{name}.{error}") from None
        decoding[name] = RegionDecoding(**values)
        if target.kind == "labels" and decoding[name].threshold != RegionDecoding.threshold:
            raise ValueError(f"{place}.{name}.threshold: {LABELS_HAVE_NO_THRESHOLD}")
    return decoding


def check_tuned_for(path: Path, weights: Collection[str], *, otherwise: str = "take --decoding default") -> None:
    """Raises ValueError, saying what to do, if the file names weights and they are none of these (sha256 each).

    An older file, or one that a person wrote, names none.
    """
    tuned_for = read_object(path, may={WEIGHTS: TEXT}).get(WEIGHTS)
    if tuned_for is not None and tuned_for not in weights:
        raise ValueError(f"{path}: tuned for other weights than these; run `mets3d tune` again, or {otherwise}")


def write_decoding(path: Path, decoding: Decoding, about: Mapping[str, Any] | None = None) -> None:
    """Writes the settings per region, then what is known about them: how they were chosen, and their scores."""
    write_json(path, {"regions": settings_of(decoding)} | dict(about or {}))


def settings_of(decoding: Decoding) -> dict[str, dict[str, Any]]:
    """Returns the settings of every region as they are written."""
    return {name: asdict(setting) for name, setting in decoding.items()}


def _regions_in(path: Path) -> dict[str, Any]:
    regions = read_object(path).get("regions")
    if not isinstance(regions, dict):
        raise ValueError(f'{path}: expected {{"regions": {{"ET": {{"threshold": 0.5}}, ...}}}}, found no "regions"')
    return regions


def _check_keys(place: str, given: Mapping[str, Any], regions: list[str], settings: list[str]) -> None:
    """Raises ValueError for regions and settings that there are none of."""
    for name, values in given.items():
        if name not in regions:
            raise ValueError(f"{place}.{name}: expected one of {', '.join(regions)}, the regions of this run")
        if not isinstance(values, dict):
            raise ValueError(f"{place}.{name}: expected settings in braces, found {values!r}")
        for key in values:
            if key not in settings:
                raise ValueError(f"{place}.{name}.{key}: no such setting, expected one of {', '.join(settings)}")


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
