"""Writes a figure as a file beside the page and, the same bytes, into it."""

from __future__ import annotations

import re
from pathlib import Path

from markupsafe import Markup

from mets3d.reporting.figure_theme import data_uri
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
        text = svg if isinstance(svg, str) else svg.decode()
        (self.folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.svg").write_text(text, encoding="utf-8")
        return render("figure.html", source=data_uri(text), alt=alt, caption=caption)
