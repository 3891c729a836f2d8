"""Scores during training are those of `predict` and `evaluate`, and do not depend on who computes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

import mets3d
from mets3d.config import Config
from mets3d.data.cases import find_cases
from mets3d.data.nifti import read_labels
from mets3d.data.store import open_store
from mets3d.data.stored_case import StoredCase
from mets3d.evaluation.lesions import lesion_scores
from mets3d.evaluation.rules import rules_named
from mets3d.inference.members import load_members
from mets3d.inference.sliding import window_probabilities
from mets3d.regions import scored_regions
from mets3d.rundir import RunDir
from mets3d.training import validation
from mets3d.training.stop import StopWish
from mets3d.training.validation import HeldOutCases, case_scores, mean_scores
from tests.builders.runs import forget_accelerator, train, write_config

REGIONS = scored_regions()
SCORES = {"lesion_wise_dice": "lesion_wise_dice", "lesion_f1": "f1", "dice": "dice"}  # by column of scores.csv


def cubes(*corners: int, label: int = 3) -> np.ndarray:
    """Lesions of 27 voxels, far apart from each other."""
    labels = np.zeros((40, 8, 8), np.uint8)
    for corner in corners:
        labels[corner : corner + 3, 2:5, 2:5] = label
    return labels


def scores(predicted: np.ndarray, expected: np.ndarray, rules: str, *, cavity: bool = False) -> dict[str, float]:
    return dict(case_scores(predicted, expected, (1.0, 1.0, 1.0), scored_regions(cavity), rules_named(rules)))


def test_scores_of_a_case_by_hand() -> None:
    # One lesion found whole, one missed, two false.
    found = scores(cubes(2, 24, 32), cubes(2, 10), "brats2026")
    expected = {"lesion_wise_dice": 1 / 4, "lesion_f1": 2 / (2 + 1 + 2), "dice": 2 * 27 / (81 + 54)}
    assert found == pytest.approx(
        {f"{name}/{region}": value for name, value in expected.items() for region in ("WT", "TC", "ET")}
    )


def test_what_the_rules_give_no_value_is_absent_and_not_nan() -> None:
    oedema = cubes(2, label=2)
    assert set(scores(oedema, oedema, "brats2026")) == {f"{name}/WT" for name in SCORES}
    of_2023 = scores(oedema, oedema, "brats2023")
    assert of_2023["dice/ET"] == of_2023["lesion_wise_dice/ET"] == 1.0
    assert "lesion_f1/ET" not in of_2023  # 0 / 0
    assert scores(cubes(2), oedema, "brats2026")["lesion_f1/ET"] == 0.0, "a false lesion"


def test_a_region_that_the_rules_do_not_score_has_its_whole_volume_dice() -> None:
    predicted, expected = cubes(2, 10, label=4), cubes(2, label=4)
    found = scores(predicted, expected, "brats2023", cavity=True)
    assert {name for name in found if name.endswith("/RC")} == {"dice/RC"}
    assert found["dice/RC"] == pytest.approx(2 * 27 / (54 + 27))
    assert scores(cubes(2), cubes(2), "brats2023", cavity=True)["dice/RC"] == 1.0
    assert "lesion_wise_dice/RC" in scores(predicted, expected, "brats2024", cavity=True)


def test_means_are_over_the_values_that_there_are() -> None:
    cases = [{"dice/WT": 0.2, "dice/ET": 0.4, "lesion_f1/WT": 1.0}, {"dice/WT": 0.6}, {"dice/WT": 0.7}]
    found = mean_scores(cases, REGIONS)
    assert found == pytest.approx(
        {
            "dice/WT": 0.5,
            "dice/ET": 0.4,
            "dice/mean": 0.45,
            "lesion_f1/WT": 1.0,
            "lesion_f1/mean": 1.0,
            "cases": 3,
        }
    )
    assert mean_scores([], REGIONS) == {}


def test_means_are_exact_in_any_order() -> None:
    values = [*np.random.default_rng(0).random(101).tolist(), 1e-17, 1.0]
    exact = float(sum(map(Fraction, values))) / len(values)
    for order in (values, values[::-1], sorted(values)):
        assert mean_scores([{"dice/WT": value} for value in order], REGIONS)["dice/WT"] == exact


# ---------------------------------------------------------------- a trained network


def held_out(run: Path, accelerator: Any, threshold: float = 0.5, **validate: Any) -> HeldOutCases:
    config = RunDir(run).load_config()
    changes = {"validate": validate, "predict": {"overlap": 0.0, "threshold": threshold}}
    config = Config.model_validate(config.model_dump(by_alias=True) | changes)
    store = open_store(Path(config.data.store))
    return HeldOutCases(config, accelerator, store, store.cases)


@pytest.fixture
def accelerator() -> Any:
    forget_accelerator()
    yield Accelerator(cpu=True)
    forget_accelerator()


@pytest.fixture(scope="module")
def network(trained_run: Path) -> torch.nn.Module:
    return load_members([trained_run])[0].network.eval()


@pytest.mark.parametrize("mirror", [[], [0, 2]])
def test_labels_are_those_of_predict(
    mirror: Sequence[int], trained_run: Path, phantom_data: Path, network: torch.nn.Module, accelerator: Any
) -> None:
    plain = held_out(trained_run, accelerator)
    case = plain.store.read(plain.cases[1])
    # A network of four steps is unsure: at this threshold it finds something.
    probabilities = window_probabilities(network, case.image(), patch=(16, 16, 16), overlap=0.0)
    threshold = round(float(probabilities[0].quantile(0.95)), 4)
    cases, plain = (held_out(trained_run, accelerator, threshold, mirror=axes) for axes in (mirror, []))
    overrides = [f"--predict.mirror={list(mirror)}", "--predict.overlap=0.0", f"--predict.threshold={threshold}"]
    predictor = mets3d.Predictor.from_pretrained(trained_run, device="cpu", decoding="default", overrides=overrides)
    box = tuple(slice(*ends) for ends in case.entry.box)
    predicted = cases.predicted(network, case)
    expected = predictor.predict_files(phantom_data / case.name).labels
    assert predicted.any()
    np.testing.assert_array_equal(predicted, expected[box])
    assert np.count_nonzero(expected) == np.count_nonzero(predicted)
    assert bool(mirror) == (predicted != plain.predicted(network, case)).any()


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of a network's answer the reference, moved by one voxel, and in some cases without its core."""

    def predicted(self: HeldOutCases, network: torch.nn.Module, case: StoredCase) -> np.ndarray:
        return moved_labels(case.labels().numpy(), case.name)

    monkeypatch.setattr(HeldOutCases, "predicted", predicted)


def moved_labels(labels: np.ndarray, name: str) -> np.ndarray:
    labels = np.where(labels == 3, 2, labels) if name.endswith(("1-000", "2-000")) else labels
    return np.roll(labels, 1, axis=0).astype(np.uint8)


@pytest.mark.parametrize("rules", ["brats2023", "brats2026"])
def test_means_are_those_of_evaluate(
    rules: str, trained_run: Path, phantom_data: Path, network: torch.nn.Module, accelerator: Any, moved: None
) -> None:
    found = held_out(trained_run, accelerator, rules=rules)(network, StopWish())
    assert found is not None
    rows = []
    for case in find_cases(phantom_data):
        assert case.labels is not None
        expected = read_labels(case.labels)
        labels = moved_labels(expected.labels, case.name)
        rows += lesion_scores(labels, expected.labels, expected.spacing_mm, rules=rules)
    for name, column in SCORES.items():
        means = []
        for region in ("WT", "TC", "ET"):
            values = [row[column] for row in rows if row["region"] == region and not math.isnan(row[column])]
            assert (f"{name}/{region}" in found) == bool(values)
            if values:
                means.append(np.mean(values))
                assert found[f"{name}/{region}"] == pytest.approx(means[-1])
        assert found[f"{name}/mean"] == pytest.approx(np.mean(means))
    assert found["cases"] == 6
    assert not any("RC" in name for name in found)


@pytest.mark.parametrize("processes", [2, 4])
def test_the_number_of_processes_changes_no_bit(
    processes: int,
    trained_run: Path,
    network: torch.nn.Module,
    accelerator: Any,
    moved: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = held_out(trained_run, accelerator, cases=3)(network, StopWish(), True)
    parts: list[Any] = []
    monkeypatch.setattr(validation, "gather_object", lambda own: parts.extend(own) or parts)
    answers = []
    for rank in range(processes):
        one = SimpleNamespace(process_index=rank, num_processes=processes, device=torch.device("cpu"))
        own = held_out(trained_run, accelerator, cases=3)
        own.accelerator = one  # type: ignore[assignment]
        before = len(parts)
        if rank < processes - 1:  # the others are not there yet
            parts.append(own._own_scores(network, StopWish(), own.cases))
        else:
            answers.append(own(network, StopWish(), True))
        assert len(parts[before]) == len(range(rank, 6, processes))
    assert answers == [whole]


def test_an_error_or_signal_of_one_process_ends_the_validation_of_all(
    trained_run: Path, network: torch.nn.Module, accelerator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = held_out(trained_run, accelerator, cases=1)
    monkeypatch.setattr(validation, "gather_object", lambda own: [*own, None])
    assert cases(network, StopWish()) is None
    wish = StopWish()
    wish.ask()
    monkeypatch.undo()
    assert cases(network, wish) is None


# ---------------------------------------------------------------- a run


def test_the_subset_is_scored_often_and_all_seldom(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scored: list[str] = []
    original = HeldOutCases._scores

    def noting(self: HeldOutCases, network: Any, case: Any) -> Any:
        scored.append(case.name)
        return original(self, network, case)

    monkeypatch.setattr(HeldOutCases, "_scores", noting)
    config = write_config(
        tmp_path,
        phantom_store,
        data={"fold": 0, "folds": 2},
        train={"steps": 3, "checkpoint_every": 3},
        validate={"every": 1, "cases": 1, "all_every": 2, "best_by": "dice"},
    )
    assert train(config) == 0
    run = RunDir(tmp_path / "runs" / "run")
    rows = [row for row in run.read_metrics() if row["kind"] == "validation"]
    (one,) = set(scored[:1])
    assert [len(names) for names in (scored[:1], scored[1:4], scored[4:])] == [1, 3, 3]
    assert one in scored[1:4]
    assert len(set(scored[1:4])) == 3
    assert [(row["step"], row["cases"], row.get("all/cases")) for row in rows] == [(1, 1, None), (2, 1, 3), (3, 1, 3)]
    assert all(None not in row.values() for row in rows)
    best = max(rows[1:], key=lambda row: row["all/dice/mean"])
    assert run.pointer("best") == best["step"]
    lines = [line for line in capsys.readouterr().out.splitlines() if "validation on" in line]
    assert lines[0].startswith("step 1  validation on 1 held-out case  ")
    # A validation on all cases has a line for the subset and one for all, each with its number of cases and its means.
    for line, number, mean in ((1, "1 held-out case ", "dice/mean"), (2, "all 3 held-out cases ", "all/dice/mean")):
        assert lines[line].startswith(f"step 2  validation on {number} ")
        assert f"  dice/mean {rows[1][mean]:.3f}" in lines[line]
    assert [line.split("  ")[0] for line in lines] == ["step 1", "step 2", "step 2", "step 3", "step 3"]
