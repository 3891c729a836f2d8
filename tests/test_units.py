"""One spelling of units: names of columns and consoles have mm3, for they are ASCII; prose and pages have mm³."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.builders.runs import ROOT

PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]
PLAIN = re.compile(r"(?<![_\w])mm[23]\b|\bcubic mm\b|\bmm\^[23]")
CUBED = "mm³"
ON_PAGES = ROOT / "mets3d" / "reporting"
CONSOLE = [ROOT / "mets3d" / name for name in ("evaluation", "statistics", "verbs")]


def prose(page: Path) -> list[str]:
    """The lines of a document without code, indented, fenced or between backticks."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [re.sub(r"`[^`]*`", "", line) for line in text.splitlines() if not line.startswith("    ")]


def strings(file: Path) -> list[str]:
    """The text literals of a module that are no docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    lone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in lone
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documents_write_cubic_millimetres_alike(page: Path) -> None:
    assert [line for line in prose(page) if PLAIN.search(line)] == []


def test_pages_write_cubic_millimetres_alike() -> None:
    modules = [text for file in ON_PAGES.rglob("*.py") for text in strings(file)]
    templates = [file.read_text(encoding="utf-8") for file in ON_PAGES.rglob("*.html")]
    assert [text for text in (*modules, *templates) if PLAIN.search(text)] == []
    assert any(CUBED in text for text in modules)


def test_consoles_and_columns_are_ascii() -> None:
    texts = [text for folder in CONSOLE for file in folder.rglob("*.py") for text in strings(file)]
    assert [text for text in texts if CUBED in text] == []
