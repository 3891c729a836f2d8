"""The table of the original's options in docs/training.md names keys, tests and documents that exist."""

from __future__ import annotations

import re

import pytest

from mets3d.config import leaves
from tests.builders.runs import ROOT

DOCUMENT = ROOT / "docs" / "training.md"
OPTIONS = (
    *("layer_decay", "schedule", "warm-up", "spatial", "brats_regions", "deep supervision off", "batch management"),
    *("transformer outputs in the loss", "NaN checks"),
)


def rows() -> dict[str, list[str]]:
    """The cells behind the first one of every row, by the first one without its marks."""
    text = DOCUMENT.read_text(encoding="utf-8").partition("## Options of the original\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first.partition("(")[0].replace("`", "").strip(): others for first, *others in cells}


def anchors(text: str) -> set[str]:
    """The names under which a page's headings are linked to."""
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_option_has_its_row() -> None:
    assert tuple(rows()) == OPTIONS


@pytest.mark.parametrize("option", OPTIONS)
def test_its_keys_tests_and_document_exist(option: str) -> None:
    keys, _, tests, document = rows()[option]
    settings = {key for key, _, _ in leaves()}
    named = re.findall(r"`([^`]+)`", keys)
    assert named
    assert set(named) <= settings
    files = re.findall(r"`([^`]+)`", tests)
    assert files
    for file in files:
        assert "def test_" in (ROOT / file).read_text(encoding="utf-8"), file
    match = re.fullmatch(r"\[[\w.]+\]\((\w+\.md)(?:#([\w-]+))?\)", document)
    assert match, document
    page = (DOCUMENT.parent / match[1]).read_text(encoding="utf-8")
    assert match[2] is None or match[2] in anchors(page), document
