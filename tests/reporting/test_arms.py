"""Runs grouped into arms: which belong together, what they are called, and what is pooled."""

import json

import pytest

from mets3d.reporting.arms import arm_tables, as_arms, pictured_run, runs_in_words
from mets3d.reporting.read_run import read_run, read_runs

TERM = {"loss": {"boundary": "hausdorff_distance"}}
CASES = ("A", "B")


def table(value, cases=CASES):
    row = {"lesion_wise_dice": value, "lesion_wise_hd95": 1.0, "dice": value, "hd95": 2.0}
    row |= {"lesions_found": 1, "lesions_missed": 0, "lesions_false": 0}
    return {(case, region): row for case in cases for region in ("WT", "TC", "ET")}


def seeds(make_run, name, amount, settings=None, **kwargs):
    return [make_run(f"{name}{seed}", settings={"seed": seed, **(settings or {})}, **kwargs) for seed in range(amount)]


def labels(runs):
    return [record.label for record in as_arms(read_runs(runs))]


def test_runs_that_differ_in_seed_and_fold_alone_are_one_arm(make_run):
    runs = [*seeds(make_run, "term", 2, TERM), *seeds(make_run, "base", 3)]
    runs.append(make_run("fold1", settings={"seed": 0, "data": {"fold": 1}, "name": "x", "output": "y"}))
    base, term = as_arms(read_runs(runs))
    assert (base.label, term.label) == ("base", "loss.boundary=hausdorff_distance")
    assert list(base.members) == [(0, 0), (0, 1), (1, 0), (2, 0)]
    assert runs_in_words(base) == "4 runs (seeds 0, 1, 2; folds 0, 1)"
    assert runs_in_words(term) == "2 runs (seeds 0, 1; fold 0)"
    # Both are pictured by the run of the seed and fold that they share, under the name of the arm.
    assert (pictured_run(base).run.name, pictured_run(base).label) == ("base0", "base")
    assert pictured_run(term).run.name == "term0"


def test_single_runs_keep_their_names(make_run):
    runs = [make_run("a", settings=TERM), make_run("b"), make_run("c", settings={"optim": {"lr": 0.1}})]
    assert labels(runs) == ["b", "a", "c"]
    assert runs_in_words(read_run(runs[0])) == "one run (seed 0, fold 0)"
    assert pictured_run(record := read_run(runs[0])) is record


def test_arms_are_named_by_the_fewest_settings_that_tell_them_apart(make_run):
    """Weight and ramp go with the term and are left out, where nothing else differs in them."""
    with_term = {"loss": {"boundary": "hausdorff_log", "boundary_weight": 0.3, "boundary_ramp": [0.2, 0.4]}}
    decoder = {"model": {"mode": "decoder"}}
    runs = [
        *seeds(make_run, "base", 2, {"model": {"mode": "cnn"}}),
        make_run("term", settings={"model": {"mode": "cnn"}, **with_term}),
    ]
    runs += [make_run("both", settings=decoder | with_term), make_run("decoder", settings=decoder)]
    assert labels(runs) == [
        "base",
        "loss.boundary=hausdorff_log",
        "loss.boundary=hausdorff_log, model.mode=decoder",
        "model.mode=decoder",
    ]
    weights = [{"loss": with_term["loss"] | {"boundary_weight": weight}} for weight in (0.1, 0.25)]
    several = [*seeds(make_run, "light", 2, weights[0]), make_run("heavy", settings=weights[1])]
    assert labels(several) == ["loss.boundary_weight=0.1", "loss.boundary_weight=0.25"]


def test_one_arm_is_named_by_its_runs(make_run):
    assert labels(seeds(make_run, "deep-", 2, TERM)) == ["deep"]
    assert labels(seeds(make_run, "other-", 2)) == ["base"]


def test_the_same_seed_twice_is_no_arm(make_run):
    runs = [*seeds(make_run, "base", 2), make_run("again", settings={"seed": 1})]
    base, again = as_arms(read_runs(runs))
    assert list(base.members) == [(0, 0), (1, 0)]
    assert (again.run.name, again.label, again.runs) == ("again", "same settings (again)", {})


def test_runs_on_other_data_or_by_other_rules_are_other_arms(make_run):
    runs = seeds(make_run, "base", 3)
    for run, digest in zip(runs, ("one", "one", "two"), strict=True):
        (run / "environment.json").write_text(json.dumps({"store": digest}))
    assert [list(record.members) for record in as_arms(read_runs(runs))] == [[(0, 0), (1, 0)], [(2, 0)]]
    moved = [make_run(f"moved{seed}", settings={"seed": seed, "data": {"store": f"at{seed}"}}) for seed in range(2)]
    assert len(as_arms(read_runs(moved))) == 1


def test_runs_that_begin_with_the_weights_of_their_seed_are_one_arm(make_run):
    tuned = [make_run(f"tuned{seed}", settings={"seed": seed, "weights": f"runs/v2/base-{seed}-f0"}) for seed in (1, 2)]
    (arm,) = as_arms(read_runs(tuned))
    assert list(arm.members) == [(1, 0), (2, 0)]
    other = make_run("other", settings={"seed": 1, "weights": "runs/v2/term-1-f0"})
    assert [len(record.members) for record in as_arms(read_runs([*tuned, other]))] == [2, 1]


def test_the_tables_of_an_arm_are_means_over_its_runs(make_run):
    runs = [
        make_run(f"base{seed}", settings={"seed": seed}, scores=table(value), baseline={"per_case": {"A": 0.5}})
        for seed, value in ((0, 0.25), (1, 0.75))
    ]
    (arm,) = as_arms(read_runs(runs))
    assert arm.values("ET", "dice") == {"A": 0.5, "B": 0.5}
    assert arm.held_out == ["A", "B"]
    assert arm.baseline["per_case"] == {"A": 0.5}
    assert [len(own.scores) for own in arm_tables(arm, ["A"]).values()] == [3, 3]


def test_folds_of_an_arm_hold_out_every_case(make_run):
    """What one fold trained on, another one held out: only held-out cases are pooled."""
    runs = [
        make_run(
            f"fold{fold}",
            cases=(own,),
            trained_on=(other,),
            settings={"data": {"fold": fold}},
            scores=table(value) | table(0.9, (other,)),
        )
        for fold, own, other, value in ((0, "A", "B", 0.25), (1, "B", "A", 0.75))
    ]
    (arm,) = as_arms(read_runs(runs))
    assert arm.values("ET", "dice") == {"A": 0.25, "B": 0.75}


@pytest.mark.parametrize("kept", [0, 1])
def test_an_arm_of_which_some_runs_have_no_scores(make_run, kept):
    runs = [
        make_run(f"r{seed}", settings={"seed": seed}, scores=table(0.5) if seed == kept else None) for seed in (0, 1)
    ]
    records = as_arms(read_runs(runs))
    assert [len(record.members) for record in records] == [1, 1]  # there is nothing to average yet
