"""Links of the documents as they lie in the repository; on the site MkDocs checks those between its pages."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.builders.runs import ROOT

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
MADE_BY_THE_SITE = re.compile(r"docs/(reference/(settings|commands|files|scores|columns)|notebook)\.md")


def links(document: Path) -> list[str]:
    """The addresses of a document's links and pictures, those in code left out."""
    lines = [line for line in document.read_text(encoding="utf-8").splitlines() if not line.startswith("    ")]
    text = re.sub(r"`[^`]*`", "`", "\n".join(lines))
    return re.findall(r"\]\(([^)\s]+)\)", text)


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.M)
    plain = [re.sub(r"[^\w\s-]", "", heading.replace("`", "")).strip().lower() for heading in headings]
    return {re.sub(r"\s", "-", heading) for heading in plain}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for link in links(document):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https", link
            assert re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc), link
            continue
        target = (document.parent / parts.path).resolve() if parts.path else document
        if MADE_BY_THE_SITE.fullmatch(str(target.relative_to(ROOT))):
            continue
        assert target.exists(), link
        assert not parts.fragment or parts.fragment in anchors(target), link


def test_the_readme_is_narrow_and_shows_no_picture_from_elsewhere() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 80 and not line.startswith("![")] == []
    assert not re.search(r"!\[[^\]]*\]\(https?:", "\n".join(lines)), "a badge that nobody here can keep true"
