import xml.etree.ElementTree as ET

import pytest
from matplotlib.figure import Figure

from mets3d.evaluation.scores import score_of
from mets3d.regions import scored_regions
from mets3d.reporting.charts import forest
from mets3d.statistics.family import with_tests
from tests.statistics.test_answer import DICE, FOUND, HD95, NO_TREND, candidate, up

REGIONS = scored_regions()


@pytest.fixture
def drawn(monkeypatch):
    """The axes that a forest plot fills, in place of its SVG."""

    def draw(differences):
        axes = []

        def panels(rows, columns, fill, **_):
            axes.extend(Figure().subplots(rows, columns, squeeze=False).flat)
            fill(axes)
            return b""

        monkeypatch.setattr(forest, "panels", panels)
        assert forest.forest_figure(differences, REGIONS) is not None
        return axes

    return draw


def test_better_is_on_the_right_whatever_the_score(drawn):
    tests = with_tests(
        [candidate(DICE, "ET", up(0.1)), candidate(HD95, "ET", up(-1)), candidate(FOUND, "ET", up(-0.2))]
    )
    for axis, test in zip(drawn(tests), tests, strict=True):
        zero, at = axis.transData.transform([(0, 0), (test.found.difference, 0)])[:, 0]
        assert (at > zero) == (test.verdict == "better")
        words = {text.get_text(): text.xy[0] for text in axis.texts}
        assert words["better →"] > words["← worse"]
        low, high = sorted(axis.get_xlim())
        assert low < min(0, *test.found.interval) <= max(0, *test.found.interval) < high
        assert test.score.name in axis.get_title(loc="left") + axis.get_title()


def test_an_interval_is_drawn_where_it_is_and_full_dots_are_tests_below_the_level(drawn):
    tests = with_tests([candidate(DICE, "ET", up(0.1)), candidate(DICE, "WT", NO_TREND)])
    (axis,) = drawn(tests)
    lines = [tuple(line.get_xdata()) for line in axis.lines if len(line.get_xdata()) == 2]
    assert tests[0].found.interval in lines
    dots = {line.get_xdata()[0]: line.get_markerfacecolor() for line in axis.lines if line.get_marker() == "o"}
    assert dots[tests[1].found.difference] == "#fff"
    assert dots[tests[0].found.difference] != "#fff"
    assert [label.get_text() for label in axis.get_yticklabels()] == ["WT", "ET"]


def test_of_one_arm_other_scores_follow_and_of_several_the_declared_alone(drawn):
    dice = score_of("dice")
    one = with_tests([candidate(dice, "ET", up(0.1)), candidate(DICE, "ET", up(0.1))])
    assert forest.drawn_scores(one) == [DICE, dice]
    two = with_tests([candidate(score, "ET", NO_TREND, arm) for arm in ("one", "two") for score in (dice, DICE)])
    (axis,) = drawn(two)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["one", "two"]


def test_thirty_arms_are_drawn_in_one_region(drawn):
    many = [candidate(DICE, region, NO_TREND, f"arm {n}") for n in range(30) for region in ("WT", "ET")]
    (axis,) = drawn(with_tests(many))
    assert len(axis.get_yticklabels()) == 30
    assert sum(line.get_marker() == "o" for line in axis.lines) == 30


def test_it_is_an_svg_and_nothing_is_drawn_of_nothing():
    tests = with_tests([candidate(DICE, "ET", up(0.1)), candidate(HD95, "ET", [0] * 8)])
    assert ET.fromstring(forest.forest_figure(tests, REGIONS)).tag.endswith("svg")
    assert forest.forest_figure([], REGIONS) is None
    assert forest.forest_figure(tests, REGIONS[:1]) is None
