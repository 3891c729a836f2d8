"""Parts of an SVG picture: grey levels as small PNGs that the viewer enlarges, outlines as paths along voxel edges.

An outline is crisp at any size and the page stays small; a bitmap of the same sharpness would need some MB a case.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator, Sequence
from html import escape

import numpy as np
from jaxtyping import Bool, UInt8

from mets3d.reporting.pictures.slices import Frame

FONT = "font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif\""

Point = tuple[int, int]


def document(title: str, width: float, height: float, body: str) -> str:
    """A whole SVG file of `body`, which is SVG; `title` is text."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" {FONT}>'
        f"<title>{escape(title)}</title>{body}</svg>"
    )


def panel(x: float, y: float, side: float, body: str) -> str:
    """A square of `side` at (x, y) with its own coordinates, clipped at its edges."""
    return f'<svg x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" height="{side:.1f}">{body}</svg>'


def image(grey: UInt8[np.ndarray, "rows columns"], side: float) -> str:
    """Grey levels stretched over a square."""
    content = base64.b64encode(grey_png(grey)).decode()
    return (
        f'<rect width="{side:.1f}" height="{side:.1f}" fill="#000"/><image width="{side:.1f}" height="{side:.1f}" '
        f'preserveAspectRatio="none" xlink:href="data:image/png;base64,{content}"/>'
    )


def line(path: str, colour: str, width: float, under: str, over: str = 'fill="none"') -> str:
    """The line over a dark one, so that it is seen on bright tissue too; `under` and `over` are further attributes."""
    return (
        f'<path d="{path}" {under} stroke="#000" stroke-opacity="0.5" stroke-width="{width * 1.8:.1f}"/>'
        f'<path d="{path}" {over} stroke="{colour}" stroke-width="{width:.1f}"/>'
    )


def dashed_line(path: str, colour: str, width: float) -> str:
    dashes = f'fill="none" stroke-dasharray="{3.2 * width:.1f} {2 * width:.1f}"'
    return line(path, colour, width, dashes, dashes)


def outline_path(mask: Bool[np.ndarray, "rows columns"], frame: Frame, side: float) -> str:
    """The outlines of a mask inside a frame drawn over `side`, as path data; empty where the frame holds none of it."""
    across, down = side / frame.columns, side / frame.rows
    return "".join(_rounded(loop, across, down) for loop in outlines(frame.cut(mask)))


def sides(side: float) -> str:
    """R on the left and L on the right: radiological orientation."""
    return label("R", 8.0, side / 2 + 5, size=14) + label("L", side - 8, side / 2 + 5, size=14, anchor="end")


def scale_bar(frame: Frame, across_mm: float, side: float, length_mm: int, *, size: int = 11) -> str:
    """A bar of `length_mm` at the lower right; a column of the frame is `across_mm` wide."""
    length = length_mm * side / (frame.columns * across_mm)
    right, y = side - 10, side - 10
    return (
        f'<path d="M{right - length:.1f} {y:.1f}H{right:.1f}" stroke="#000" stroke-opacity="0.6" stroke-width="4.5"/>'
        f'<path d="M{right - length:.1f} {y:.1f}H{right:.1f}" stroke="#fff" stroke-width="2.5"/>'
        + label(f"{length_mm} mm", right, y - 6, anchor="end", size=size)
    )


def label(text: str, x: float, y: float, *, size: int = 11, anchor: str = "start") -> str:
    """White text with a dark rim, for use on an image."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="#fff" stroke="#000" '
        f'stroke-opacity="0.65" stroke-width="3" paint-order="stroke" stroke-linejoin="round">{escape(text)}</text>'
    )


def ink(text: str, x: float, y: float, *, size: int = 12, colour: str = "#57606a", weight: int = 400) -> str:
    """Dark text, for use on paper."""
    bold = f' font-weight="{weight}"' if weight != 400 else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}"{bold} fill="{colour}">{escape(text)}</text>'


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
