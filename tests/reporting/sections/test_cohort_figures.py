import re

from mets3d.reporting.figures import Figures
from mets3d.reporting.read_run import read_run
from mets3d.reporting.sections.cohort_figures import cohort_figures
from tests.reporting.charts.test_figures import CASES, FIGURES, POINTS


def test_what_cannot_be_drawn_is_named_with_its_command(cohort_run, make_run, scores_of, tmp_path):
    bare = read_run(make_run("bare", scores=scores_of(CASES, 0)))
    assert [figure([bare], CASES) is None for figure in FIGURES] == [False, True, True, True, True]
    html = cohort_figures([bare], CASES, Figures(tmp_path / "bare")).html
    assert [file.name for file in (tmp_path / "bare").iterdir()] == ["cohort_scores.svg"]
    assert html.count("mets3d evaluate") == 4
    assert html.count(" --held-out --probabilities") == 1
    for text in ("no recall by size", "no Dice against volume", "no FROC curve", "no Bland-Altman plot"):
        assert html.count(text) == 1

    whole = cohort_figures([cohort_run("whole", points=POINTS)], CASES, Figures(tmp_path / "whole")).html
    assert "mets3d" not in re.sub(r'"data:[^"]*"', "", whole)
    assert len(list((tmp_path / "whole").iterdir())) == 5

    unscored = read_run(make_run("unscored"))
    assert cohort_figures([unscored], CASES, Figures(tmp_path / "unscored")) is None


def test_references_without_a_lesion_need_no_command(cohort_run, tmp_path):
    false = [("A", "ET", "brats2023", 1, "false", "", 0.0, 0.0, 374.0)]
    points = [("A", "ET", "brats2023", 0.5, 0, 0, 1)]
    record = cohort_run(lesions=false, points=points)
    html = re.sub(r'"data:[^"]*"', "", cohort_figures([record], CASES, Figures(tmp_path / "figures")).html)
    assert "The references hold no lesion that counts: no recall by size." in html
    assert "no FROC curve" in html
    assert "mets3d" not in html
