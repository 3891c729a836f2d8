"""Which validations score all cases, and which scores may choose the best weights."""

from __future__ import annotations

from typing import Any

import pytest

from mets3d.config import Config
from mets3d.training.due import due
from mets3d.training.progress import Progress, Record
from mets3d.training.same_run import other_scores, scored_under
from mets3d.training.selection import chooses, note_if_best, scores_all, without_value


def config(**validate: Any) -> Config:
    return Config.model_validate({"train": {"steps": 10}, "validate": {"every": 2} | validate})


def steps_of(decides: Any, settings: Config) -> list[int]:
    return [step for step in range(1, 11) if due(settings, Progress(step=step)).validation and decides(settings, step)]


@pytest.mark.parametrize(
    ("validate", "validated", "of_all", "choosing"),
    [
        ({}, [2, 4, 6, 8, 10], [], [2, 4, 6, 8, 10]),  # every validation is of all cases anyway
        ({"all_every": 3}, [2, 3, 4, 6, 8, 9, 10], [], [2, 3, 4, 6, 8, 9, 10]),
        ({"cases": 4}, [2, 4, 6, 8, 10], [], [2, 4, 6, 8, 10]),
        ({"cases": 4, "all_every": 4}, [2, 4, 6, 8, 10], [4, 8, 10], [4, 8, 10]),
        ({"cases": 4, "all_every": 3}, [2, 3, 4, 6, 8, 9, 10], [3, 6, 9, 10], [3, 6, 9, 10]),
        ({"cases": 4, "all_every": 99}, [2, 4, 6, 8, 10], [10], [10]),
    ],
)
def test_one_set_of_cases_chooses_in_the_whole_run(
    validate: dict[str, int], validated: list[int], of_all: list[int], choosing: list[int]
) -> None:
    settings = config(**validate)
    assert steps_of(lambda *_: True, settings) == validated
    assert steps_of(scores_all, settings) == of_all
    assert steps_of(chooses, settings) == choosing


def noted(settings: Config, scored: dict[int, dict[str, float]]) -> tuple[Progress, list[int], list[str]]:
    """Progress, the steps that were better, and what was said, after validations with these scores by step."""
    progress, better = Progress(), []
    for step, scores in scored.items():
        progress.step = step
        better += [step] if note_if_best(settings, progress, scores) else []
    remarks = [without_value(settings, step, scores) for step, scores in scored.items()]
    return progress, better, [remark for remark in remarks if remark is not None]


def test_a_score_of_the_subset_is_never_compared_with_one_of_all() -> None:
    name = "lesion_wise_dice/mean"
    scored = {
        2: {name: 0.9},
        4: {name: 0.8, f"all/{name}": 0.5},
        6: {name: 0.99},
        8: {name: 0.2, f"all/{name}": 0.6},
        10: {name: 0.95, f"all/{name}": 0.55},
    }
    progress, better, said = noted(config(cases=1, all_every=4), scored)
    assert (progress.best, progress.best_step, better, said) == (0.6, 8, [4, 8], [])
    assert progress.stale == 1, "of step 10: those of the subset choose nothing"
    progress, better, _ = noted(config(cases=1), scored)
    assert (progress.best, progress.best_step, better, progress.stale) == (0.99, 6, [2, 6], 2)


@pytest.mark.parametrize(("best_by", "best_step"), [("lesion_wise_dice", 2), ("lesion_f1", 4), ("dice", 6)])
def test_the_best_is_chosen_by_the_score_that_is_asked_for(best_by: str, best_step: int) -> None:
    scores = ("lesion_wise_dice", "lesion_f1", "dice")
    scored = {2 + 2 * n: {f"{score}/mean": 0.5 + 0.1 * (n == m) for m, score in enumerate(scores)} for n in range(3)}
    progress, _, _ = noted(config(best_by=best_by), scored)
    assert progress.best_step == best_step


def test_a_score_without_a_value_chooses_nothing_and_is_said() -> None:
    scores = {"dice/mean": 0.7, "lesion_f1/mean": 0.5, "cases": 1}
    progress, better, said = noted(config(rules="brats2026"), {2: scores})
    assert (progress.best_step, better, len(said)) == (0, [], 1)
    assert "by brats2026 no validated case has a value for lesion-wise Dice" in said[0]
    assert noted(config(cases=1, all_every=4), {2: scores})[2] == [], "it was not to choose"
    progress, better, _ = noted(config(best_by="dice"), {2: {"dice/mean": 0.0}})
    assert (progress.best, better) == (0.0, [2])


def scored_remark(before: Config, now: Config, *, without: tuple[str, ...] = ()) -> str | None:
    scored = {key: value for key, value in scored_under(before).items() if key not in without}
    record = Record(Progress(step=4, best=0.7, best_step=4), "no", 1, "store", scored)
    return other_scores(now, record)


@pytest.mark.parametrize(
    "change", [{"rules": "brats2023"}, {"best_by": "dice"}, {"mirror": [0]}, {"cases": 3}, {"all_every": 4}]
)
def test_a_best_score_of_another_kind_is_not_compared(change: dict[str, Any]) -> None:
    before = config(cases=2)
    assert scored_remark(before, before) is None
    remark = scored_remark(before, config(**{"cases": 2} | change))
    assert remark is not None
    assert "it is not compared, and the next validation counts as the best" in remark


def test_what_does_not_choose_may_change() -> None:
    before = config(cases=2, all_every=4)
    assert scored_remark(before, config(cases=3, all_every=6, every=5)) is None
    assert scored_remark(before, config(cases=2)) is not None
    assert scored_remark(before, config()) is None, "it was, and is, of all cases"


def test_a_best_score_of_an_earlier_version_is_not_compared() -> None:
    remark = scored_remark(config(), config(), without=("validate.rules", "validate.best_by", "validate.mirror"))
    assert remark is not None
    assert "validate.rules None -> brats2026" in remark
