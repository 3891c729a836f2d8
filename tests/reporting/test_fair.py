"""What makes runs no arms of one study, each difference named."""

import json

import pytest

from mets3d.reporting.arms import as_arms
from mets3d.reporting.fair import study_differences
from mets3d.reporting.read_run import read_runs

TERM = {"loss": {"boundary": "hausdorff_distance", "boundary_weight": 0.5}, "model": {"mode": "decoder"}}


def differences(*runs):
    return [note.text for note in study_differences(read_runs(runs))]


def test_loss_network_and_names_may_differ(make_run):
    runs = (make_run("base"), make_run("term", settings=TERM | {"name": "other", "optim": {"lr": 0.1}}))
    assert differences(*runs) == []


@pytest.mark.parametrize(
    ("settings", "name", "values"),
    [
        ({"train": {"steps": 41}}, "numbers of training steps", "base: 40; term: 41"),
        ({"train": {"steps": 40, "batch_size": 4}}, "samples a step", "base: 2; term: 4"),
        ({"seed": 3}, "seeds", "base: 0; term: 3"),
        ({"data": {"fold": 1}}, "folds", "base: 0; term: 1"),
        ({"augment": {"mirror": 0.25}}, "settings of augment.mirror", "base: 0.5; term: 0.25"),
        ({"data": {"lesion_fraction": 0.5}}, "settings of data.lesion_fraction", "term: 0.5"),
        ({"preprocess": {"spacing_mm": [2, 2, 2]}}, "settings of preprocess.spacing_mm", "term: [2.0, 2.0, 2.0]"),
        ({"validate": {"best_by": "dice"}}, "ways to choose the best weights", "base: lesion_wise_dice; term: dice"),
    ],
)
def test_what_makes_samples_and_steps_may_not(make_run, settings, name, values):
    (text,) = differences(make_run("base"), make_run("term", settings=TERM | settings))
    assert text.startswith(f"The runs have different {name} (")
    assert values in text


def test_other_data_other_cases_and_other_decoding_are_named(make_run):
    runs = [make_run("base"), make_run("term", settings=TERM, cases=("A", "B"))]
    for run, store, threshold in zip(runs, ("0a", "0b"), (0.5, 0.4), strict=True):
        (run / "environment.json").write_text(json.dumps({"store": store}))
        (run / "predictions").mkdir()
        (run / "predictions" / "A.nii.gz").touch()
        (run / "predictions" / "predict.json").write_text(json.dumps({"threshold": threshold, "overlap": 0.5}))
    assert differences(*runs) == [
        "The runs held out different cases, so they were not trained on the same ones.",
        "The runs have different data (base: 0a; term: 0b).",
        "The runs have different decodings (threshold) (base: 0.5; term: 0.4).",
    ]


def test_what_a_run_does_not_say_is_not_held_against_it(make_run):
    runs = [make_run("base"), make_run("term", settings=TERM, environment=None, split=False)]
    (runs[0] / "environment.json").write_text(json.dumps({"store": "0a"}))
    assert differences(*runs) == []


def test_arms_have_the_same_seeds_and_folds_whatever_the_order(make_run):
    def arm(name, keys, settings):
        return [
            make_run(
                f"{name}{seed}{fold}",
                cases=("AB"[fold],),
                trained_on=("AB"[1 - fold],),
                settings=settings | {"seed": seed, "data": {"fold": fold}},
            )
            for seed, fold in keys
        ]

    base = arm("base", [(0, 0), (0, 1), (1, 0), (1, 1)], {})
    term = arm("term", [(1, 1), (1, 0), (0, 1), (0, 0)], TERM)
    assert study_differences(as_arms(read_runs([*term, *base]))) == []
    few = as_arms(read_runs([*term[:2], *base]))
    assert [note.text for note in study_differences(few)] == [
        "The runs have different seeds (base: 0, 1; loss.boundary=hausdorff_distance: 1)."
    ]


def test_runs_that_are_tuned_alike_do_not_differ_by_their_thresholds(make_run):
    records = read_runs([make_run(name) for name in ("base", "term")])

    def noted(**told):
        for record, threshold in zip(records, (0.3, 0.4), strict=True):
            record.predicted = {"decoding": {"ET": {"threshold": threshold}}, **told}
        return [note.text for note in study_differences(records) if "decodings" in note.text]

    assert noted(decoding_rules="brats2026") == []
    assert len(noted()) == 1, "set by hand they are a difference"
    noted(decoding_rules="brats2026")
    records[1].predicted["decoding_forced"] = ["ET"]
    [said] = [note.text for note in study_differences(records) if "decodings" in note.text]
    assert said.endswith("(base: tuned by brats2026; term: tuned by brats2026, forced).")
