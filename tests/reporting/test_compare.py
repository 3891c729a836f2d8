from mets3d.reporting import report
from mets3d.reporting.arms import as_arms
from mets3d.reporting.compare import cases_in_all, configuration_differences
from mets3d.reporting.fair import comparison_notes
from mets3d.reporting.read_run import read_runs


def test_the_run_without_a_boundary_term_comes_first(make_run):
    term = {"loss": {"boundary": "hausdorff_distance"}}
    runs = [make_run("a", settings=term), make_run("b"), make_run("c", settings=term)]
    assert [record.label for record in as_arms(read_runs(runs))] == ["b", "a", "c"]
    assert [record.label for record in as_arms(read_runs([runs[2], runs[0]]))] == ["c", "a"]


def test_equal_runs_have_no_comparison_notes(make_run, scores_of):
    runs = [make_run(name, scores=scores_of(("A", "B"), seed)) for seed, name in enumerate(("a", "b"))]
    assert comparison_notes(read_runs(runs)) == []
    assert configuration_differences(read_runs(runs)) == []


def test_scores_by_different_rule_sets_are_not_compared(make_run, scores_of, read_page, tmp_path):
    runs = [make_run(name, scores=scores_of(("A", "B"), seed)) for seed, name in enumerate("ab")]
    table = runs[1] / "scores.csv"
    table.write_text(table.read_text().replace("brats2023", "brats2026"))
    records = read_runs([*runs, make_run("c")])
    assert cases_in_all(records) == []
    (note,) = comparison_notes(records)
    assert "scored by different rule sets (a: brats2023; b: brats2026)" in note.text
    text = read_page(report(runs, tmp_path / "out")).text
    assert "there is nothing to compare" in text
    assert "Mean rank" not in text
    assert "Lesions and cohort" not in text
    assert "b: scores.csv is scored by brats2026; the rule set of the run (validate.rules) is brats2023." in text


def test_a_table_of_several_rule_sets_has_no_means(make_run, scores_of, read_page, tmp_path):
    run = make_run(scores=scores_of(("A", "B"), 0))
    table = run / "scores.csv"
    table.write_text(table.read_text().replace("brats2023", "brats2024", 1))
    page = read_page(report([run], tmp_path / "out"))
    assert "scores.csv holds scores by several rule sets (brats2023, brats2024)" in page.text
    assert "Whole-volume Dice" not in page.tables


def test_shared_cases_leave_out_runs_without_scores(make_run, scores_of):
    runs = [make_run("a", scores=scores_of(("A", "B"), 0)), make_run("b")]
    assert cases_in_all(read_runs(runs)) == ["A", "B"]
    assert cases_in_all(read_runs(runs[1:])) == []


def test_every_key_that_differs_in_any_run(make_run):
    settings = [{"seed": 1}, {"seed": 1, "optim": {"lr": 0.1}}, {"seed": 2, "name": "x", "track": {"project": "y"}}]
    runs = [make_run(name, settings=chosen) for name, chosen in zip("abc", settings, strict=True)]
    assert configuration_differences(read_runs(runs)) == ["optim.lr", "seed"]
