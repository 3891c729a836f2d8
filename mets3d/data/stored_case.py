"""Reads and writes one case of the store, a safetensors file that is read by memory map.

image          float16 [C, X, Y, Z], z-scored inside the brain, 0 outside; a missing sequence is 0
labels         uint8 [X, Y, Z]
foreground_WT  int16 [n, 3] voxels of the region, lesion after lesion; the same for TC, ET (RC)
lesions_WT     int64 [L + 1] where each lesion starts in it, and the end
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float16, Int16, Int64, UInt8

from mets3d.data import DataError
from mets3d.files import machine_mark, parse_json, replacing
from mets3d.ops.components import components
from mets3d.ops.voxels import Shape3, Spacing
from mets3d.regions import scored_regions

if TYPE_CHECKING:
    from torch import Tensor

METADATA = "mets3d"
Box3 = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Entry:
    """Crop, resampling and z-score of one case, so that a prediction can be put back. RAS order, in voxels or mm."""

    shape: Shape3  # of the case
    spacing_mm: Spacing  # of the case
    box: Box3  # first and one past the last voxel of the crop, per axis
    stored_shape: Shape3
    # Per channel, inside the brain, before the z-score; None of a difference and of what is missing.
    mean: tuple[float | None, ...]
    std: tuple[float | None, ...]
    missing: tuple[str, ...] = ()  # sequences that the case lacks

    @property
    def stored_spacing_mm(self) -> Spacing:
        """Size of a stored voxel: that of the crop over the number of voxels that it became."""
        sides = zip(self.box, self.spacing_mm, self.stored_shape, strict=True)
        x, y, z = (own if stop - start == n else (stop - start) * own / n for (start, stop), own, n in sides)
        return x, y, z

    def as_json(self) -> dict[str, Any]:
        """Returns the entry as it is stored with the case."""
        return asdict(self)

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Entry:
        """Makes the entry of a stored case; keys that earlier versions wrote too are ignored."""
        return cls(**{name: _tuples(tree[name]) for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class StoredCase:
    """One case of the store, held as a path alone: every read maps the file anew, so it can go to any process."""

    name: str
    path: Path
    channels: tuple[int, ...] | None = None  # which of the stored ones `image` reads, in this order; None: all

    @property
    def shape(self) -> Shape3:
        """Voxels along X Y Z, as stored."""
        return self.entry.stored_shape

    @cached_property
    def entry(self) -> Entry:
        """How the case became what is stored."""
        return Entry.from_json(read_metadata(self.path)["entry"])

    def image(self, box: tuple[slice, ...] | None = None) -> Float16[Tensor, "C X Y Z"]:
        """Reads float16 [C, x, y, z] inside `box` (three slices; None: all) and no byte beside it."""
        inside = box or _EVERYTHING
        with _opened(self.path) as file:
            stored = file.get_slice("image")
            if self.channels is None:
                return _tensor(stored[(slice(None), *inside)])
            return _tensor(np.concatenate([stored[(slice(place, place + 1), *inside)] for place in self.channels]))

    def labels(self, box: tuple[slice, ...] | None = None) -> UInt8[Tensor, "X Y Z"]:
        """Reads uint8 [x, y, z] inside `box`."""
        with _opened(self.path) as file:
            return _tensor(file.get_slice("labels")[box or _EVERYTHING])

    def foreground(self, region: str) -> Int16[np.ndarray, "n 3"]:
        """Reads the voxels of a region, lesion after lesion."""
        voxels: Int16[np.ndarray, "n 3"] = self._index(f"foreground_{region}")
        return voxels

    def lesions(self, region: str) -> Int64[np.ndarray, " offsets"]:
        """Reads where each lesion starts: l (26-connected) is `foreground(region)[lesions[l]:lesions[l + 1]]`."""
        offsets: Int64[np.ndarray, " offsets"] = self._index(f"lesions_{region}")
        return offsets

    def instances(self, region: str, box: tuple[slice, slice, slice]) -> Int16[np.ndarray, "X Y Z"]:
        """Makes the number of the lesion, from 1, of every voxel of a region inside `box`; 0 elsewhere."""
        voxels, offsets = self.foreground(region), self.lesions(region)
        starts, stops = np.array([[side.start, side.stop] for side in box]).T
        numbers = np.zeros(tuple(stops - starts), dtype=np.int16)
        inside = ((voxels >= starts) & (voxels < stops)).all(axis=1)
        lesion = np.repeat(np.arange(1, len(offsets), dtype=np.int16), np.diff(offsets))
        numbers[tuple((voxels[inside] - starts).T)] = lesion[inside]
        return numbers

    def _index(self, key: str) -> Any:
        with _opened(self.path) as file:
            return file.get_tensor(key)


def case_path(store: Path, name: str) -> Path:
    """Returns the path of one case's file, whether it exists or not."""
    return store / "cases" / f"{name}.safetensors"


def write_case(
    path: Path,
    image: Float16[np.ndarray, "C X Y Z"],
    labels: UInt8[np.ndarray, "X Y Z"],
    *,
    cavity: bool,
    metadata: Mapping[str, Any],
) -> None:
    """Writes one case with the foreground index of its regions, completely or not at all.

    metadata: JSON-able values, `entry` among them.
    """
    from safetensors.numpy import save

    arrays: dict[str, Any] = {"image": np.ascontiguousarray(image), "labels": np.ascontiguousarray(labels)}
    for region in scored_regions(cavity):
        arrays[f"foreground_{region.name}"], arrays[f"lesions_{region.name}"] = foreground_index(region.mask(labels))
    # One key alone: safetensors writes several in random order, and equal cases shall be equal files.
    content = save(arrays, metadata={METADATA: json.dumps(metadata)})
    with replacing(path, mark=machine_mark()) as temporary:
        temporary.write_bytes(content)  # others can read it too, which safetensors' own writer does not allow


def read_metadata(path: Path) -> dict[str, Any]:
    """Reads the JSON values that `write_case` was given, from the file's header alone."""
    with _opened(path) as file:
        content: dict[str, Any] = parse_json(file.metadata()[METADATA])
        return content


def header_digest(path: Path) -> str:
    """Returns a hash of the size of a case's file and of its header: arrays, crop, and means of its voxels."""
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        length = stream.read(8)
        header = stream.read(min(size, int.from_bytes(length, "little")))
    return hashlib.sha256(b"%d " % size + length + header).hexdigest()[:16]


def foreground_index(mask: Any) -> tuple[Int16[np.ndarray, "n 3"], Int64[np.ndarray, " offsets"]]:
    """Returns the voxels of a mask, one 26-connected component after the other, and where each starts; [0] if empty."""
    numbers = components(mask)
    voxels = np.argwhere(mask).astype(np.int16)
    component_of = numbers[mask].astype(np.int64)
    order = np.argsort(component_of, kind="stable")
    sizes = np.bincount(component_of, minlength=1)[1:]
    return voxels[order], np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


_EVERYTHING = (slice(None), slice(None), slice(None))


def _tensor(array: np.ndarray) -> Tensor:
    import torch

    return torch.from_numpy(array)


def _opened(path: Path) -> Any:
    """Opens a case's file for arrays; asked for tensors, safetensors 0.8 loses some bytes of memory at each read."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"{path}: this case of the store is gone; preprocess again")
    try:
        return safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise DataError(f"{path}: not readable as safetensors ({error}); delete it and preprocess again") from error


def _tuples(value: Any) -> Any:
    return tuple(_tuples(part) for part in value) if isinstance(value, list | tuple) else value
