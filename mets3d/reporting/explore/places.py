"""Writes the heat map of places: how often tumour lies where in the brain, seen from three sides.

Radiological orientation: the patient's right is on the left of axial and coronal maps.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from markupsafe import Markup, escape
from matplotlib import colormaps
from PIL import Image

from mets3d.data.describe import DataSet
from mets3d.data.describe_case import MM3_IN_ML
from mets3d.data.describe_lesions import DescribedLesion
from mets3d.data.describe_places import PLANES, Projection
from mets3d.regions import TC, WT
from mets3d.reporting.explore.tables import plain_table
from mets3d.reporting.explore.words import share_text, short
from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import Table
from mets3d.reporting.pictures import svg
from mets3d.reporting.pictures.frames import Frame, radiological
from mets3d.reporting.pictures.outlines import outline_path
from mets3d.reporting.rendering import render
from mets3d.wording import agreed, counted

SIDE, PIXELS = 240.0, 192  # of a map as drawn, and of its picture
BINS = 48  # a square around the box of the brain
MOST_DOTS = 250  # lesions; more dots hide the map
COLOURS = colormaps["inferno"]
# Plane -> what stands on the left, on the right, above and below.
SIDES = {"axial": ("R", "L", "A", "P"), "coronal": ("R", "L", "S", "I"), "sagittal": ("A", "P", "S", "I")}
FROM = {"axial": "from below", "coronal": "from the front", "sagittal": "from the patient's left"}
HOW = (
    "Every brain is scaled to one box, without registration. Brightness is the share of cases whose whole tumour (WT) "
    "covers a place when one looks through the head; the line is where half of the brains reach. Radiological: the "
    "patient's right (R) is on the left."
)


def places_section(data: DataSet) -> Section | None:
    """Writes three maps and a table of sides; None where no tumour has a place."""
    places = data.places
    if not places.tumours:
        return None
    lesions = _placed(data)
    highest = max(float(cover.max()) for cover in places.tumour.values())
    dots = lesions if len(lesions) <= MOST_DOTS else []
    maps = [_map(plane, places.tumour[plane], places.brain[plane], highest, dots) for plane in PLANES]
    marks = f" Dots: the centres of {counted(len(dots), 'lesion')}." if dots else ""
    right = sum(_at(lesion)[0] > 0.5 for lesion in lesions)
    html = render(
        "places.html",
        how=HOW,
        title=f"{share_text(right, len(lesions))} of {counted(len(lesions), 'lesion')} "
        f"{agreed(len(lesions), 'lies', 'lie')} on the patient's right",
        maps=maps,
        colours=[_hex(at / 8) for at in range(9)],
        most=share_text(highest, 1),
        note=f"n = {counted(places.tumours, 'case')} with tumour of {counted(places.brains, 'brain')}.{marks}",
        halves=_table(lesions),
    )
    return Section("places", "Places", html)


def heat_map(cover: Projection, highest: float) -> Float[np.ndarray, "bins bins"]:
    """Returns a projection as it is shown, between 0 and 1, in a square frame."""
    return _squared(radiological(cover)) / (highest or 1.0)


def _placed(data: DataSet) -> list[DescribedLesion]:
    """Returns the lesions of the core, or of the whole tumour where no reference has a core, that have a place."""
    for region in (TC, WT):
        found = [lesion for case in data.labelled for lesion in case.lesions.get(region.name, ()) if lesion.place]
        if found:
            return found
    return []


def _at(lesion: DescribedLesion) -> tuple[float, float, float]:
    return lesion.place or (0.5, 0.5, 0.5)


def _map(plane: str, cover: Projection, brain: Projection, highest: float, dots: Sequence[DescribedLesion]) -> Markup:
    shown = heat_map(cover, highest)
    picture = base64.b64encode(_png(shown)).decode()
    frame = Frame(0, 0, BINS, BINS)
    outline = outline_path(_squared(radiological(brain)) >= 0.5, frame, SIDE)
    left, right, top, bottom = SIDES[plane]
    marks = "".join(
        (
            svg.label(left, 8, SIDE / 2 + 5, size=15),
            svg.label(right, SIDE - 8, SIDE / 2 + 5, size=15, anchor="end"),
            svg.label(top, SIDE / 2, 17, size=13, anchor="middle"),
            svg.label(bottom, SIDE / 2, SIDE - 7, size=13, anchor="middle"),
        )
    )
    circles = "".join(_dot(lesion, plane, brain.shape) for lesion in dots)
    most = share_text(float(cover.max()), 1)
    alt = f"{plane.capitalize()} map of places, seen {FROM[plane]}, {left} on the left: brightest {most} of cases"
    view = f'viewBox="0 0 {SIDE:.0f} {SIDE:.0f}"'
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(alt)}" {view}>'
        f'<image width="{SIDE:.0f}" height="{SIDE:.0f}" href="data:image/png;base64,{picture}"/>'
        f'<path d="{outline}" fill="none" stroke="#fff" stroke-opacity="0.75" stroke-width="1.2"/>{circles}{marks}'
        f"{svg.label(plane, 8, 17, size=12)}</svg>"
    )


def _dot(lesion: DescribedLesion, plane: str, shape: Sequence[int]) -> str:
    """Draws a lesion's centre; both axes of a plane run against the picture's, see `radiological`."""
    first, second = (at for axis, at in enumerate(_at(lesion)) if axis != PLANES[plane])
    across, down = shape
    x = ((1 - first) * across + (BINS - across) // 2) * SIDE / BINS
    y = ((1 - second) * down + (BINS - down) // 2) * SIDE / BINS
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="#fff" fill-opacity="0.85" stroke="#000" stroke-width="0.6"/>'
    )


def _squared(shown: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "bins bins"]:
    rows, columns = shown.shape
    return Frame(-((BINS - rows) // 2), -((BINS - columns) // 2), BINS, BINS).cut(shown)


def _png(values: Float[np.ndarray, "rows columns"]) -> bytes:
    """Returns values between 0 and 1 as a picture in colours, smoothly enlarged."""
    large = np.asarray(Image.fromarray(values.astype(np.float32)).resize((PIXELS, PIXELS), Image.Resampling.BICUBIC))
    colours: UInt8[np.ndarray, "rows columns 4"] = COLOURS(np.clip(large, 0, 1), bytes=True)
    buffer = io.BytesIO()
    Image.fromarray(colours[..., :3]).quantize(128).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _hex(at: float) -> str:
    red, green, blue, _ = COLOURS(at, bytes=True)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _table(lesions: Sequence[DescribedLesion]) -> Table:
    """Writes how many lesions lie in each half of the brain's box along each axis, by number and volume."""
    halves = (("right", "left"), ("front", "back"), ("upper", "lower"))
    total, volume = len(lesions), sum(lesion.volume_mm3 for lesion in lesions)
    rows = []
    for axis, names in enumerate(halves):
        for half, name in enumerate(names):
            own = [lesion for lesion in lesions if (_at(lesion)[axis] > 0.5) == (half == 0)]
            held = sum(lesion.volume_mm3 for lesion in own)
            shares = share_text(len(own), total), f"{short(held / MM3_IN_ML)} ml", share_text(held, volume)
            rows.append([f"{name} half", f"{len(own):,}", *shares])
    headings = ["Where", "Lesions", "Share", "Volume", "Share of volume"]
    return plain_table("Lesions by half of the brain's box", headings, rows)
