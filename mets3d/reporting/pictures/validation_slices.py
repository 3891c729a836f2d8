"""Draws the slices that a training shows at each validation: reference, then predictions from the first to the last.

The training wrote them (`training.track.validation_files`); here they are read and outlined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from mets3d.files import OBJECTS, read_object
from mets3d.regions import Region, scored_regions
from mets3d.reporting.pictures import svg
from mets3d.reporting.pictures.frames import Frame
from mets3d.reporting.pictures.outlines import outline_path
from mets3d.rundir import RunDir

MOST = 3  # validations beside each other
WIDTH, GAP, HEADING, CAPTION, LEGEND = 1080.0, 8.0, 24.0, 20.0, 26.0

Plane = UInt8[np.ndarray, "rows columns"]


@dataclass(frozen=True)
class ValidationSlices:
    """The picture as SVG, and the steps after whose validations its predictions were made."""

    svg: str
    steps: list[int]


@dataclass(frozen=True)
class _Shown:
    """A slice at one validation: grey levels and label planes."""

    caption: str
    image: Plane
    prediction: Plane
    reference: Plane


def validation_slices(run: RunDir) -> ValidationSlices | None:
    """Draws the slices at the first, the middle and the last validation; None where none wrote any.

    A validation that is being written, or is damaged, is left out.
    """
    every = {step: slices for step in _some(run.validation_steps()) if (slices := _read(run, step))}
    if not every:
        return None
    last = every[max(every)]
    side = (WIDTH - GAP * len(every)) / (1 + len(every))
    body = [_text(name, place * (side + GAP), 16.0) for place, name in enumerate(["reference", *map(_after, every)])]
    top = HEADING
    regions = set()
    for number, shown in last.items():
        body.append(_text(shown.caption, 0.0, top + 14))
        top += CAPTION
        planes = [shown.reference, *(slices[number].prediction for slices in every.values() if number in slices)]
        name = f"slice{number}"
        body.append(f'<defs><g id="{name}">{svg.image(_square(shown.image).cut(shown.image), side)}</g></defs>')
        for place, plane in enumerate(planes):
            drawn, found = _outlined(plane, side)
            regions |= found
            sides = svg.sides(side) if place == 0 else ""
            inside = f'<use xlink:href="#{name}"/>{drawn}{sides}'
            body.append(svg.panel(place * (side + GAP), top, side, side, inside))
        top += side + GAP
    body.append(_legend([region for region in scored_regions(cavity=True) if region in regions], top))
    return ValidationSlices(svg.document(run.name, WIDTH, top + LEGEND, "".join(body)), list(every))


def _some(steps: Sequence[int]) -> list[int]:
    """Returns at most MOST of ascending steps: the first, the last, and some at equal distances between them."""
    places = np.linspace(0, len(steps) - 1, min(len(steps), MOST)).round().astype(int).tolist()
    return [steps[place] for place in places]


def _read(run: RunDir, step: int) -> Mapping[int, _Shown]:
    folder = run.validation(step)
    try:
        slices = read_object(folder.index, {"slices": OBJECTS})["slices"]
        return {number: _slice(folder.path, one) for number, one in enumerate(slices)}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _slice(folder: Path, files: Mapping[str, str]) -> _Shown:
    planes = {part: np.asarray(Image.open(folder / files[part])) for part in ("image", "prediction", "reference")}
    return _Shown(str(files["caption"]), **planes)


def _square(plane: Plane) -> Frame:
    """Returns the smallest square around a plane, centred."""
    rows, columns = plane.shape
    side = max(rows, columns)
    return Frame((rows - side) // 2, (columns - side) // 2, side, side)


def _outlined(labels: Plane, side: float) -> tuple[str, set[Region]]:
    """Returns the outlines of the regions in a label plane, and the regions that there are."""
    frame, drawn, found = _square(labels), [], set()
    for region in scored_regions(cavity=True):
        path = outline_path(region.mask(labels), frame, side)
        if path:
            shade = f'fill="{region.colour}" fill-opacity="0.15" fill-rule="evenodd"'
            drawn.append(svg.line(path, region.colour, 1.8, shade))
            found.add(region)
    return "".join(drawn), found


def _legend(regions: Sequence[Region], top: float) -> str:
    patches = [
        f'<rect x="{70 * place + 1}" y="{top + 3:.0f}" width="14" height="12" rx="2" fill="{region.colour}"/>'
        + svg.ink(region.name, 70 * place + 20, top + 13)
        for place, region in enumerate(regions)
    ]
    return "".join(patches)


def _after(step: int) -> str:
    return f"after step {step:,}"


def _text(text: str, x: float, y: float) -> str:
    return svg.ink(text, x + 1, y, size=13, colour="#22272e")
