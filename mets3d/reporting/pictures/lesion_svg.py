"""A case's lesions as SVG: the fullest slice, two lesion maps with every number, and beneath them a tile per lesion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from mets3d.reporting.pictures import svg
from mets3d.reporting.pictures.lesion_picture import LesionPicture, unimportance
from mets3d.reporting.pictures.lesion_planes import KINDS, Layer, Lesion, Plane
from mets3d.reporting.pictures.slice_svg import GAP, HEADING, WIDTH
from mets3d.reporting.sentences import count, number, shortened

# Green, red and blue whose differences survive protanopia, deuteranopia and tritanopia (a test computes them); each
# kind has a shape too. All are bright enough for a black background.
COLOURS = {"found": "#35E0A1", "missed": "#F04E23", "false": "#3A86FF", "ignored": "#B4BAC4"}
MEANINGS = {
    "found": "found (true positive)",
    "missed": "missed (false negative)",
    "false": "false (false positive)",
    "ignored": "too small to count",
}
COLUMNS, CAPTION = 6, 40.0
MOST_NUMBERS = 60  # on one map; more would cover it

Place = tuple[float, float]  # x, y


def lesions_svg(name: str, picture: LesionPicture, run: str = "") -> str:
    """Overviews in one row, then the tiles by number, then a legend; `run` goes to the heading where it is given."""
    heading = f"{name}, lesions of {picture.region.name}" + (f", run {run}" if run else "")
    body = [svg.ink(shortened(heading, 110), 1, 16, size=13, colour="#22272e", weight=600)]
    side = (WIDTH - 2 * GAP) / 3
    for column, plane in enumerate(picture.overviews):
        body.append(svg.panel(column * (side + GAP), HEADING, side, _overview(plane, side)))
    top = HEADING + side + 2 * GAP
    small = (WIDTH - (COLUMNS - 1) * GAP) / COLUMNS
    for place, (lesion, plane) in enumerate(picture.tiles):
        row, column = divmod(place, COLUMNS)
        x, y = column * (small + GAP), top + row * (small + CAPTION + GAP)
        body.append(svg.panel(x, y, small, _tile(plane, small)))
        body.append(_caption(lesion, x, y + small))
    top += -(-len(picture.tiles) // COLUMNS) * (small + CAPTION + GAP)
    body.append(_legend(picture, top))
    for said in filter(None, (left_out(picture), _unnumbered(picture))):
        body.append(svg.ink(said, 1, top + 38))
        top += 20
    return svg.document(heading, WIDTH, top + 28, "".join(body))


def left_out(picture: LesionPicture) -> str:
    """How many lesions have no tile, by kind; empty where each has one."""
    if not picture.left_out:
        return ""
    kinds = [lesion.kind for lesion in picture.left_out]
    parts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in KINDS if kind in kinds)
    return (
        f"Tiles of the {len(picture.tiles)} most important of {len(picture.tiles) + len(kinds)} lesions: missed and "
        f"false ones first, then the largest. {count(len(kinds), 'lesion')} left out: {parts}."
    )


def _unnumbered(picture: LesionPicture) -> str:
    most = max(len(plane.marks) for plane in picture.overviews)
    return f"Of {most} lesions, the maps number the {MOST_NUMBERS} most important." if most > MOST_NUMBERS else ""


def in_mm3(volume_mm3: float) -> str:
    """Whole cubic millimetres from 10 on, one decimal below."""
    return f"{volume_mm3:,.0f} mm³" if volume_mm3 >= 9.95 else f"{volume_mm3:.1f} mm³"


# ---------------------------------------------------------------- panels


def _overview(plane: Plane, side: float) -> str:
    return (
        svg.image(plane.frame.cut(plane.grey), side)
        + _outlines(plane, side, width=1.5)
        + _numbers(plane, side)
        + svg.sides(side)
        + svg.scale_bar(plane.frame, plane.voxel_mm[1], side, 50)
        + svg.label(plane.title, 8.0, 17.0)
    )


def _tile(plane: Plane, side: float) -> str:
    return (
        svg.image(plane.frame.cut(plane.grey), side)
        + _outlines(plane, side, width=2.2)
        + svg.scale_bar(plane.frame, plane.voxel_mm[1], side, 10, size=10)
        + svg.label(plane.title, 6.0, 14.0, size=10)
    )


def _outlines(plane: Plane, side: float, width: float) -> str:
    return "".join(_outline(layer, svg.outline_path(layer.mask, plane.frame, side), width) for layer in plane.layers)


def _outline(layer: Layer, path: str, width: float) -> str:
    if not path:
        return ""
    colour, drawn = COLOURS[layer.kind], width if layer.subject else 0.55 * width
    if layer.predicted:  # wider: where it runs on the reference's outline, the dashes stand out as beads
        return svg.dashed_line(path, colour, 1.5 * drawn)
    return svg.line(path, colour, 0.75 * drawn, 'fill="none"')


def _caption(lesion: Lesion, x: float, top: float) -> str:
    radius = _radius(lesion)
    return (
        _badge(lesion, (x + radius + 3, top + 13))
        + svg.ink(lesion.kind, x + 2 * radius + 11, top + 17, colour="#22272e", weight=600)
        + svg.ink(f"{in_mm3(lesion.volume_mm3)}, Dice {number(lesion.dice, 2)}", x + 1, top + 36)
    )


def _legend(picture: LesionPicture, top: float) -> str:
    kinds = [kind for kind in KINDS if kind != "ignored" or any(lesion.kind == kind for lesion in picture.lesions)]
    x, y, parts = 9.0, top + 12, []
    for kind in kinds:
        parts.append(_shape(kind, (x, y), 7.0))
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


# ---------------------------------------------------------------- numbers


def _numbers(plane: Plane, side: float) -> str:
    """A badge beside each lesion, a thin line from it to the lesion's middle."""
    per_mm = side / (plane.frame.columns * plane.voxel_mm[1])
    across, down = side / plane.frame.columns, side / plane.frame.rows
    ranked = sorted(plane.marks, key=lambda mark: unimportance(mark.lesion))[:MOST_NUMBERS]
    ranked.sort(key=lambda mark: mark.lesion.number)
    middles = [((mark.at[1] - plane.frame.column) * across, (mark.at[0] - plane.frame.row) * down) for mark in ranked]
    discs = [(middle, mark.radius * per_mm) for middle, mark in zip(middles, ranked, strict=True)]
    places = placed(discs, [_radius(mark.lesion) for mark in ranked], side)
    lines, badges = [], []
    for mark, (x, y), (badge_x, badge_y) in zip(ranked, middles, places, strict=True):
        path = f'd="M{badge_x:.1f} {badge_y:.1f}L{x:.1f} {y:.1f}" fill="none"'
        lines.append(f'<path {path} stroke="#000" stroke-opacity="0.5" stroke-width="2"/>')
        lines.append(f'<path {path} stroke="{COLOURS[mark.lesion.kind]}" stroke-width="0.9"/>')
        badges.append(_badge(mark.lesion, (badge_x, badge_y)))
    return "".join(lines + badges)


def placed(discs: Sequence[tuple[Place, float]], radii: Sequence[float], side: float) -> list[Place]:
    """Where the badges of `radii` go beside the discs (middle, radius) that they name, in a square of `side`.

    Each takes a near place, outward first, that touches no badge, no disc's middle and not the texts at the panel's
    edges, and covers as little of the discs as it can; where the square is full, the place that touches least.
    """
    taken: list[tuple[Place, float]] = []
    for (middle, reach), radius in zip(discs, radii, strict=True):
        costs = {
            here: _cost(here, radius, discs, taken, side) + 0.02 * math.dist(here, middle)
            for here in _around(middle, min(reach, 60.0) + radius + 3, side)
            if all(radius + 1 <= along <= side - radius - 1 for along in here)
        }
        taken.append((min(costs, key=lambda here: costs[here], default=middle), radius))
    return [place for place, _ in taken]


def _around(middle: Place, nearest: float, side: float) -> list[Place]:
    outward = math.atan2(middle[1] - side / 2, middle[0] - side / 2)
    return [
        (middle[0] + distance * math.cos(angle), middle[1] + distance * math.sin(angle))
        for distance in (nearest + 9 * step for step in range(9))
        for angle in (outward + turn * math.pi / 6 for turn in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6))
    ]


def _cost(
    here: Place,
    radius: float,
    discs: Sequence[tuple[Place, float]],
    taken: Sequence[tuple[Place, float]],
    side: float,
) -> float:
    """Pixels by which a badge touches what it must not, ten times, and by which it covers discs."""
    touched = sum(max(0.0, radius + other + 1.5 - math.dist(here, at)) for at, other in taken)
    touched += sum(max(0.0, radius + 2 - math.dist(here, middle)) for middle, _ in discs)
    touched += sum(_inside(here, radius, text) for text in _texts(side))
    covered = sum(max(0.0, radius + reach - math.dist(here, middle)) for middle, reach in discs)
    return 10 * touched + 0.1 * covered


def _texts(side: float) -> tuple[tuple[float, float, float, float], ...]:
    """Left, top, right, bottom of what is written on an overview: title, R, L, scale bar."""
    return (
        (0, 0, side, 22),
        (0, side / 2 - 9, 24, side / 2 + 9),
        (side - 24, side / 2 - 9, side, side / 2 + 9),
        (side * 0.68, side - 34, side, side),
    )


def _inside(at: Place, radius: float, text: tuple[float, float, float, float]) -> float:
    left, top, right, bottom = text
    across = min(at[0] + radius - left, right - at[0] + radius)
    down = min(at[1] + radius - top, bottom - at[1] + radius)
    return max(0.0, min(across, down))


def _radius(lesion: Lesion) -> float:
    return (7.5, 7.5, 8.5, 10.5)[min(len(str(lesion.number)), 3)]


def _badge(lesion: Lesion, at: Place) -> str:
    x, y = at
    return (
        _shape(lesion.kind, at, _radius(lesion))
        + f'<text x="{x:.1f}" y="{y + 3.6:.1f}" font-size="10" font-weight="600" text-anchor="middle" fill="#fff">'
        f"{lesion.number}</text>"
    )


def _shape(kind: str, at: Place, radius: float) -> str:
    """Found round, missed square, false a diamond, dark inside."""
    x, y = at
    style = f'fill="#16191d" stroke="{COLOURS[kind]}" stroke-width="1.8" data-kind="{escape(kind)}"'
    if kind == "missed":
        half = 0.92 * radius
        return f'<rect x="{x - half:.1f}" y="{y - half:.1f}" width="{2 * half:.1f}" height="{2 * half:.1f}" {style}/>'
    if kind == "false":
        far = 1.25 * radius
        corners = f"M{x:.1f} {y - far:.1f}l{far:.1f} {far:.1f}l{-far:.1f} {far:.1f}l{-far:.1f} {-far:.1f}z"
        return f'<path d="{corners}" {style}/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" {style}/>'
