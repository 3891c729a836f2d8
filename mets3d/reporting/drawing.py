"""Slices with outlines as SVG: grey levels as small PNGs that the viewer enlarges, outlines as paths along voxel edges.

An outline is crisp at any size and the page stays small; a bitmap of the same sharpness would need some MB a case.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from html import escape

import numpy as np
from jaxtyping import Bool, UInt8

from mets3d.regions import Region
from mets3d.reporting.slices import Frame, SliceView
from mets3d.reporting.words import shortened

WIDTH, GAP, HEADING, LEGEND = 1080.0, 8.0, 24.0, 30.0
FONT = "font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif\""

Masks = Mapping[str, Bool[np.ndarray, "rows columns"]]
Point = tuple[int, int]


def case_svg(name: str, slices: Sequence[SliceView], regions: Sequence[Region], runs: Sequence[str]) -> str:
    """One row a slice: whole slice, zoom, reference in the zoom, then the prediction of each run in the zoom."""
    side = (WIDTH - GAP * (2 + len(runs))) / (3 + len(runs))
    headings = [name, "zoom", "reference", *(runs if len(runs) > 1 else ["prediction"] * len(runs))]
    body = [_heading(text, column, side, bold=column == 0) for column, text in enumerate(headings)]
    colours = {region.name: region.colour for region in regions}
    for row, view in enumerate(slices):
        for column, panel in enumerate(_panels(view, colours, runs, side)):
            x, y = column * (side + GAP), HEADING + row * (side + GAP)
            body.append(f'<svg x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" height="{side:.1f}">{panel}</svg>')
    bottom = HEADING + len(slices) * (side + GAP)
    body.append(_legend(regions, bottom, several=len(runs) > 1))
    height = bottom + LEGEND
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {WIDTH:.0f} {height:.0f}" width="{WIDTH:.0f}" height="{height:.0f}" {FONT}>'
        f"<title>{escape(name)}</title>{''.join(body)}</svg>"
    )


def _panels(view: SliceView, colours: Mapping[str, str], runs: Sequence[str], side: float) -> list[str]:
    only = view.predictions[runs[0]] if len(runs) == 1 else {}
    whole = (
        _image(view, view.whole, side)
        + _reference(view.reference, view.whole, colours, side, width=1.1)
        + _prediction(only, view.whole, colours, side, width=1.1)
        + _zoom_box(view, side)
        + _sides(side)
        + _scale_bar(view, view.whole, side, 50)
        + _label(f"{view.sequence}, axial slice {view.index + 1} of {view.slices}", 8.0, 17.0)
    )
    if view.zoom is None:
        return [whole]
    image, bar = _image(view, view.zoom, side), _scale_bar(view, view.zoom, side, 10)
    reference = _reference(view.reference, view.zoom, colours, side, width=2.0)
    missing = "" if view.reference else _label("no reference", 8.0, 17.0)
    shaded = _reference(view.reference, view.zoom, colours, side, width=0.0)
    predicted = [shaded + _prediction(view.predictions[run], view.zoom, colours, side, width=2.0) for run in runs]
    return [whole, image + bar, image + reference + missing, *(image + outlines for outlines in predicted)]


def _heading(text: str, column: int, side: float, *, bold: bool) -> str:
    x, weight = column * (side + GAP), "600" if bold else "400"
    return (
        f'<svg x="{x:.1f}" y="0" width="{side:.1f}" height="{HEADING:.0f}"><text x="1" y="16" font-size="13" '
        f'font-weight="{weight}" fill="#22272e">{escape(shortened(text, int(side / 8.2)))}</text></svg>'
    )


def _image(view: SliceView, frame: Frame, side: float) -> str:
    content = base64.b64encode(grey_png(frame.cut(view.grey))).decode()
    return (
        f'<rect width="{side:.1f}" height="{side:.1f}" fill="#000"/><image width="{side:.1f}" height="{side:.1f}" '
        f'preserveAspectRatio="none" xlink:href="data:image/png;base64,{content}"/>'
    )


def _reference(masks: Masks, frame: Frame, colours: Mapping[str, str], side: float, *, width: float) -> str:
    """Shaded and, with a width, outlined by a solid line."""
    drawn = []
    for name, path in _paths(masks, frame, side):
        shade = f'fill="{colours[name]}" fill-opacity="0.22" fill-rule="evenodd"'
        drawn.append(_line(path, colours[name], width, shade) if width else f'<path d="{path}" {shade}/>')
    return "".join(drawn)


def _prediction(masks: Masks, frame: Frame, colours: Mapping[str, str], side: float, *, width: float) -> str:
    """Outlined by a dashed line."""
    dashes = f'fill="none" stroke-dasharray="{3.2 * width:.1f} {2 * width:.1f}"'
    return "".join(_line(path, colours[name], width, dashes, dashes) for name, path in _paths(masks, frame, side))


def _line(path: str, colour: str, width: float, under: str, over: str = 'fill="none"') -> str:
    """The line over a dark one, so that it is seen on bright tissue too; `under` and `over` are further attributes."""
    return (
        f'<path d="{path}" {under} stroke="#000" stroke-opacity="0.5" stroke-width="{width * 1.8:.1f}"/>'
        f'<path d="{path}" {over} stroke="{colour}" stroke-width="{width:.1f}"/>'
    )


def _paths(masks: Masks, frame: Frame, side: float) -> list[tuple[str, str]]:
    across, down = side / frame.columns, side / frame.rows
    paths = []
    for name, mask in masks.items():
        text = "".join(_rounded(loop, across, down) for loop in outlines(frame.cut(mask)))
        if text:
            paths.append((name, text))
    return paths


def _rounded(loop: Sequence[Point], across: float, down: float) -> str:
    """The loop as path data, each corner a curve from half a voxel before it to half a voxel after it.

    That takes the jitter out of slanted outlines and moves none of them by more than 0.18 voxels.
    """
    text: list[str] = []
    for before, here, after in _neighbours(loop):
        points = [_half_way(here, before), here, _half_way(here, after)]
        start, corner, end = (f"{column * across:.1f} {row * down:.1f}" for row, column in points)
        text.append(f"{'L' if text else 'M'}{start}Q{corner} {end}")
    return "".join(text) + "Z"


def _half_way(here: Point, there: Point) -> tuple[float, float]:
    """Half a voxel from `here` towards `there`, along an axis."""
    row, column = (0.5 * float(np.sign(far - near)) for near, far in zip(here, there, strict=True))
    return here[0] + row, here[1] + column


def _zoom_box(view: SliceView, side: float) -> str:
    if view.zoom is None:
        return ""
    across, down = side / view.whole.columns, side / view.whole.rows
    x, y = (view.zoom.column - view.whole.column) * across, (view.zoom.row - view.whole.row) * down
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{view.zoom.columns * across:.1f}" '
        f'height="{view.zoom.rows * down:.1f}" fill="none" stroke="#fff" stroke-opacity="0.75" stroke-width="1"/>'
    )


def _sides(side: float) -> str:
    return _label("R", 8.0, side / 2 + 5, size=14) + _label("L", side - 8, side / 2 + 5, size=14, anchor="end")


def _scale_bar(view: SliceView, frame: Frame, side: float, length_mm: int) -> str:
    length = length_mm * side / (frame.columns * view.voxel_mm[1])
    right, y = side - 10, side - 10
    return (
        f'<path d="M{right - length:.1f} {y:.1f}H{right:.1f}" stroke="#000" stroke-opacity="0.6" stroke-width="4.5"/>'
        f'<path d="M{right - length:.1f} {y:.1f}H{right:.1f}" stroke="#fff" stroke-width="2.5"/>'
        + _label(f"{length_mm} mm", right, y - 6, anchor="end")
    )


def _label(text: str, x: float, y: float, *, size: int = 11, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="#fff" stroke="#000" '
        f'stroke-opacity="0.65" stroke-width="3" paint-order="stroke" stroke-linejoin="round">{escape(text)}</text>'
    )


def _legend(regions: Sequence[Region], top: float, *, several: bool) -> str:
    y, x, parts = top + 10, 1.0, []
    for region in regions:
        parts.append(f'<rect x="{x:.0f}" y="{y - 7:.0f}" width="14" height="12" rx="2" fill="{region.colour}"/>')
        parts.append(_ink(f"{region.name}, on {region.shown_on}", x + 19, y + 3))
        x += 100
    parts.append(f'<rect x="{x:.0f}" y="{y - 7:.0f}" width="22" height="12" fill="#57606a" fill-opacity="0.22"/>')
    parts.append(
        f'<rect x="{x:.0f}" y="{y - 7:.0f}" width="22" height="12" fill="none" stroke="#57606a" stroke-width="2"/>'
    )
    parts.append(_ink("reference (solid, shaded)", x + 29, y + 3))
    x += 195
    parts.append(
        f'<path d="M{x:.0f} {y - 1:.0f}h26" stroke="#57606a" stroke-width="2" stroke-dasharray="6.4 4" fill="none"/>'
    )
    parts.append(_ink("prediction of the run (dashed)" if several else "prediction (dashed)", x + 33, y + 3))
    return "".join(parts)


def _ink(text: str, x: float, y: float) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="12" fill="#57606a">{escape(text)}</text>'


# ---------------------------------------------------------------- masks and grey levels


def outlines(mask: Bool[np.ndarray, "rows columns"]) -> list[list[Point]]:
    """Closed loops of (row, column) corners along the voxel edges that separate True from False; empty for no True.

    Straight runs are one segment. Outer loops run clockwise on the screen, holes the other way.
    """
    edges = _edges(np.pad(mask, 1))
    loops = []
    while edges:
        start = next(iter(edges))
        loop, corner = [start], edges[start].pop()
        while corner != start:
            loop.append(corner)
            corner = edges[corner].pop()
        edges = {corner: ends for corner, ends in edges.items() if ends}
        loops.append(_corners(loop))
    return loops


def _edges(padded: Bool[np.ndarray, "rows columns"]) -> dict[Point, list[Point]]:
    """Directed voxel edges with the mask on their right, corner -> corners, in coordinates of the unpadded mask."""
    edges: dict[Point, list[Point]] = {}
    inside = padded[1:-1, 1:-1]
    sides = (
        (padded[:-2, 1:-1], (0, 0), (0, 1)),  # top edge, left to right
        (padded[1:-1, 2:], (0, 1), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (1, 0)),
        (padded[1:-1, :-2], (1, 0), (0, 0)),
    )
    for neighbour, start, end in sides:
        for row, column in np.argwhere(inside & ~neighbour).tolist():
            edges.setdefault((row + start[0], column + start[1]), []).append((row + end[0], column + end[1]))
    return edges


def _corners(loop: Sequence[Point]) -> list[Point]:
    """The loop without points in the middle of a straight run."""
    return [here for before, here, after in _neighbours(loop) if (after[0] - before[0]) * (after[1] - before[1]) != 0]


def _neighbours(loop: Sequence[Point]) -> Iterator[tuple[Point, Point, Point]]:
    """Each point of a closed loop between the one before and the one after it."""
    return zip([loop[-1], *loop[:-1]], loop, [*loop[1:], loop[0]], strict=True)


def grey_png(grey: UInt8[np.ndarray, "rows columns"]) -> bytes:
    """An 8-bit greyscale PNG (ISO/IEC 15948): each row stored as its difference to the row above, deflated."""
    above = np.vstack([np.zeros_like(grey[:1]), grey[:-1]])
    rows = np.hstack(
        [np.full((len(grey), 1), 2, np.uint8), grey - above]
    )  # filter type 2, up; uint8 wraps as specified

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", grey.shape[1], grey.shape[0], 8, 0, 0, 0, 0)
    data = zlib.compress(rows.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
