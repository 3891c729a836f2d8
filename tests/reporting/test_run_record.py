import pytest

from mets3d.reporting.compare import comparison_notes, configuration_differences, reference_first, shared_cases
from mets3d.reporting.run_record import read_run, read_runs


def texts(record):
    return " ".join(note.text for note in record.notes)


def test_cells_without_a_finite_value_are_left_out(make_run, scores_of):
    scores = scores_of(("A", "B", "C", "D"), 0)
    for case, cell in zip("ABC", ("", "nan", "inf"), strict=True):
        scores[case, "WT"]["hd95"] = cell
    record = read_run(make_run(cases=("A", "B", "C", "D"), scores=scores))
    assert record.values("WT", "hd95") == {"D": scores["D", "WT"]["hd95"]}
    assert set(record.values("TC", "hd95")) == {"A", "B", "C", "D"}
    assert record.values("RC", "hd95") == {}


def test_full_precision_survives(make_run, scores_of):
    scores = scores_of(("A",), 1)
    record = read_run(make_run(cases=("A",), scores=scores))
    assert record.values("ET", "lesion_wise_dice")["A"] == scores["A", "ET"]["lesion_wise_dice"]


def test_held_out_are_the_scored_cases_that_training_has_not_seen(make_run, scores_of):
    record = read_run(make_run("some", scores=scores_of(("T1", "elsewhere", "A"), 0)))
    assert record.held_out == ["A", "elsewhere"]
    only_training = read_run(make_run("none", scores=scores_of(("T1", "T2"), 0)))
    assert only_training.held_out == ["T1", "T2"]
    assert "Every scored case was used in training" in texts(only_training)


def test_unfinished_training_and_skipped_steps_are_named(make_run):
    rows = [{"step": step, "kind": "train", "loss": 1.0, "skipped": step // 10} for step in range(1, 31)]
    said = [note.text for note in read_run(make_run(metrics=rows)).notes]
    assert "Training has not reached its end: 30 of 40 steps are logged." in said
    assert "3 training steps were skipped because the loss was not finite." in said  # the log counts them up
    assert "No validation in metrics.jsonl: no validation curve." in said


def test_rows_are_in_order_of_steps(make_run):
    rows = [{"step": step, "kind": "train", "loss": float(step)} for step in (40, 10, 30)]
    record = read_run(make_run(metrics=rows))
    assert [row["step"] for row in record.training] == [10, 30, 40]


def test_the_run_without_a_boundary_term_comes_first(make_run):
    term = {"loss": {"boundary": "hausdorff_distance"}}
    runs = [make_run("a", settings=term), make_run("b"), make_run("c", settings=term)]
    assert [record.label for record in reference_first(read_runs(runs))] == ["b", "a", "c"]
    assert [record.label for record in reference_first(read_runs([runs[2], runs[0]]))] == ["c", "a"]


def test_runs_of_one_name_are_told_apart(make_run):
    runs = [make_run("x/run"), make_run("y/run"), make_run("z/other")]
    assert [record.label for record in read_runs(runs)] == [str(runs[0]), str(runs[1]), "other"]


def test_equal_runs_have_no_comparison_notes(make_run, scores_of):
    runs = [make_run(name, scores=scores_of(("A", "B"), seed)) for seed, name in enumerate(("a", "b"))]
    assert comparison_notes(read_runs(runs)) == []
    assert configuration_differences(read_runs(runs)) == []


def test_shared_cases_leave_out_runs_without_scores(make_run, scores_of):
    runs = [make_run("a", scores=scores_of(("A", "B"), 0)), make_run("b")]
    assert shared_cases(read_runs(runs)) == ["A", "B"]
    assert shared_cases(read_runs(runs[1:])) == []


def test_every_key_that_differs_in_any_run(make_run):
    settings = [{"seed": 1}, {"seed": 1, "optim": {"lr": 0.1}}, {"seed": 2, "name": "x", "track": {"project": "y"}}]
    runs = [make_run(name, settings=chosen) for name, chosen in zip("abc", settings, strict=True)]
    assert configuration_differences(read_runs(runs)) == ["optim.lr", "seed"]


def test_a_configuration_of_another_version_is_refused(make_run):
    run = make_run()
    (run / "config.yaml").write_text("no_such_key: 1\n")
    with pytest.raises(FileNotFoundError, match="no_such_key"):
        read_run(run)
