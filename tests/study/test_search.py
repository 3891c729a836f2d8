"""Bayes and early termination by Optuna: what is proposed, what a restart repeats, which runs are stopped."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mets3d.study.folder import State, StudyDir
from mets3d.study.search import Bayes, Halving, Trial, best_of, history_of
from mets3d.study.sweep_file import Metric, Sweep, read_sweep

CONTENT: dict[str, Any] = {
    "program": "train.py",
    "method": "bayes",
    "run_cap": 20,
    "metric": {"name": "validation/dice/mean", "goal": "maximize"},
    "early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 2},
    "parameters": {
        "optim.lr": {"min": 1e-4, "max": 1e-1, "distribution": "log_uniform_values"},
        "optim.name": {"values": ["adam", "sgd"]},
        "seed": {"value": 3},
    },
}


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(CONTENT), encoding="utf-8")
    return read_sweep(str(file))


@pytest.fixture
def study(tmp_path: Path) -> StudyDir:
    return StudyDir(tmp_path / "study")


def log(study: StudyDir, name: str, *scores: float) -> None:
    run = study.run(name)
    run.path.mkdir(parents=True, exist_ok=True)
    rows = [{"step": 10 * n, "kind": "validation", "dice/mean": score} for n, score in enumerate(scores, 1)]
    rows.append({"step": 5, "kind": "train", "dice/mean": 7.0})
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_the_history_is_that_of_the_metric_in_the_order_of_steps(study: StudyDir) -> None:
    metric = Metric("validation/dice/mean", maximise=True)
    log(study, "a", 0.1, 0.5, 0.3)
    assert history_of(study.run("a"), metric) == [0.1, 0.5, 0.3]
    assert best_of([0.1, 0.5, 0.3], metric) == 0.5
    assert best_of([0.1, 0.5, 0.3], Metric("a/b", maximise=False)) == 0.1
    assert best_of([], metric) is None


def test_without_optuna_one_line_says_what_to_install(
    sweep: Sweep, study: StudyDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "optuna":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    for kind, what in ((Bayes, "method bayes"), (Halving, "early_terminate")):
        with pytest.raises(ValueError, match=rf"{what} needs Optuna, .*; pip install 'mets3d\[sweep\]'"):
            kind(sweep, study)


def grown(sweep: Sweep, study: StudyDir, count: int) -> Bayes:
    """A search whose score is best at a rate of 0.01 with adam."""
    pytest.importorskip("optuna")
    import math

    bayes = Bayes(sweep, study)
    while len(bayes.trials) < count:
        number, shares, values = bayes.propose()
        name = f"run_{number}"
        bayes.add(Trial(name, shares, values))
        score = -abs(math.log10(values["optim.lr"]) + 2) - (values["optim.name"] == "sgd")
        log(study, name, score)
        study.note(name, State("failed" if number == 2 else "stopped" if number == 3 else "finished"))
    return bayes


def test_a_search_that_starts_again_proposes_the_same(sweep: Sweep, tmp_path: Path) -> None:
    whole = grown(sweep, StudyDir(tmp_path / "whole"), 9)
    grown(sweep, StudyDir(tmp_path / "cut"), 4)
    again = grown(sweep, StudyDir(tmp_path / "cut"), 9)
    assert [trial.values for trial in again.trials] == [trial.values for trial in whole.trials]
    assert len({trial.values["optim.lr"] for trial in whole.trials}) == 9
    assert {trial.values["seed"] for trial in whole.trials} == {3}


def test_it_looks_where_scores_are_good(sweep: Sweep, study: StudyDir) -> None:
    trials = grown(sweep, study, 20).trials
    metric = Metric("validation/dice/mean", maximise=True)
    scores = [history_of(study.run(trial.name), metric)[0] for trial in trials]
    assert sum(scores[-8:]) / 8 > sum(scores[:8]) / 8 + 0.1


def test_trials_of_other_parameters_are_refused(sweep: Sweep, study: StudyDir, tmp_path: Path) -> None:
    grown(sweep, study, 1)
    file = tmp_path / "other.yaml"
    file.write_text(yaml.safe_dump(CONTENT | {"parameters": {"seed": {"values": [1, 2]}}}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"is of a sweep over optim\.lr, optim\.name, seed, this one is over seed"):
        Bayes(read_sweep(str(file)), study)


def test_a_run_goes_on_that_is_among_the_best_half_at_each_look(sweep: Sweep, study: StudyDir) -> None:
    pytest.importorskip("optuna")
    halving = Halving(sweep, study)
    scores = {"a": [0.5, 0.5], "b": [0.6, 0.6], "c": [0.2], "d": [0.7, 0.1], "e": []}
    for name, values in scores.items():
        log(study, name, *values)
    assert {name: halving.hopeless(name) for name in scores} == {
        "a": False,  # the first one has nothing to be held against
        "b": False,
        "c": True,  # third of three at the first look
        "d": True,  # best of four then, the worst of three after two validations
        "e": False,
    }
    again = Halving(sweep, study, ["a", "b", "d"])
    log(study, "f", 0.65, 0.55)
    assert not again.hopeless("f")
    log(study, "g", 0.1)
    assert again.hopeless("g")
