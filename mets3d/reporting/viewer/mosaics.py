"""Packs volumes of bytes into pictures of their axial slices, which a browser decodes by itself."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import UInt8

Format = Literal["PNG", "JPEG"]


@dataclass(frozen=True)
class Mosaic:
    """A volume's slices side by side, `columns` in a row, as the base64 of a file of media type `type`."""

    source: str
    type: str


def columns_of(shape: tuple[int, ...]) -> int:
    """Returns how many slices lie in a row, so that the mosaic is nearly square: browsers bound its sides."""
    x, y, z = shape
    return min(z, max(1, round(math.sqrt(z * y / x))))


def tiled(volume: UInt8[np.ndarray, "X Y Z"]) -> UInt8[np.ndarray, "rows columns"]:
    """Lays out slices by Z, from the left and then down; in each Y goes down and X to the right."""
    x, y, z = volume.shape
    columns = columns_of(volume.shape)
    rows = math.ceil(z / columns)
    tiles = np.zeros((rows * columns, y, x), np.uint8)
    tiles[:z] = volume.transpose(2, 1, 0)
    return np.ascontiguousarray(tiles.reshape(rows, columns, y, x).swapaxes(1, 2)).reshape(rows * y, columns * x)


def lossless(volume: UInt8[np.ndarray, "X Y Z"]) -> Mosaic:
    """Packs label maps: every byte comes back."""
    return _packed(volume, "PNG", compress_level=6)


def lossy(volume: UInt8[np.ndarray, "X Y Z"], quality: int) -> Mosaic:
    """Packs images and maps of numbers: JPEG, for it is three times as fast as WebP and the page has the room."""
    return _packed(volume, "JPEG", quality=quality)


def _packed(volume: UInt8[np.ndarray, "X Y Z"], form: Format, **options: int) -> Mosaic:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(tiled(volume)).save(file, form, **options)
    return Mosaic(base64.b64encode(file.getbuffer()).decode(), f"image/{form.lower()}")
