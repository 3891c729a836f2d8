"""Draws a case's lesions as SVG: the fullest slice, two maps with every number, and beneath them a tile per lesion."""

from __future__ import annotations

from mets3d.reporting.pictures import svg
from mets3d.reporting.pictures.lesion_numbers import (
    COLOURS,
    COLUMN,
    LETTER,
    MOST_NUMBERS,
    badge,
    badge_radius,
    numbers,
    shape,
)
from mets3d.reporting.pictures.lesion_picture import LesionPicture
from mets3d.reporting.pictures.lesion_planes import DRAWN_KINDS, Layer, Lesion, Plane
from mets3d.reporting.pictures.outlines import outline_path
from mets3d.reporting.pictures.slice_svg import GAP, HEADING, WIDTH
from mets3d.reporting.sentences import number, shortened
from mets3d.wording import counted

MEANINGS = {
    "found": "found (true positive)",
    "missed": "missed (false negative)",
    "false": "false (false positive)",
    "ignored": "too small to count",
}
TILES_A_ROW, CAPTION = 6, 40.0
OVERVIEW = (WIDTH - 2 * GAP) / 3  # width of a map with its two columns of numbers
MAP = OVERVIEW - 2 * COLUMN  # side of the map alone
TILE = (WIDTH - (TILES_A_ROW - 1) * GAP) / TILES_A_ROW


def lesions_svg(name: str, picture: LesionPicture, run: str = "") -> str:
    """Draws the overviews in one row, then the tiles by number, then a legend; `run` is for the heading."""
    heading = f"{name}, lesions of {picture.region.name}" + (f", run {run}" if run else "")
    body = [svg.ink(shortened(heading, 110), 1, 16, size=13, colour="#22272e", weight=600)]
    for column, plane in enumerate(picture.overviews):
        body.append(svg.panel(column * (OVERVIEW + GAP), HEADING, OVERVIEW, MAP, _overview(plane)))
    top = HEADING + MAP + 2 * GAP
    for place, (lesion, plane) in enumerate(picture.tiles):
        row, column = divmod(place, TILES_A_ROW)
        x, y = column * (TILE + GAP), top + row * (TILE + CAPTION + GAP)
        body.append(svg.panel(x, y, TILE, TILE, lesion_tile_svg(plane)))
        body.append(lesion_caption(lesion, x, y + TILE))
    top += -(-len(picture.tiles) // TILES_A_ROW) * (TILE + CAPTION + GAP)
    body.append(_legend(picture, top))
    for note in filter(None, (left_out(picture), _unnumbered(picture))):
        body.append(svg.ink(note, 1, top + 38))
        top += 20
    return svg.document(heading, WIDTH, top + 28, "".join(body))


def left_out(picture: LesionPicture) -> str:
    """Says how many lesions have no tile, by kind; empty where each has one."""
    if not picture.left_out:
        return ""
    kinds = [lesion.kind for lesion in picture.left_out]
    parts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in DRAWN_KINDS if kind in kinds)
    return (
        f"Tiles of the {len(picture.tiles)} most important of {len(picture.tiles) + len(kinds)} lesions: missed and "
        f"false ones first, then the largest. {counted(len(kinds), 'lesion')} left out: {parts}."
    )


def in_mm3(volume_mm3: float) -> str:
    """Writes whole cubic millimetres from 10 on, one decimal below."""
    return f"{volume_mm3:,.0f} mm³" if volume_mm3 >= 9.95 else f"{volume_mm3:.1f} mm³"


def _unnumbered(picture: LesionPicture) -> str:
    most = max(len(plane.marks) for plane in picture.overviews)
    return f"Of {most} lesions, the maps number the {MOST_NUMBERS} most important." if most > MOST_NUMBERS else ""


# ---------------------------------------------------------------- panels


def _overview(plane: Plane) -> str:
    """Draws a map between its two columns of numbers; what is written on it lies over the leader lines.

    R and L stand at the foot of the columns, where they cover no brain and no line crosses them.
    """
    parts = (
        svg.image(plane.frame.cut(plane.grey), MAP),
        _outlines(plane, MAP, width=1.5),
        numbers(plane, MAP),
        svg.label("R", -COLUMN / 2, MAP - LETTER / 4, size=14, anchor="middle"),
        svg.label("L", MAP + COLUMN / 2, MAP - LETTER / 4, size=14, anchor="middle"),
        svg.scale_bar(plane.frame, plane.voxel_mm[1], MAP, 50),
        svg.label(plane.title, 8.0, 17.0),
    )
    black = f'<rect width="{OVERVIEW:.1f}" height="{MAP:.1f}" fill="#000"/>'
    return f'{black}<g transform="translate({COLUMN:.1f} 0)">{"".join(parts)}</g>'


def lesion_tile_svg(plane: Plane) -> str:
    """Draws a tile, a square of TILE."""
    return (
        svg.image(plane.frame.cut(plane.grey), TILE)
        + _outlines(plane, TILE, width=2.2)
        + svg.scale_bar(plane.frame, plane.voxel_mm[1], TILE, 10, size=10)
        + svg.label(plane.title, 6.0, 14.0, size=10)
    )


def _outlines(plane: Plane, side: float, width: float) -> str:
    return "".join(_outline(layer, outline_path(layer.mask, plane.frame, side), width) for layer in plane.layers)


def _outline(layer: Layer, path: str, width: float) -> str:
    if not path:
        return ""
    colour, drawn = COLOURS[layer.kind], width if layer.subject else 0.55 * width
    if layer.predicted:  # wider: where it runs on the reference's outline, the dashes stand out as beads
        return svg.dashed_line(path, colour, 1.5 * drawn)
    return svg.line(path, colour, 0.75 * drawn, 'fill="none"')


def lesion_caption(lesion: Lesion, x: float, top: float) -> str:
    """Writes number, kind, volume and Dice beneath a tile whose lower left corner is at (x, top)."""
    radius = badge_radius(lesion)
    return (
        badge(lesion, (x + radius + 3, top + 13))
        + svg.ink(lesion.kind, x + 2 * radius + 11, top + 17, colour="#22272e", weight=600)
        + svg.ink(f"{in_mm3(lesion.volume_mm3)}, Dice {number(lesion.dice, 2)}", x + 1, top + 36)
    )


def _legend(picture: LesionPicture, top: float) -> str:
    kinds = [
        kind for kind in DRAWN_KINDS if kind != "ignored" or any(lesion.kind == kind for lesion in picture.lesions)
    ]
    x, y, parts = 9.0, top + 12, []
    for kind in kinds:
        parts.append(shape(kind, (x, y), 7.0))
        parts.append(svg.ink(MEANINGS[kind], x + 13, y + 4))
        x += 40 + 6.1 * len(MEANINGS[kind])
    parts.append(f'<path d="M{x:.0f} {y:.0f}h26" stroke="#57606a" stroke-width="2" fill="none"/>')
    parts.append(svg.ink("reference", x + 33, y + 4))
    x += 108
    parts.append(
        f'<path d="M{x:.0f} {y:.0f}h26" stroke="#57606a" stroke-width="2" stroke-dasharray="6.4 4" fill="none"/>'
    )
    parts.append(svg.ink("prediction", x + 33, y + 4))
    parts.append(svg.ink(f"rules {picture.rules}", x + 120, y + 4))
    return "".join(parts)
