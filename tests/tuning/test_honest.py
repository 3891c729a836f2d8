"""Tuning that overfits is refused, and cases that it knew are decoded by settings chosen without their patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mets3d.__main__ import main
from mets3d.data.nifti import read_probabilities
from mets3d.evaluation.lesions import lesion_scores
from mets3d.files import read_json
from mets3d.inference.decoding import decode
from mets3d.inference.decoding_plan import NEW, ON_THIS_CASE, OUT_OF_FOLD, DecodingPlan, decoding_plan
from mets3d.inference.decoding_settings import RegionDecoding
from mets3d.regions import Target
from mets3d.rundir import RunDir
from mets3d.settings import Predict
from mets3d.tuning.tune import tune
from tests.tuning.test_tune import DEFAULT, SHAPE, Example, Volume, ball, cases_of, make_run, of, planted_threshold

CENTRE = (12, 10, 8)


def inner_first() -> Volume:
    """The numbers of the voxels from the centre outwards: the first n of them are one piece."""
    return np.asarray(np.argsort(((np.indices(SHAPE).T - np.array(CENTRE)) ** 2).sum(-1).T.ravel(), kind="stable"))


def shells(*ends: tuple[int, float]) -> Volume:
    """Probabilities that fall outwards: up to each number of voxels the value beside it, 0.01 beyond."""
    probability, begin = np.full(np.prod(SHAPE), 0.01), 0
    for end, value in ends:
        probability[inner_first()[begin:end]] = value
        begin = end
    return probability.reshape(SHAPE)


def wanting_less_or_more(seed: int, size: int = 70) -> tuple[Volume, Volume]:
    """A lesion whose Dice is 1 below a threshold of 0.35, 0.6 at 0.5 and 0.25 above 0.55; every other patient reversed.

    So either threshold is best on its half of the patients, 0.625 on all, and 0.25 for whoever it was not chosen on.
    """
    lesion = np.zeros(np.prod(SHAPE), bool)
    lesion[inner_first()[:size]] = True
    if seed % 2:
        return shells((size // 7, 0.75), (size * 3 // 7, 0.55), (size, 0.35)), lesion.reshape(SHAPE)
    return shells((size, 0.75), (size * 7 // 3, 0.55), (size * 7, 0.35)), lesion.reshape(SHAPE)


def overfitting(seed: int) -> Example:
    probability, lesion = wanting_less_or_more(seed)
    return np.stack([probability] * 3), np.where(lesion, 3, 0)


def half_overfitting(seed: int) -> Example:
    """The edge of WT is as in `overfitting`; ET, in its midst, gains for all by a lower threshold."""
    edge, lesion = wanting_less_or_more(seed, 280)
    core = ball(CENTRE, 2)
    tc, et = np.where(core, 0.9, 0.01), np.where(core, 0.38, 0.01)
    return np.stack([edge, tc, et]), np.where(core, 3, np.where(lesion, 2, 0))


def plan_of(run: Path) -> DecodingPlan:
    return decoding_plan(Target(), Predict(), run / "decoding.json", [RunDir(run)])


def scored(run: Path, data: Any, decoding: Any, name: str, region: str = "ET") -> float:
    """The lesion-wise Dice of a case as `evaluate` has it, decoded anew."""
    stored = read_probabilities(run / "predictions" / "probabilities" / f"{name}.nii.gz")
    painted = decode(list(stored.data), Target(), decoding, stored.spacing_mm).labels
    rows = lesion_scores(painted, data[name][1].astype(np.uint8), stored.spacing_mm, rules="brats2026", distances=False)
    return float(next(row for row in rows if row["region"] == region)["lesion_wise_dice"])


# ---------------------------------------------------------------- what is refused


def test_what_only_helps_where_it_was_chosen_is_refused_and_leaves_all_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = make_run(tmp_path, cases_of(overfitting, 4))
    words = ["tune", str(run), str(data), "--jobs", "1"]
    assert main(words) == 1
    printed = capsys.readouterr()
    row = next(line.split() for line in printed.out.splitlines() if line.startswith("ET"))
    assert row[1:5] == ["4", "0.600", "0.625", "0.250"]
    assert row[-2:] == ["not", "supported"]
    said = f"{run / 'decoding.json'} is not written: cross-validation does not support WT, TC, ET; WT: "
    assert said in printed.err
    assert "settings score 0.250 where the default has 0.600, gain and standard error -0.350 (0.000)" in printed.err
    assert "Predictions stay as they are. --force writes" in printed.err
    assert not (run / "decoding.json").exists()
    former = b'{"regions": {"ET": {"threshold": 0.4}}}'
    (run / "decoding.json").write_bytes(former)
    assert main(words) == 1
    assert "The file of an earlier tuning stays and is used: remove it" in capsys.readouterr().err
    assert (run / "decoding.json").read_bytes() == former


def test_force_writes_it_and_whatever_reads_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, data = make_run(tmp_path, cases_of(overfitting, 4))
    assert main(["tune", str(run), str(data), "--jobs", "1", "--force"]) == 0
    said = "written by --force: cross-validation does not support the settings of WT, TC, ET"
    assert said in capsys.readouterr().out
    written = read_json(run / "decoding.json")
    assert written["forced"] == ["WT", "TC", "ET"]
    assert said in written["caveats"]
    assert written["cross_validation"]["ET"]["outcome"] == "forced"
    assert written["cross_validation"]["ET"]["gain"] == pytest.approx(-0.35, abs=1e-3)
    assert written["cross_validation"]["ET"]["standard_error"] < 1e-3
    plan = plan_of(run)
    assert plan.of("P-000-000").how == f"forced: {OUT_OF_FOLD}"
    assert plan.of("Q-000-000").how == f"forced: {NEW}"


def test_the_cases_of_one_patient_show_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, data = make_run(tmp_path, {f"P-000-00{visit}": planted_threshold(visit) for visit in range(3)})
    assert main(["tune", str(run), str(data), "--jobs", "1"]) == 1
    assert "is not written: all cases are of one patient" in capsys.readouterr().err
    assert not (run / "decoding.json").exists()
    assert main(["tune", str(run), str(data), "--jobs", "1", "--force"]) == 0
    assert read_json(run / "decoding.json")["forced"] == ["ET"]
    plan = plan_of(run)
    assert (plan.folds, plan.of("P-000-001").how) == ([], f"forced: {ON_THIS_CASE}")


def test_nothing_better_is_nothing_to_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lesion = ball(CENTRE, 3)
    run, data = make_run(tmp_path, cases_of(lambda _: (np.stack([np.where(lesion, 0.99, 0.01)] * 3), lesion * 3)))
    assert main(["tune", str(run), str(data), "--jobs", "1"]) == 1
    message = capsys.readouterr().err
    assert "is not written: no setting scores better than the default on these cases. Predictions stay" in message
    assert "--force" not in message
    assert not (run / "decoding.json").exists()


def test_regions_are_judged_each_by_itself(tmp_path: Path) -> None:
    run, data = make_run(tmp_path, cases_of(half_overfitting, 4))
    tuning = tune(run, data)
    assert {row.region: row.outcome for row in tuning.regions} == {
        "WT": "not supported",
        "TC": "default is best",
        "ET": "tuned",
    }
    plan = plan_of(run)
    for decoding in (plan.new, *(fold.decoding for fold in plan.folds)):
        assert decoding == {"WT": DEFAULT, "TC": DEFAULT, "ET": RegionDecoding(0.3)}
    forced = tune(run, data, force=True)
    assert forced.forced == ["WT"]
    assert plan_of(run).new["WT"].threshold != 0.5


def outweighed(_seed: int) -> Example:
    """ET is there at 0.3 alone, 147 of its voxels on top of the right 33; WT and TC are right until it is painted."""
    lesion, fat = ball(CENTRE, 2), ball(CENTRE, 3.5)
    right = np.where(lesion, 0.9, 0.01)
    return np.stack([right, right, np.where(fat, 0.38, 0.01)]), np.where(lesion, 3, 0)


def test_a_gain_that_the_other_regions_lose_is_refused_in_its_own_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = make_run(tmp_path, cases_of(outweighed))
    words = ["tune", str(run), str(data), "--jobs", "1"]
    right, painted = int(ball(CENTRE, 2).sum()), int(ball(CENTRE, 3.5).sum())
    dice = 2 * right / (right + painted)
    mean = (dice + 2 * (dice - 1)) / 3
    assert main(words) == 1
    printed = capsys.readouterr()
    row = next(line for line in printed.out.splitlines() if line.startswith("ET"))
    assert row.endswith("mean does not gain")
    assert (
        f"ET gains on unseen patients and the mean over all regions does not ({mean:+.3f}): with these settings the "
        f"scores change, with standard error, WT by {dice - 1:+.3f} (0.000), TC by {dice - 1:+.3f} (0.000), ET by "
        f"{dice:+.3f} (0.000). Predictions stay as they are. --force writes these settings"
    ) in printed.err
    assert "does not support" not in printed.err
    assert not (run / "decoding.json").exists()
    assert main([*words, "--force"]) == 0
    assert read_json(run / "decoding.json")["forced"] == ["ET"]


# ---------------------------------------------------------------- out-of-fold, computed another way


def test_a_fold_has_what_tuning_on_the_other_patients_alone_chooses(tmp_path: Path) -> None:
    """And the cross-validated mean is that of label maps decoded by it."""
    examples = cases_of(overfitting, 4)
    run, data = make_run(tmp_path / "all", examples)
    tuning = tune(run, data, force=True)
    plan, reached = plan_of(run), []
    for name in examples:
        others = {other: example for other, example in examples.items() if other != name}
        apart, apart_data = make_run(tmp_path / name, others)
        tune(apart, apart_data, force=True)
        own = plan.of(name)
        assert own.decoding == plan_of(apart).new
        assert own.decoding != plan.of("P-999-000").decoding or own.decoding["ET"] == plan.new["ET"]
        reached.append(scored(run, examples, own.decoding, name))
    assert of(tuning, "ET").crossed == pytest.approx(np.mean(reached), abs=1e-12)
    plain = [scored(run, examples, dict.fromkeys(("WT", "TC", "ET"), DEFAULT), name) for name in examples]
    assert of(tuning, "ET").default == pytest.approx(np.mean(plain), abs=1e-12)


def test_a_patients_own_reference_has_no_say_in_its_settings(tmp_path: Path) -> None:
    examples = cases_of(planted_threshold, 4)
    run, data = make_run(tmp_path / "a", examples)
    tune(run, data)
    before = plan_of(run).of("P-002-000")
    examples["P-002-000"] = overfitting(1)[0], np.zeros(SHAPE)  # of another lesion, and nothing to find
    run, data = make_run(tmp_path / "b", examples)
    tune(run, data)
    assert plan_of(run).of("P-002-000") == before
    assert before.how == OUT_OF_FOLD


# ---------------------------------------------------------------- one rule set


def test_other_rules_than_the_runs_are_refused_and_forced_ones_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = make_run(tmp_path, cases_of(planted_threshold))
    words = ["tune", str(run), str(data), "--jobs", "1"]
    assert main([*words, "--rules", "brats2023"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    refused = (
        "expected the rule set of the run (validate.rules), brats2026, by which its scores are made, found --rules"
    )
    assert f"{run / 'decoding.json'} is not written: {refused} brats2023; leave --rules out" in printed.err
    assert not (run / "decoding.json").exists()
    assert main([*words, "--rules", "brats2023", "--force"]) == 0
    known = "the rule set of the run (validate.rules), by which `mets3d evaluate` scores, is brats2026"
    said = f"tuned by brats2023, and {known}"
    assert said in capsys.readouterr().out
    assert any(caveat.startswith(said) for caveat in read_json(run / "decoding.json")["caveats"])
    assert plan_of(run).rules == "brats2023"
    assert main(words) == 0
    assert "validate.rules), by which" not in capsys.readouterr().out
