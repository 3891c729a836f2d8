"""The pages of a run while it trains and of a data set, in a real browser."""

from __future__ import annotations

import pytest

from mets3d.reporting import report
from mets3d.rundir import RunDir
from mets3d.training.lock import held
from tests.reporting.explore.conftest import small_data, small_page  # noqa: F401 - fixtures


@pytest.fixture
def unfinished(make_run, tmp_path):
    """The page of a run in the middle of its training."""
    run = RunDir(make_run(environment={}, settings={"train": {"steps": 400}}))
    with held(run, print):
        return report([run.path], tmp_path / "out")


@pytest.fixture
def explored(small_page):  # noqa: F811
    return small_page / "index.html"


@pytest.mark.parametrize("kind", ["unfinished", "explored"])
def test_a_page_is_sound(kind, request, open_page):
    opened = open_page(request.getfixturevalue(kind))
    opened.unfold()
    assert opened.overflow() == []
    opened.shorten_tables()
    assert opened.barriers("light") == []
    (ink, paper), (dark_ink, dark_paper) = opened.colours("light"), opened.colours("dark")
    assert ink != dark_ink
    assert paper != dark_paper
    assert opened.barriers("dark") == []
    assert opened.errors == []
    assert opened.requests == []


def test_an_open_page_of_a_run_in_training_loads_itself_again_until_it_is_told_not_to(
    empty_curves, unfinished, open_page
):
    opened = open_page(unfinished, clock=True)
    loaded = []
    opened.page.on("load", lambda _: loaded.append(1))
    opened.page.clock.run_for(29_000)
    assert loaded == []
    with opened.page.expect_event("load"):
        opened.page.clock.run_for(2_000)
    opened.page.get_by_label("Load this page again").focus()
    opened.page.keyboard.press("Space")
    opened.page.clock.run_for(200_000)
    opened.page.evaluate("document.title")
    assert loaded == [1]
    assert opened.requests == []
