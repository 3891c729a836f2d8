"""Writes the viewer as HTML, with its data, to stand in a page."""

from __future__ import annotations

import json

from markupsafe import Markup

from mets3d.reporting.rendering import render
from mets3d.reporting.viewer.contents import ViewerContents


def viewer_html(contents: ViewerContents) -> Markup:
    """Returns the viewer with its data; its script is `assets.viewer_script`."""
    # In a script element nothing but its closing tag has a meaning.
    data = json.dumps(contents.data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    return render("viewer.html", contents=contents, data=Markup(data))
