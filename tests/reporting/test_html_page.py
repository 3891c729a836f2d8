"""The frame that every page shares: header, contents, sections, and what is escaped."""

from __future__ import annotations

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from mets3d.reporting.html_page import PageKind, Section, page_html
from mets3d.reporting.rendering import render
from tests.builders.structure import Structure

KIND = PageKind("mets3d test")
SECTIONS = [
    Section("one", "Dice < 1", Markup("<p>first</p>")),
    None,
    Section("two", "A question that is long?", Markup("<p>second</p>"), "Answer"),
]


def framed(sections=SECTIONS, title="<b>Run", **values):
    return page_html(KIND, title, sections, footer="a & b", **values)


def test_the_contents_lead_to_every_section_by_its_short_name():
    html = framed()
    page = Structure(html)
    assert page.faults == []
    anchors = [own["id"] for own in page.named("h2")]
    assert anchors == ["one", "two"]
    links = [own["href"] for own in page.named("a")]
    assert links == ["#content", *(2 * ["#one", "#two"])]  # above the page on a small screen, else beside it
    assert [own.get("id") for own in page.named("main")] == ["content"]
    assert html.count("Answer</a>") == 2
    assert page.headings == [(1, "<b>Run"), (2, "Dice < 1"), (2, "A question that is long?")]
    assert (page.named("html")[0]["lang"], len(page.named("nav")), len(page.named("footer"))) == ("en", 1, 1)


def test_text_is_escaped_and_html_is_not():
    html = framed(lines=["of <i>"])
    assert "&lt;b&gt;Run</h1>" in html
    assert "&lt;b&gt;Run</title>" in html
    assert "of &lt;i&gt;</p>" in html
    assert "a &amp; b</footer>" in html
    assert "<p>first</p>" in html


def test_two_sections_at_one_anchor_are_refused():
    with pytest.raises(ValueError, match="several at one"):
        framed([SECTIONS[0], SECTIONS[0]])


def test_a_value_that_a_template_lacks_is_an_error():
    with pytest.raises(UndefinedError, match="alt"):
        render("figure.html", source="", caption="")


def test_a_per_cent_sign_is_not_parted_from_its_number() -> None:
    section = Section("a", "95 % of it", Markup("<p>50 % and a 5 %2 b</p>"))
    html = page_html(PageKind("x"), "title", [section], footer="")
    assert "95\u00a0% of it" in html
    assert "<p>50\u00a0% and a 5 %2 b</p>" in html
