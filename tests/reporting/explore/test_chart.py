"""Charts that stand in the page."""

from __future__ import annotations

import re

from markupsafe import Markup

from mets3d.reporting.explore.chart import FILL, chart, charts, plain_numbers, whole_numbers
from tests.builders.structure import Structure


def drawn(key="one", title="A < B"):
    def draw(axis):
        axis.bar([1, 2], [3, 4], color=FILL)
        axis.set_xscale("log")
        plain_numbers(axis.xaxis)
        whole_numbers(axis.yaxis)
        axis.set_xlabel("volume [mm³]")

    return chart(key, draw, title=title, alt='"most" are small', note="n = 2")


def test_a_chart_has_its_finding_its_axes_and_what_it_shows():
    page = Structure(drawn())
    assert page.faults == []
    assert page.headings == [(3, "A < B")]
    (drawing,) = page.named("svg")
    assert drawing["aria-label"] == '"most" are small'
    assert "volume [mm³]" in page.text
    assert "n = 2" in page.text
    assert not page.named("style")  # it would be the whole page's


def test_two_charts_share_no_id_and_the_theme_colours_them():
    both = drawn("one") + drawn("two")
    ids = re.findall(r' id="([^"]+)"', both)
    assert len(ids) == len(set(ids)) > 0
    assert set(re.findall(r"(?:href=\"|url\()#([^\")]+)", both)) <= set(ids)
    assert "fill: var(--bar)" in both
    assert not re.search("#0072b2|#22272e|#57606a|font-family|<metadata", both, re.IGNORECASE)


def test_a_chart_is_the_same_every_time():
    assert drawn() == drawn()


def test_charts_stand_in_rows_that_leave_none_alone():
    figure = Markup("<figure></figure>")
    assert charts(None, None) is None
    assert charts(figure, None, figure).strip() == f'<div class="charts two">{figure * 2}</div>'
    assert charts(figure, figure, figure).strip() == f'<div class="charts">{figure * 3}</div>'
