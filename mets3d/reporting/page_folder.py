"""Refuses to write a page over a folder that holds anything but a former page of the same kind."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from mets3d.reporting.html_page import PageKind

HEAD_CHARACTERS = 2000  # of a page, in which the mark of this program stands


def refuse_strangers(out: Path, kind: PageKind, noun: str, index: str, others: Collection[str]) -> None:
    """Raises FileExistsError if `out` exists and is not a former page of this kind: `index` and perhaps `others`."""
    if not out.exists():
        return
    if not out.is_dir():
        raise FileExistsError(f"{out} exists and is a file; name a folder for the {noun} that does not exist yet")
    found = {entry.name for entry in out.iterdir()}
    strangers = sorted(found - {index, *others})
    if strangers or (found and not _is_own(out / index, kind)):
        shown = ", ".join((strangers or sorted(found))[:5])
        raise FileExistsError(
            f"{out} exists and is not a former {noun} (found {shown}); name another folder or empty it"
        )


def _is_own(index: Path, kind: PageKind) -> bool:
    """Looks for the mark of this program in the head of a page."""
    if not index.is_file():
        return False
    return f'content="{kind.generator}"' in index.read_text(encoding="utf-8", errors="replace")[:HEAD_CHARACTERS]
