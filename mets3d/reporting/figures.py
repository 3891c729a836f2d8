"""Writes a figure as a file beside the page and, the same bytes, into it."""

from __future__ import annotations

import base64
import re
from html import escape
from pathlib import Path


class Figures:
    """Figures of one page: each is written as a file and comes back as HTML that holds it whole."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True)

    def add(self, name: str, svg: str | bytes, caption: str) -> str:
        """Writes the SVG as NAME.svg, odd characters replaced, and returns a `<figure>` that holds it.

        `caption` is text.
        """
        content = svg.encode() if isinstance(svg, str) else svg
        (self.folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.svg").write_bytes(content)
        source = f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}"
        text = escape(caption)
        return f'<figure><img src="{source}" alt="{text}"><figcaption>{text}</figcaption></figure>'
