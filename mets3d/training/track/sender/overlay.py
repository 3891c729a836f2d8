"""Draws masks over a slice, for loggers that know plain pictures alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from mets3d.regions import scored_regions
from mets3d.training.track.sender.rows import Shown

OPACITY = 0.45


def overlays(what: Shown) -> list[tuple[str, Any]]:
    """Returns caption and picture of each slice, uint8 [rows, columns, 3]: reference at the left, prediction right."""
    return [
        (f"{caption}: reference, prediction", np.hstack([_drawn(image, mask) for mask in (reference, prediction)]))
        for caption, image, prediction, reference in what.slices
    ]


def _drawn(image: Any, mask: Any) -> Any:
    grey, labels = (np.asarray(Image.open(file)) for file in (image, mask))
    picture = np.repeat(grey[..., None], 3, axis=2).astype(float)
    for region in scored_regions(cavity=True):
        tint = np.array([int(region.colour[place : place + 2], 16) for place in (1, 3, 5)])
        inside = labels == region.decoded_as
        picture[inside] = (1 - OPACITY) * picture[inside] + OPACITY * tint
    return picture.astype(np.uint8)
