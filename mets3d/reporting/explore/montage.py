"""Draws a case's slices with its regions outlined: ET, TC and RC on t1c, WT on t2f, each whole and enlarged.

Where one of these sequences is missing, the nearest that there is takes its place. Radiological orientation.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, UInt8
from markupsafe import Markup, escape
from PIL import Image

from mets3d.data.describe_lesions import REGIONS
from mets3d.ops.components import components
from mets3d.regions import ET, RC, TC, WT, Region
from mets3d.reporting.pictures import svg
from mets3d.reporting.pictures.case_volumes import CaseVolumes, Labels
from mets3d.reporting.pictures.frames import Frame, radiological, whole_frame, zoom_frame
from mets3d.reporting.pictures.outlines import outline_path
from mets3d.reporting.pictures.slices import grey_levels
from mets3d.reporting.rendering import macro

SIDE = 240.0
MOST_PIXELS = 256  # along a side of a picture: the page has to stay small
FALLBACK = {"t1c": ("t1n", "t2f", "t2w"), "t2f": ("t2w", "t1c", "t1n")}

Focus = Literal["region", "smallest", "cavity"]
Mask = Bool[np.ndarray, "X Y Z"]


@dataclass(frozen=True)
class Cut:
    """One axial slice of a sequence with what is outlined on it."""

    sequence: str
    index: int
    slices: int
    voxel_mm: tuple[float, float]  # along rows, along columns
    grey: UInt8[np.ndarray, "rows columns"]
    outlined: dict[Region, Bool[np.ndarray, "rows columns"]]
    whole: Frame
    zoom: Frame | None


def sequences_to_show(present: Collection[str]) -> dict[str, str]:
    """Returns for t1c and t2f the sequence that is shown, which is another one where they are missing."""
    others = tuple(present)
    return {
        wanted: next(name for name in (wanted, *fallback, *others) if name in present)
        for wanted, fallback in FALLBACK.items()
    }


def montage(volumes: CaseVolumes, *, focus: Focus) -> Markup:
    """Returns the panels of a case as HTML: a whole slice and its enlargement, for each sequence that is shown.

    `focus`: the slice has most of the innermost region that is outlined on it, of the smallest lesion or the cavity.
    """
    panels = []
    for cut in cuts(volumes, focus=focus):
        panels.append(_panel(volumes.name, cut, cut.whole, 1.4))
        if cut.zoom is not None:
            panels.append(_panel(volumes.name, cut, cut.zoom, 2.2))
    return macro("panels", "chart.html", panels)


def cuts(volumes: CaseVolumes, *, focus: Focus) -> list[Cut]:
    """Returns a slice of each sequence that is shown; see `montage`."""
    shown_on = sequences_to_show(volumes.images)
    regions = [replace(region, shown_on=shown_on[region.shown_on]) for region in REGIONS]
    found = []
    for sequence in dict.fromkeys(shown_on.values()):
        outlined = [region for region in regions if region.shown_on == sequence]
        found.append(_cut(volumes, sequence, outlined, focus))
    return found


def _cut(volumes: CaseVolumes, sequence: str, outlined: Sequence[Region], wanted: Focus) -> Cut:
    image = volumes.images[sequence]
    brain = image != 0
    focus = None if volumes.reference is None else _focus(volumes.reference, outlined, wanted)
    index = int((brain if focus is None else focus).sum(axis=(0, 1)).argmax())
    voxel_mm = volumes.spacing_mm[1], volumes.spacing_mm[0]
    masks = {}
    if volumes.reference is not None:
        masks = {region: radiological(region.mask(volumes.reference[:, :, index])) for region in outlined}
    return Cut(
        sequence,
        index,
        image.shape[2],
        voxel_mm,
        grey_levels(image, brain, index),
        {region: mask for region, mask in masks.items() if mask.any()},
        whole_frame(radiological(brain.any(axis=2)), voxel_mm),
        None if focus is None else zoom_frame(radiological(focus[:, :, index]), voxel_mm),
    )


def _focus(labels: Labels, outlined: Sequence[Region], wanted: Focus) -> Mask | None:
    """Returns what the slice goes through; None in an empty reference."""
    names = {region.name for region in outlined}
    innermost = [region for region in (ET, TC, WT, RC) if region.name in names]
    candidates = {"region": innermost, "smallest": [TC, WT], "cavity": [RC]}
    for region in (*candidates[wanted], *REGIONS):
        mask = np.asarray(region.mask(labels))
        if mask.any():
            return _smallest_lesion(mask) if wanted == "smallest" else mask
    return None


def _smallest_lesion(mask: Mask) -> Mask:
    numbered = components(mask)
    voxels = np.bincount(numbered.ravel())
    return np.asarray(numbered == 1 + int(voxels[1:].argmin()))


def _panel(name: str, cut: Cut, frame: Frame, width: float) -> Markup:
    """Draws one panel; regions from the outermost in, so that where two outlines coincide the inner one is seen."""
    zoomed = frame is cut.zoom
    lines = _outlines(cut, frame, width)
    names = ", ".join(region.name for region in cut.outlined) or "nothing"
    place = f"axial slice {cut.index + 1} of {cut.slices}"
    what = f"{cut.sequence}, enlarged" if zoomed else cut.sequence
    alt = f"{name}, {what}, {place}, outlined: {names}; patient's right on the left"
    head = what if zoomed else f"{what}, slice {cut.index + 1}/{cut.slices}"
    bar = svg.scale_bar(frame, cut.voxel_mm[1], SIDE, 10 if zoomed else 50, size=12)
    body = (
        svg.image(_small(frame.cut(cut.grey)), SIDE) + lines + svg.sides(SIDE) + bar + svg.label(head, 8, 19, size=14)
    )
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'aria-label="{escape(alt)}" viewBox="0 0 {SIDE:.0f} {SIDE:.0f}">{body}</svg>'
    )


def _outlines(cut: Cut, frame: Frame, width: float) -> str:
    """Draws the outlines, TC as a wide band under the others: where ET fills it, both are seen."""
    drawn = []
    for region, mask in cut.outlined.items():
        path = outline_path(mask, frame, SIDE)
        if path and region.name == TC.name and len(cut.outlined) > 1:
            drawn.append(f'<path d="{path}" fill="none" stroke="{region.colour}" stroke-width="{2.8 * width:.1f}"/>')
        elif path:
            drawn.append(svg.line(path, region.colour, width, 'fill="none"'))
    return "".join(drawn)


def _small(grey: UInt8[np.ndarray, "rows columns"]) -> UInt8[np.ndarray, "_ _"]:
    rows, columns = (min(side, MOST_PIXELS) for side in grey.shape)
    if (rows, columns) == grey.shape:
        return grey
    return np.asarray(Image.fromarray(grey).resize((columns, rows), Image.Resampling.BOX))
