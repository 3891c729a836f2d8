"""Writes a figure as a file beside the page and, the same bytes, into it."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from markupsafe import Markup

from mets3d.reporting.rendering import render


class Figures:
    """Figures of one page: each is written as a file and comes back as HTML that holds it whole."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True)

    def add(self, name: str, svg: str | bytes, caption: str, *, alt: str) -> Markup:
        """Writes the SVG as NAME.svg, odd characters replaced, and returns a `<figure>` that holds it.

        `caption` is read by all; `alt` says in a few words what the picture is to those who do not see it.
        """
        content = svg.encode() if isinstance(svg, str) else svg
        (self.folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.svg").write_bytes(content)
        source = f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}"
        return render("figure.html", source=source, alt=alt, caption=caption)
