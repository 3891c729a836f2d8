from dataclasses import replace

import pytest

from mets3d.reporting.read_run import read_run
from mets3d.reporting.training_facts import facts, lede, loss_in_words, optimizer_in_words
from mets3d.settings import Optim


def test_the_loss_in_words(make_run):
    def words(name, **settings):
        return loss_in_words(read_run(make_run(name, settings=settings)).config)

    assert words("a", model={"mode": "cnn"}) == "soft Dice + BCE with deep supervision; no boundary term"
    assert words("b", model={"mode": "cnn", "deep_supervision": False}, data={"target": "labels"}) == (
        "soft Dice + CE; no boundary term"
    )
    assert words("c", model={"mode": "cnn"}, loss={"dice_weight": 0, "ce_weight": 0.5}).startswith("0.5 x BCE with")
    ramp = {"boundary": "hausdorff_distance", "boundary_schedule": "ramp", "boundary_weight": 0.25}
    text = words("d", loss=ramp, train={"steps": 1000})
    assert text == (
        "query loss with Hungarian matching (class 2, cross-entropy 5, Dice 5); soft Dice + BCE on the CNN's deep "
        "heads; plus Hausdorff distance loss, its weight rising from 0 to 0.25 between steps 100 and 500, exponent 2, "
        "mean over labels"
    )
    longer = {"steps": 2000, "schedule_steps": 1000}
    assert "between steps 100 and 500" in words("k", loss=ramp, train=longer), "the curves keep their length"
    balanced = {"boundary": "hausdorff_log", "boundary_sides": "target", "boundary_weight": 1}
    assert words("e", model={"mode": "cnn"}, loss=balanced, train={"steps": 1000}).endswith(
        "; plus one-sided Hausdorff log loss, weighed by their running ratio to count as much as the base loss, rising "
        "from 0 between steps 100 and 500, exponent 2, mean over labels"
    )
    constant = {"boundary": "blob", "boundary_schedule": "constant", "boundary_weight": 2}
    assert words("f", model={"mode": "cnn"}, loss=constant).endswith(
        "; plus blob loss, with weight 2, mean over labels"
    )
    assert "to count 0.5 times as much as" in words("g", loss=balanced | {"boundary_weight": 0.5})
    by_gradient = balanced | {"boundary_schedule": "gradient", "boundary_weight": 0.1}
    assert words("h", loss=by_gradient, train={"steps": 1000}).endswith(
        "; plus one-sided Hausdorff log loss, weighed by the running ratio of gradients at the logits to pull 0.1 "
        "times as much as the base loss, rising from 0 between steps 100 and 500, exponent 2, mean over labels"
    )
    joined = constant | {"boundary": "blob+hausdorff_erosion", "boundary_reduction": "sum"}
    assert words("i", loss=joined).endswith(
        "; plus blob and Hausdorff erosion losses, with weight 2, exponent 2, sum over labels"
    )
    assert "losses, 3 to 1, their weight rising from 0 to 2 between" in words(
        "j", loss=joined | {"boundary_shares": [3, 1], "boundary_schedule": "ramp"}
    )


def test_the_optimizer_in_words():
    assert optimizer_in_words(Optim()) == ("AdamW, peak learning rate 0.0003, 500 warm-up steps, then half a cosine")
    poly = Optim(name="sgd", lr=0.01, schedule="poly", warmup_steps=0)
    assert optimizer_in_words(poly).endswith("0 warm-up steps, then (1 - step / steps)^0.9")
    step = Optim(name="adam", schedule="step", step_every=1000, layer_decay=0.75, ema=0.999)
    assert optimizer_in_words(step).endswith(
        "then times 0.1 every 1,000 steps, times 0.75 for each layer down in the transformers, weights averaged with "
        "decay 0.999"
    )


def test_what_was_trained_in_words(make_run, scores_of):
    environment = {
        "device": "NVIDIA H200",
        "processes": 2,
        "platform": "Linux",
        "precision": "no",
        "mets3d": "0.1.0",
        "parameters": 34_077_892,
        "started": "2026-01-01T10:00:00+00:00",
        "finished": "2026-01-01T12:01:05+00:00",
    }
    record = read_run(make_run(scores=scores_of(("A",), 0), environment=environment))
    assert lede(record) == (
        "3D TransUNet, query decoder (decoder mode), 34.1 million parameters, trained for 40 steps on 4 cases; "
        "scored on 1 held-out case."
    )
    known = facts(record)
    assert known["Time"] == "2 h 1 min, started 2026-01-01T10:00:00+00:00"
    assert known["Hardware"] == "NVIDIA H200, 2 processes, Linux"
    assert known["Data"] == "4 training cases, 3 held out (fold 0 of 5)"
    config = record.config.model_copy(update={"data": record.config.data.model_copy(update={"inner_folds": 4})})
    inner = replace(record, config=config)
    assert facts(inner)["Data"].endswith("3 held out (one of 4 parts of the cases that fold 0 of 5 trains on)")
    assert known["Precision"] == "fp32"
    assert known["Software"] == "mets3d 0.1.0"
    assert "Command" not in known


@pytest.mark.parametrize(
    ("environment", "host"),
    [
        ({"device": "cpu, 2 cores", "processor": "Xeon, AVX512", "platform": "Linux"}, "Xeon, AVX512"),
        ({"device": "NVIDIA H200", "processor": "Xeon, AVX512"}, "NVIDIA H200 with Xeon, AVX512"),
        ({"device": "cpu, 2 cores", "platform": "Linux"}, "Linux"),  # of a run that did not note its processor
    ],
)
def test_scores_are_said_to_be_those_of_one_host(make_run, environment, host):
    known = facts(read_run(make_run(environment=environment)))
    assert known["Other hosts"] == (
        f"processors round differently, so the same command gives somewhat other scores elsewhere; these are of {host}"
    )
    assert "Other hosts" not in facts(read_run(make_run("other", environment={})))


def test_a_session_that_was_killed_is_known_by_the_log(make_run):
    rows = [{"step": step, "kind": "train", "loss": 1.0, "samples_per_second": 0.5} for step in range(1, 11)]
    rows += [{"step": 10, "kind": "validation", "seconds": 5.0}]
    settings = {"train": {"steps": 10, "batch_size": 2}}
    for name, noted, told in (("killed", 12.0, "45 s in the steps and validations"), ("whole", 50.0, "50 s, started")):
        environment = {"started": "2026-01-01T10:00:00+00:00", "seconds": noted, "exit_code": 0}
        run = make_run(name, environment=environment, metrics=rows, settings=settings)
        assert facts(read_run(run))["Time"].startswith(told)


def test_the_cost_of_a_step_names_the_hardware(make_run):
    rows = [{"step": step, "kind": "train", "loss": 1.0, "samples_per_second": 4.0} for step in (1, 2, 3)]
    run = read_run(
        make_run(metrics=rows, settings={"train": {"batch_size": 2}}, environment={"device": "cpu, 2 cores"})
    )
    assert facts(run)["Cost of a step"] == "0.5 s, median, on cpu, 2 cores"
    assert "Cost of a step" not in facts(read_run(make_run("bare", metrics=None)))
