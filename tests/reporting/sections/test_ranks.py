"""The ranks on the page, against the statistics' own numbers."""

import pytest

from mets3d.reporting.read_run import read_runs
from mets3d.reporting.sections.ranks import ranks_section
from mets3d.statistics.ranking import rank_methods
from mets3d.statistics.score_table import read_scores
from tests.reporting.conftest import Page, tables

CASES = ("A", "B", "C", "D", "E", "F", "G")


def test_ranks_are_the_statistics(make_run, scores_of):
    runs = [
        make_run(name, cases=CASES, scores=scores_of(CASES, seed)) for seed, name in enumerate(("one", "two", "<3>"))
    ]
    html = ranks_section(read_runs(runs), CASES).html
    found = tables(html)
    expected = rank_methods(
        {run.name: read_scores(run) for run in runs},
        CASES,
        ("WT", "TC", "ET"),
        ("lesion_wise_dice", "lesion_wise_hd95"),
    )
    assert found["Mean rank"] == {
        name: [f"{rank:.3f}"] for name, rank in sorted(expected.mean_ranks.items(), key=lambda item: item[1])
    }
    assert list(found["Difference of mean ranks"]) == ["two minus one", "<3> minus one", "<3> minus two"]
    pair, row = expected.pairs[0], found["Difference of mean ranks"]["two minus one"]
    assert row[0].replace("−", "-") == f"{pair.difference:+.3f}"
    assert float(row[2]) == pytest.approx(pair.p, abs=0.005)
    assert row[4] == f"{pair.better}/{pair.worse}"
    assert "within 7 patients" in Page(html).text
    assert "nothing can be concluded" not in Page(html).text
    assert "<3>" not in html
    few = Page(ranks_section(read_runs(runs), CASES[:5]).html).text
    assert "With fewer than 6 patients no p can be below 0.05: nothing can be concluded." in few


def test_no_ranks_without_a_pair_or_one_rule_set(make_run, scores_of):
    one, bare = make_run("one", scores=scores_of(("A", "B"), 0)), make_run("bare")
    assert ranks_section(read_runs([one, bare]), ("A", "B")) is None
    other = make_run("other", scores=scores_of(("A", "B"), 1))
    table = other / "scores.csv"
    table.write_text(table.read_text().replace("brats2023", "brats2024"))
    assert ranks_section(read_runs([one, other]), ("A", "B")) is None
    # Both under rules that rank by a column which these tables lack still rank by the one they have.
    first = one / "scores.csv"
    first.write_text(first.read_text().replace("brats2023", "brats2024"))
    text = Page(ranks_section(read_runs([one, other]), ("A", "B")).html).text
    assert "by lesion_wise_dice in WT, TC, ET" in text
    assert "No official ranking of these rules was found" in text
