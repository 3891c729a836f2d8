from mets3d.reporting.compare import cases_in_all, comparison_notes, configuration_differences, reference_first
from mets3d.reporting.read_run import read_runs


def test_the_run_without_a_boundary_term_comes_first(make_run):
    term = {"loss": {"boundary": "hausdorff_distance"}}
    runs = [make_run("a", settings=term), make_run("b"), make_run("c", settings=term)]
    assert [record.label for record in reference_first(read_runs(runs))] == ["b", "a", "c"]
    assert [record.label for record in reference_first(read_runs([runs[2], runs[0]]))] == ["c", "a"]


def test_equal_runs_have_no_comparison_notes(make_run, scores_of):
    runs = [make_run(name, scores=scores_of(("A", "B"), seed)) for seed, name in enumerate(("a", "b"))]
    assert comparison_notes(read_runs(runs)) == []
    assert configuration_differences(read_runs(runs)) == []


def test_shared_cases_leave_out_runs_without_scores(make_run, scores_of):
    runs = [make_run("a", scores=scores_of(("A", "B"), 0)), make_run("b")]
    assert cases_in_all(read_runs(runs)) == ["A", "B"]
    assert cases_in_all(read_runs(runs[1:])) == []


def test_every_key_that_differs_in_any_run(make_run):
    settings = [{"seed": 1}, {"seed": 1, "optim": {"lr": 0.1}}, {"seed": 2, "name": "x", "track": {"project": "y"}}]
    runs = [make_run(name, settings=chosen) for name, chosen in zip("abc", settings, strict=True)]
    assert configuration_differences(read_runs(runs)) == ["optim.lr", "seed"]
