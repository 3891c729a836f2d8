"""The section on a training that has not reached its end."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from mets3d.reporting import report
from mets3d.reporting.pace import progress_line, seconds_in_words
from mets3d.reporting.pictures.validation_slices import validation_slices
from mets3d.reporting.read_run import read_run
from mets3d.reporting.sections.under_way import is_unfinished
from mets3d.rundir import RunDir
from mets3d.training.lock import held

BEGUN = {"started": "2026-01-01T10:00:00+00:00", "seconds": 0.0}


def log(last=20, seconds=0.5):
    """Steps of half a second each with four samples, a validation of three seconds at every tenth."""
    rows = []
    for step in range(1, last + 1):
        rows.append({"step": step, "kind": "train", "loss": 1 / step, "lr": 1e-3, "samples_per_second": 2 / seconds})
        if step % 10 == 0:
            scores = {"lesion_wise_dice/mean": 0.9 - step / 100, "cases": 3, "seconds": 3.0}
            rows.append({"step": step, "kind": "validation", **scores})
    return rows


def slices(run, *steps):
    """What validations after these steps wrote: one slice, whose prediction is an ever larger square."""
    for step in steps:
        folder = RunDir(run).validation(step)
        folder.path.mkdir(parents=True)
        labels = np.zeros((20, 16), np.uint8)
        labels[5:15, 4:12] = 3
        planes = {
            "image": labels * 60,
            "reference": labels,
            "prediction": np.where(np.indices((20, 16))[0] < step, labels, 0),
        }
        files = {part: f"{part}_0.png" for part in planes}
        for part, plane in planes.items():
            Image.fromarray(plane.astype(np.uint8)).save(folder.path / files[part])
        folder.index.write_text(json.dumps({"slices": [{"caption": "A <b>, slice 7", **files}]}))


SETTINGS = {"train": {"steps": 40, "batch_size": 2}, "validate": {"every": 10, "rules": "brats2023"}}


@pytest.fixture
def unfinished(make_run):
    return make_run(settings=SETTINGS, metrics=log(), environment=BEGUN)


def test_a_run_in_training_says_how_far_it_is_and_loads_itself_again(unfinished, read_page, tmp_path):
    run = RunDir(unfinished)
    slices(run.path, 10, 20)
    with held(run, print):
        index = report([run.path], tmp_path / "out")
    page = read_page(index)
    html = index.read_text()
    for text in (
        "In the middle of training",
        "20 of 40 (50 %)",
        "16 s in steps and validations",  # 20 x 0.5 + 2 x 3
        "about 16 s",  # the same again
        "0.5 s (median",
        "lesion-wise Dice 0.700 over 3 held-out cases, after step 20",
        "lesion-wise Dice 0.800 over 3 held-out cases, after step 10",
        "This run is in the middle of its training: 20 of 40 steps are logged.",
        "16 s in the steps and validations that are logged, started 2026-01-01T10:00:00+00:00",
    ):
        assert text in page.text
    assert html.count("location.reload") == 1
    assert "http-equiv" not in html
    assert {"validation_slices.svg", "pace.svg"} <= {file.name for file in (tmp_path / "out" / "figures").iterdir()}


def test_a_run_that_was_killed_has_stopped_and_stays(unfinished, read_page, tmp_path, empty_curves):
    index = report([unfinished], tmp_path / "out")
    text = read_page(index).text
    assert "Training stopped before its last step" in text
    assert "Time left" not in text
    assert "Training has not reached its end: 20 of 40 steps are logged." in text
    assert "location.reload" not in index.read_text()


def test_a_run_that_failed_has_ended(make_run, read_page, tmp_path, empty_curves):
    run = make_run(settings=SETTINGS, metrics=log(), environment=BEGUN | {"exit_code": 1, "seconds": 40.0})
    text = read_page(report([run], tmp_path / "out")).text
    assert "Training ended before its last step" in text
    assert "40 s, started" in text  # its own record knows more than the log


def test_a_run_at_its_end_has_no_such_section(make_run, read_page, tmp_path, empty_curves):
    run = make_run(settings=SETTINGS, metrics=log(40), environment=BEGUN | {"exit_code": 0, "seconds": 99.0})
    page = report([run], tmp_path / "out").read_text()
    assert 'id="progress"' not in page
    assert "location.reload" not in page


def test_a_run_that_its_patience_ended_is_at_its_end(make_run):
    patient = {**SETTINGS, "validate": {"every": 10, "patience": 1, "rules": "brats2023"}}
    ended = make_run("ended", settings=patient, metrics=log(), environment=BEGUN | {"exit_code": 0})
    assert not is_unfinished(read_run(ended))
    failed = make_run("failed", settings=patient, metrics=log(), environment=BEGUN | {"exit_code": 1})
    assert is_unfinished(read_run(failed))


def test_a_training_that_has_logged_nothing_yet_has_a_page(make_run, read_page, tmp_path):
    run = make_run(settings=SETTINGS, environment=BEGUN)
    (run / "metrics.jsonl").write_text("")
    with held(RunDir(run), print):
        text = read_page(report([run], tmp_path / "out")).text
    assert "0 of 40 (0 %)" in text
    assert "none yet" in text


def test_the_console_says_it_in_a_line(unfinished):
    with held(RunDir(unfinished), print):
        assert progress_line(read_run(unfinished)) == "step 20 of 40 (50 %), 16 s so far, 0.5 s a step, about 16 s left"


@pytest.mark.parametrize(("seconds", "words"), [(0.314, "0.31 s"), (9.6, "9.6 s"), (75.2, "1 min 15 s")])
def test_short_times_have_two_digits(seconds, words):
    assert seconds_in_words(seconds) == words


def test_slices_are_of_the_first_the_middle_and_the_last_validation(unfinished):
    assert validation_slices(RunDir(unfinished)) is None
    slices(unfinished, 6, 7, 8, 9, 12)
    drawn = validation_slices(RunDir(unfinished))
    assert drawn.steps == [6, 8, 12]
    assert "after step 8" in drawn.svg
    assert "A &lt;b&gt;, slice 7" in drawn.svg
    assert drawn.svg.count("<image") == 1  # of four panels


def test_a_validation_that_is_damaged_is_left_out(unfinished):
    slices(unfinished, 6, 8, 12)
    RunDir(unfinished).validation(8).index.write_text("{")
    RunDir(unfinished).validation(12).picture("prediction", 0).write_bytes(b"")
    assert validation_slices(RunDir(unfinished)).steps == [6]
