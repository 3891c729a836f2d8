"""Renders the page's HTML from the templates beside this file: whatever is put into one is escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


def render(name: str, /, **values: object) -> Markup:
    """Renders a template with values; a value that it names and does not get is an error.

    Text is escaped; what is HTML already comes as Markup.
    """
    return Markup(_environment().get_template(name).render(**values))


def macro(name: str, of: str, /, *values: object) -> Markup:
    """Calls the macro `name` of a template with values, as templates do."""
    called = getattr(_environment().get_template(of).module, name)
    return Markup(called(*values))


@cache
def asset(name: str) -> Markup:
    """Reads the style sheet or the script, which stand in every page as they are."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(TEMPLATES, encoding="utf-8")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals["asset"] = asset
    return environment
