"""Adds to the site, at each build, the pages that follow from the code: MkDocs calls this function.

Nothing of them lies in the repository, so that none can be out of date.
"""

from __future__ import annotations

from typing import Any

from generated import PAGES  # MkDocs looks beside this file
from mkdocs.structure.files import File, Files
from notebook_page import notebook_pages


def on_files(files: Files, config: Any) -> Files:
    """Adds the generated pages to those in docs/."""
    made = {address: page() for address, page in PAGES.items()}
    for address, content in {**made, **notebook_pages()}.items():
        files.append(File.generated(config, address, content=content))
    return files
