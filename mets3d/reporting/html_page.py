"""Frames a page: header, contents list, sections and footer in one file that loads nothing from outside."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from markupsafe import Markup

from mets3d.reporting.rendering import render

PERCENT = re.compile(r"(?<=[0-9]) %(?![0-9])")
T = TypeVar("T", str, Markup)


@dataclass(frozen=True)
class Section:
    """A part of a page: what stands beneath its heading.

    anchor: the end of its address, which no other section of the page has and which stays the same.
    short: its name in the list of contents, where the title is a long one.
    """

    anchor: str
    title: str
    html: Markup
    short: str = ""


@dataclass(frozen=True)
class PageKind:
    """A kind of page: the mark by which its own are known."""

    generator: str


def page_html(
    kind: PageKind, title: str, sections: Sequence[Section | None], *, lines: Sequence[str] = (), footer: str
) -> str:
    """Returns a whole page of the sections that there are; `lines` stand below its title.

    Raises ValueError for two sections with the same anchor: a link would reach the first alone.
    """
    shown = [section for section in sections if section]
    twice = [anchor for anchor, amount in Counter(section.anchor for section in shown).items() if amount > 1]
    if twice:
        raise ValueError(f"page: expected one section per anchor, found several at {', '.join(twice)}")
    kept = [
        replace(section, title=_kept_together(section.title), html=_kept_together(section.html)) for section in shown
    ]
    return render("page.html", generator=kind.generator, title=title, lines=lines, sections=kept, footer=footer)


def _kept_together(text: T) -> T:
    """Puts a space that does not break before each per cent sign behind a number."""
    return type(text)(PERCENT.sub("\u00a0%", text))
