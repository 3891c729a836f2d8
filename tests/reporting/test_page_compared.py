"""Pages of several runs."""

import re

import numpy as np

from mets3d.reporting import report
from tests.reporting.conftest import cells_of

CASES = ("A", "B")


def test_comparison_asks_the_question_and_shows_what_differs(make_run, data_set, scores_of, read_page, tmp_path):
    cases = CASES
    data = data_set(cases)
    hausdorff = make_run(
        "hausdorff",
        cases=cases,
        data=data,
        scores=scores_of(cases, 1),
        settings={"loss": {"boundary": "hausdorff_distance"}},
    )
    base = make_run("base", cases=cases, data=data, scores=scores_of(cases, 2))
    page = read_page(report([hausdorff, base], tmp_path / "out"))  # the base run is the reference wherever it stands
    assert "Does adding the Hausdorff distance term give better boundaries (HD95) and more lesions found?" in page.text
    assert "Differences are hausdorff minus base" in page.text
    assert "Cannot be concluded from 2 cases." in page.text
    settings = next(rows for rows in page.tables.values() if rows[0] == ["Setting", "base", "hausdorff"])
    assert settings[1:] == [["loss.boundary", "none", "hausdorff_distance"]]
    assert sorted(file.name for file in (tmp_path / "out" / "figures").iterdir()) == [
        *("cohort_scores.svg", "dots.svg", "forest.svg"),
        *("lesions_A_base.svg", "lesions_A_hausdorff.svg", "lesions_B_base.svg", "lesions_B_hausdorff.svg"),
        *("slices_A.svg", "slices_B.svg", "training.svg"),
    ]
    svg = (tmp_path / "out" / "figures" / "slices_A.svg").read_text()
    assert re.findall(r'font-weight="400"[^>]*>([^<]+)', svg) == ["zoom", "reference", "base", "hausdorff"]


def test_comparison_uses_and_names_only_shared_cases(make_run, scores_of, read_page, tmp_path):
    base, other = scores_of(("A", "B", "C"), 1), scores_of(("B", "C", "D"), 2)
    runs = [
        make_run("one", cases=("A", "B", "C"), scores=base, settings={"seed": 1}),
        make_run("two", cases=("B", "C", "D"), scores=other, settings={"seed": 2, "train": {"steps": 41}}),
    ]
    page = read_page(report(runs, tmp_path / "out"))
    assert "2 of 4 are in all runs" in page.text
    assert "The runs held out different cases" in page.text
    assert "different seeds (one: 1; two: 2)" in page.text
    assert "different numbers of training steps (one: 40; two: 41)" in page.text
    row = cells_of(page.tables["two against one"], "Whole-volume Dice", "WT")
    assert row[:2] == [f"{np.mean([run[case, 'WT']['dice'] for case in ('B', 'C')]):.3f}" for run in (base, other)]


def test_comparison_without_scores_still_makes_a_page(make_run, scores_of, read_page, tmp_path):
    runs = [make_run("one", scores=scores_of(("A",), 0)), make_run("two")]
    page = read_page(report(runs, tmp_path / "out"))
    assert "two: No scores.csv" in page.text
    assert "nothing to compare" in page.text


def test_three_runs_and_runs_of_one_name(make_run, scores_of, read_page, tmp_path):
    runs = [make_run(f"{folder}/run", scores=scores_of(("A", "B"), seed)) for seed, folder in enumerate("xyz")]
    page = read_page(report(runs, tmp_path / "out"))
    for run in runs[1:]:
        assert f"Does {run} give better boundaries (HD95) and more lesions found than {runs[0]}?" in page.text
    assert "Nothing but names" in page.text
