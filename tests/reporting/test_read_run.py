import pytest

from mets3d.reporting.read_run import read_run, read_runs


def test_unfinished_training_and_skipped_steps_are_named(make_run):
    rows = [{"step": step, "kind": "train", "loss": 1.0, "skipped": step // 10} for step in range(1, 31)]
    notes = [note.text for note in read_run(make_run(metrics=rows)).notes]
    assert "Training has not reached its end: 30 of 40 steps are logged." in notes
    assert "3 training steps skipped because the loss was not finite." in notes  # the log counts them up
    assert "No validation in metrics.jsonl: no validation curve." in notes


def test_a_run_that_ended_early_is_not_called_unfinished(make_run):
    rows = [{"step": step, "kind": "train", "loss": 1.0} for step in range(1, 31)]
    settings = {"train": {"steps": 40}, "validate": {"rules": "brats2023", "patience": 2}}
    for name, code in (("early", 0), ("stopped", 143)):
        run = make_run(name, metrics=rows, settings=settings, environment={"exit_code": code})
        notes = [note.text for note in read_run(run).notes]
        early = "Training ended early: 30 of 40 steps, then validations found no better score."
        assert (early in notes) is (code == 0)
        assert ("Training has not reached its end: 30 of 40 steps are logged." in notes) is (code != 0)


def test_rows_are_in_order_of_steps(make_run):
    rows = [{"step": step, "kind": "train", "loss": float(step)} for step in (40, 10, 30)]
    record = read_run(make_run(metrics=rows))
    assert [row["step"] for row in record.training] == [10, 30, 40]


def test_runs_of_one_name_have_different_labels(make_run):
    runs = [make_run("x/run"), make_run("y/run"), make_run("z/other")]
    assert [record.label for record in read_runs(runs)] == [str(runs[0]), str(runs[1]), "other"]


def test_a_configuration_of_another_version_is_refused(make_run):
    run = make_run()
    (run / "config.yaml").write_text("no_such_key: 1\n")
    with pytest.raises(FileNotFoundError, match="no_such_key"):
        read_run(run)
