"""Draws parts of an SVG picture: grey levels as small files that the viewer enlarges, lines, scale bars and text."""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from mets3d.reporting.figure_theme import with_dark_side
from mets3d.reporting.pictures.frames import Frame

FONT = "font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif\""

MOST_LOSSLESS = 128 * 128  # pixels of an image that is kept as it is; larger ones are compressed
JPEG_QUALITY = 85


def document(title: str, width: float, height: float, body: str) -> str:
    """Returns a whole SVG file of `body`, which is SVG; `title` is text."""
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" {FONT}>'
        f"<title>{escape(title)}</title>{body}</svg>"
    )
    return with_dark_side(svg, attributes=True)


def panel(x: float, y: float, width: float, height: float, body: str) -> str:
    """Returns a rectangle at (x, y) with its own coordinates, clipped at its edges."""
    return f'<svg x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}">{body}</svg>'


def image(grey: UInt8[np.ndarray, "rows columns"], side: float, name: str = "") -> str:
    """Returns grey levels stretched over a square, by whose `name` `again` shows them without holding them twice."""
    kind, file = ("png", grey_png(grey)) if grey.size <= MOST_LOSSLESS else ("jpeg", grey_jpeg(grey))
    content = base64.b64encode(file).decode()
    known = f' id="{name}"' if name else ""
    return (
        f'<rect width="{side:.1f}" height="{side:.1f}" fill="#000"/>'
        f'<image{known} width="{side:.1f}" height="{side:.1f}" '
        f'preserveAspectRatio="none" xlink:href="data:image/{kind};base64,{content}"/>'
    )


def again(name: str) -> str:
    """Returns an image of the same document once more."""
    return f'<use xlink:href="#{name}"/>'


def grey_png(grey: UInt8[np.ndarray, "rows columns"]) -> bytes:
    """Returns grey levels as an 8-bit PNG file, losslessly compressed."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(grey)).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def grey_jpeg(grey: UInt8[np.ndarray, "rows columns"]) -> bytes:
    """Returns grey levels as a JPEG file: of a whole slice less than half a PNG, for a page holds six cases."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(grey)).save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def line(path: str, colour: str, width: float, under: str, over: str = 'fill="none"') -> str:
    """Returns a line over a dark one, so that it is seen on bright tissue too; `under` and `over` add attributes."""
    return (
        f'<path d="{path}" {under} stroke="#000" stroke-opacity="0.5" stroke-width="{width * 1.8:.1f}"/>'
        f'<path d="{path}" {over} stroke="{colour}" stroke-width="{width:.1f}"/>'
    )


def dashed_line(path: str, colour: str, width: float) -> str:
    """Returns a dashed line over a dark dashed one."""
    dashes = f'fill="none" stroke-dasharray="{3.2 * width:.1f} {2 * width:.1f}"'
    return line(path, colour, width, dashes, dashes)


def sides(side: float) -> str:
    """Writes R on the left and L on the right of a picture: radiological orientation."""
    return label("R", 8.0, side / 2 + 5, size=14) + label("L", side - 8, side / 2 + 5, size=14, anchor="end")


def scale_bar(frame: Frame, across_mm: float, side: float, length_mm: int, *, size: int = 11) -> str:
    """Draws a bar of `length_mm` at the lower right; a column of the frame is `across_mm` wide."""
    length = length_mm * side / (frame.columns * across_mm)
    right, y = side - 10, side - 10
    return (
        f'<path d="M{right - length:.1f} {y:.1f}H{right:.1f}" stroke="#000" stroke-opacity="0.6" stroke-width="4.5"/>'
        f'<path d="M{right - length:.1f} {y:.1f}H{right:.1f}" stroke="#fff" stroke-width="2.5"/>'
        + label(f"{length_mm} mm", right, y - 6, anchor="end", size=size)
    )


def label(text: str, x: float, y: float, *, size: int = 11, anchor: str = "start") -> str:
    """Writes white text with a dark rim, for use on an image."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="#fff" stroke="#000" '
        f'stroke-opacity="0.65" stroke-width="3" paint-order="stroke" stroke-linejoin="round">{escape(text)}</text>'
    )


def ink(text: str, x: float, y: float, *, size: int = 12, colour: str = "#57606a", weight: int = 400) -> str:
    """Writes dark text, for use on paper."""
    bold = f' font-weight="{weight}"' if weight != 400 else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}"{bold} fill="{colour}">{escape(text)}</text>'
