"""Pages of arms x seeds x folds."""

import numpy as np
import pytest

from mets3d.reporting import report
from tests.reporting.conftest import cells_of, random_scores, training_log

TERM = {"loss": {"boundary": "hausdorff_distance"}}
CASES = ("A", "B", "C", "D", "E", "F", "G")


@pytest.fixture
def no_figures(monkeypatch):
    """Drawing diagrams takes most of a page's time; they have their own tests."""
    for name in ("case_dots", "overlaid_curves", "cohort_figures"):
        monkeypatch.setattr(f"mets3d.reporting.page.{name}", lambda *given: None)


@pytest.fixture
def study(make_run):
    """Two seeds of a base and of a term, and the tables they hold."""

    def make(**settings):
        runs, tables = [], {}
        for arm, own in (("term", TERM), ("base", {})):
            for seed in (0, 1):
                scores = random_scores(CASES, 2 * seed + (arm == "term"))
                tables[arm, seed] = scores
                runs.append(
                    make_run(f"{arm}{seed}", cases=CASES, scores=scores, settings={"seed": seed, **own, **settings})
                )
        return runs, tables

    return make


def of(tables, arm, column, region="ET"):
    return np.array([[tables[arm, seed][case, region][column] for seed in (0, 1)] for case in CASES])


def test_the_page_has_arms_and_not_one_run_against_another(study, read_page, tmp_path, no_figures):
    runs, tables = study()
    page = read_page(report(runs, tmp_path / "out"))
    assert "Arms: seeds and folds" in page.text
    assert "Does adding the Hausdorff distance term give better boundaries (HD95) and more lesions found?" in page.text
    assert page.text.count("against base") == 3  # the page's title, its heading, and one section
    assert page.tables["Runs"][1:] == [
        ["base", "2 runs (seeds 0, 1; fold 0)", "40", "–", "cpu", "base0"],
        ["loss.boundary=hausdorff_distance", "2 runs (seeds 0, 1; fold 0)", "40", "–", "cpu", "term0"],
    ]
    base, term = of(tables, "base", "dice"), of(tables, "term", "dice")
    every = [row[-3:] for row in page.tables["Lesion-wise Dice of every run"]]
    assert every[-2] == ["base", *(f"{mean:.3f}" for mean in of(tables, "base", "lesion_wise_dice").mean(0))]
    # There are two tables of scores: of all arms, and of the pair with the difference and its spread over seeds.
    row = cells_of(page.tables["loss.boundary=hausdorff_distance against base"], "Whole-volume Dice", "ET")
    difference = term - base
    spread = f"{difference.mean(0).std(ddof=1):.3f}"
    assert [row[0], row[1], row[-1]] == [f"{base.mean():.3f}", f"{term.mean():.3f}", spread]
    assert row[2].replace("−", "-") == f"{difference.mean():+.3f}"
    assert f"{base.mean():.3f} ± {base.mean(0).std(ddof=1):.3f}" in page.text
    assert "7 patients that all arms held out" in page.text
    assert "other seeds may differ by as much" not in page.text


def test_what_makes_it_no_study_is_said_and_the_word_is_not_used(study, make_run, read_page, tmp_path, no_figures):
    runs, _ = study()
    runs.append(make_run("longer", cases=CASES, settings=TERM | {"train": {"steps": 80}}))
    page = read_page(report(runs, tmp_path / "out"))
    assert "Groups of runs, which are no arms of one study: seeds and folds" in page.text
    assert "The runs have different numbers of training steps" in page.text
    assert "Arms: seeds" not in page.text


def test_one_arm_is_shown_as_a_run_with_its_runs(study, read_page, tmp_path, no_figures):
    runs, tables = study()
    page = read_page(report(runs[2:], tmp_path / "out"))
    assert "Arms: seeds and folds" in page.text
    mean = of(tables, "base", "dice").mean()
    assert any(f"{mean:.3f}" in cell for rows in page.tables.values() for row in rows for cell in row)
    assert "there is nothing to compare" not in page.text
    assert " against " not in page.text.split("Arms: seeds")[0]


def test_remarks_come_first_and_a_note_of_many_runs_is_written_once(study, read_page, tmp_path, no_figures):
    runs, _ = study()
    (runs[1] / "environment.json").unlink()
    text = read_page(report(runs, tmp_path / "out", remarks=["The test set was <used> twice."])).text
    said = (
        "Read this first",
        "The test set was <used> twice.",
        "All 4 runs: No predictions are saved, so there are no pictures of cases.",
        "Arms: seeds",
    )
    places = [text.index(part) for part in said]
    assert places == sorted(places)
    assert text.count("No predictions are saved") == 1
    assert "term1: No environment.json" in text


def test_one_run_of_each_arm_is_pictured(make_run, data_set, scores_of, read_page, tmp_path, no_figures):
    data = data_set(CASES[:2])
    runs = [
        make_run(
            f"{name}{seed}",
            cases=CASES[:2],
            data=data,
            scores=scores_of(CASES[:2], seed),
            settings={"seed": seed, **settings},
        )
        for name, settings in (("base", {}), ("term", TERM))
        for seed in (0, 1)
    ]
    report(runs, tmp_path / "out")
    names = [file.name for file in (tmp_path / "out" / "figures").iterdir()]
    assert sum(name.startswith("lesions_A") for name in names) == 2
    assert "slices_A.svg" in names


def test_curves_of_an_arm_are_its_mean_and_a_band(make_run):
    from mets3d.reporting.arms import as_arms
    from mets3d.reporting.charts.training import overlay_figure
    from mets3d.reporting.read_run import read_runs

    runs = [make_run(f"base{seed}", settings={"seed": seed}) for seed in (0, 1)]
    runs += [make_run("alone", settings=TERM, metrics=training_log(True))]
    svg = overlay_figure(as_arms(read_runs(runs))).decode()
    single = overlay_figure(read_runs(runs[2:])).decode()
    assert svg.count("fill-opacity: 0.18") > 0
    assert single.count("fill-opacity: 0.18") == 0
