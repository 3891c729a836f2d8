"""A new column of scores.csv is one row in the table of scores: the page shows it without a change in reporting."""

import pytest

from mets3d.evaluation import scores as table_of_scores
from mets3d.evaluation.scores import Score
from mets3d.reporting import report, summary_text
from mets3d.reporting.charts.cases import scores_figure
from mets3d.reporting.read_run import read_run
from tests.reporting.conftest import scores_shown

CASES = ("A", "B", "C")
NEW = Score("made_up", "Made-up distance", 2, "lower", "furlongs", shown=("page", "figure"))


@pytest.fixture
def new_column(monkeypatch, make_run, scores_of):
    """Runs whose tables hold a column that nobody has heard of."""
    monkeypatch.setattr(table_of_scores, "SCORES", (*table_of_scores.SCORES, NEW))

    def make(name, seed):
        scores = scores_of(CASES, seed)
        for number, row in enumerate(scores.values(), seed):
            row["made_up"] = number / 4
        return make_run(name, cases=CASES, scores=scores)

    return make


def test_a_new_column_is_on_the_page_of_one_run(new_column, read_page, tmp_path):
    run = new_column("one", 0)
    page = read_page(report([run], tmp_path / "out"))
    shown = scores_shown(page)["Made-up distance [furlongs]", "mean ± SD"]
    assert shown[0] == "0.75 ± 0.75"  # of 0, 3/4 and 6/4
    assert "Made-up distance [furlongs] ↓" in page.text
    cases = next(rows for rows in page.tables.values() if rows[1:] and rows[1][0] == "Case")
    assert cases[1][1:7] == ["LW Dice", "LW HD95", "Dice", "HD95", "Made-up distance", "found/missed/false"]
    assert cases[2][5] == "0.00"
    assert "HD95 in mm; Made-up distance in furlongs; found/missed/false" in page.text
    assert "Made-up distance [furlongs]" in summary_text(run)


def test_a_new_column_is_compared(new_column, read_page, tmp_path):
    page = read_page(report([new_column("one", 0), new_column("two", 2)], tmp_path / "out"))
    every = [row for rows in page.tables.values() for row in rows]
    (row,) = [row for row in every if row[0].startswith("Made-up distance") and row[1:3] == ["WT", "0.75"]]
    assert row[3:5] == ["1.25", "+0.50"]
    assert row[-1] == "0/3"


def test_a_new_column_has_a_panel(new_column, monkeypatch):
    titles = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_title", lambda self, title, **kwargs: titles.append(title))
    scores_figure([read_run(new_column("one", 0))], CASES)
    assert titles == ["Lesion-wise Dice", "Lesion-wise HD95 [mm]", "Made-up distance [furlongs]"]
