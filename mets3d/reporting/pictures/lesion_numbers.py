"""Draws the numbers of a map's lesions: a column on each side, a thin line from each number to its lesion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from mets3d.reporting.pictures import svg
from mets3d.reporting.pictures.lesion_picture import unimportance
from mets3d.reporting.pictures.lesion_planes import Lesion, Plane

# Green, red and blue whose differences survive protanopia, deuteranopia and tritanopia (a test computes them); each
# kind has a shape too. All are bright enough for a black background.
COLOURS = {"found": "#35E0A1", "missed": "#F04E23", "false": "#3A86FF", "ignored": "#B4BAC4"}
MOST_NUMBERS = 60  # on one map; in more the numbers would be too small to read
COLUMN = 27.0  # width of a column: the widest badge, a diamond with three digits
LETTER = 22.0  # height at the foot of each column that is left to R and L

Place = tuple[float, float]  # x, y


@dataclass(frozen=True)
class Spot:
    """The place of a number in its column; `scale` is below 1 where a column holds more than fit at full size."""

    x: float
    y: float
    scale: float


def numbers(plane: Plane, side: float) -> str:
    """Draws the numbers of a plane's most important lesions, in the coordinates of the picture, a square of `side`.

    The columns lie from -COLUMN to 0 and from `side` to `side` + COLUMN.
    """
    across, down = side / plane.frame.columns, side / plane.frame.rows
    marks = sorted(plane.marks, key=lambda mark: unimportance(mark.lesion))[:MOST_NUMBERS]
    middles = [((mark.at[1] - plane.frame.column) * across, (mark.at[0] - plane.frame.row) * down) for mark in marks]
    spots = columns(middles, [badge_height(mark.lesion) for mark in marks], side, side - LETTER)
    leaders, badges = [], []
    for mark, (x, y), spot in zip(marks, middles, spots, strict=True):
        path = f"M{spot.x:.1f} {spot.y:.1f}L{x:.1f} {y:.1f}"
        leaders.append(svg.line(path, COLOURS[mark.lesion.kind], 0.9, 'fill="none"'))
        badges.append(badge(mark.lesion, (spot.x, spot.y), spot.scale))
    return "".join(leaders + badges)


def columns(middles: Sequence[Place], heights: Sequence[float], side: float, room: float) -> list[Spot]:
    """Places a label of each height beside a square of `side`, level with the middle it belongs to where there is room.

    The columns are `room` high, from the top of the square.

    Middles in the left half have their label in the left column, unless that overflows and the right one has room, and
    the other way round. In a column labels are in the order of their middles' heights and do not overlap.
    """
    by_x = sorted(range(len(middles)), key=lambda index: middles[index])
    split = _split([heights[index] for index in by_x], sum(x < side / 2 for x, _ in middles), room)
    spots: dict[int, Spot] = {}
    for x, members in ((-COLUMN / 2, by_x[:split]), (side + COLUMN / 2, by_x[split:])):
        down = sorted(members, key=lambda index: middles[index][1])
        scale = min(1.0, room / max(sum(heights[index] for index in down), 1.0))
        ys = _stacked([middles[index][1] for index in down], [scale * heights[index] for index in down], room)
        spots |= {index: Spot(x, y, scale) for index, y in zip(down, ys, strict=True)}
    return [spots[index] for index in range(len(middles))]


def _split(heights: Sequence[float], wanted: int, room: float) -> int:
    """Returns the number of labels on the left: `wanted`, or the nearest at which the columns overflow least."""

    def overflow(left: int) -> float:
        return max(0.0, sum(heights[:left]) - room, sum(heights[left:]) - room)

    return min(range(len(heights) + 1), key=lambda left: (overflow(left), abs(left - wanted)))


def _stacked(wanted: Sequence[float], heights: Sequence[float], room: float) -> list[float]:
    """Returns the middles of labels between 0 and `room`: pushed down until none overlaps, then up until all fit."""
    tops, free = [], 0.0
    for y, height in zip(wanted, heights, strict=True):
        tops.append(max(free, y - height / 2))
        free = tops[-1] + height
    free = room
    for index in reversed(range(len(tops))):
        tops[index] = min(tops[index], free - heights[index])
        free = tops[index]
    return [top + height / 2 for top, height in zip(tops, heights, strict=True)]


# ---------------------------------------------------------------- badges


def badge(lesion: Lesion, at: Place, scale: float = 1.0) -> str:
    """Draws a lesion's number in the shape of its kind."""
    x, y = at
    return (
        shape(lesion.kind, at, scale * badge_radius(lesion))
        + f'<text x="{x:.1f}" y="{y + 3.6 * scale:.1f}" font-size="{10 * scale:.3g}" font-weight="600" '
        f'text-anchor="middle" fill="#fff">{lesion.number}</text>'
    )


def badge_radius(lesion: Lesion) -> float:
    """Returns the radius of a badge that holds the digits of the lesion's number."""
    return (7.5, 7.5, 8.5, 10.5)[min(len(str(lesion.number)), 3)]


def badge_height(lesion: Lesion) -> float:
    """Returns the height of a badge in its shape, with its rim and a little air."""
    return (2.5 if lesion.kind == "false" else 2.0) * badge_radius(lesion) + 3


def shape(kind: str, at: Place, radius: float) -> str:
    """Draws the shape of a kind, dark inside: found round, missed square, false a diamond."""
    x, y = at
    rim = min(1.8, 0.24 * radius)
    style = f'fill="#16191d" stroke="{COLOURS[kind]}" stroke-width="{rim:.2g}" data-kind="{escape(kind)}"'
    if kind == "missed":
        half = 0.92 * radius
        return f'<rect x="{x - half:.1f}" y="{y - half:.1f}" width="{2 * half:.1f}" height="{2 * half:.1f}" {style}/>'
    if kind == "false":
        far = 1.25 * radius
        corners = f"M{x:.1f} {y - far:.1f}l{far:.1f} {far:.1f}l{-far:.1f} {far:.1f}l{-far:.1f} {-far:.1f}z"
        return f'<path d="{corners}" {style}/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" {style}/>'
