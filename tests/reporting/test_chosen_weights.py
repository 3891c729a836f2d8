import pytest

from mets3d.reporting.arms import as_arms
from mets3d.reporting.chosen_weights import choosing, chosen_on_scored
from mets3d.reporting.read_run import read_run
from tests.reporting.conftest import random_scores

CASES = ("A", "B")


def validations(*scores, name="lesion_wise_dice/mean"):
    return [
        {"step": 20 * (place + 1), "kind": "validation", name: score, "cases": 2} for place, score in enumerate(scores)
    ]


@pytest.fixture
def record(make_run):
    def make(name, metrics, cases=CASES, **more):
        return read_run(make_run(name, cases=CASES, scores=random_scores(cases, 0), metrics=metrics, **more))

    return make


def test_a_choice_among_validations_of_scored_cases_is_said(record):
    run = record("run", validations(0.4, 0.5))
    assert chosen_on_scored([run]) == (
        "The weights were chosen by validation on the very cases that are scored, so these scores are somewhat "
        "too good."
    )
    assert choosing(run) == (
        "Of each training the weights with the highest mean lesion-wise Dice in a validation were kept"
    )
    other = record("other", validations(0.4))
    assert "The weights of run were chosen" in chosen_on_scored([other, run])
    assert "so the scores of run are somewhat too good" in chosen_on_scored([other, run])
    assert chosen_on_scored([run, run]).startswith("The weights of both arms were chosen")


def test_without_a_choice_or_on_other_cases_nothing_is_said(record):
    assert chosen_on_scored([record("once", validations(0.4))]) == choosing(record("again", validations(0.4))) == ""
    assert chosen_on_scored([record("none", [])]) == ""
    assert chosen_on_scored([record("valueless", validations(None, 0.4))]) == ""
    elsewhere = record("elsewhere", validations(0.4, 0.5), cases=("X", "Y"))
    assert chosen_on_scored([elsewhere]) == ""
    assert choosing(elsewhere)


def test_where_all_cases_choose_validations_of_a_subset_do_not_count(record):
    settings = {"validate": {"rules": "brats2023", "cases": 1, "all_every": 20}}
    assert chosen_on_scored([record("subset", validations(0.4, 0.5), settings=settings)]) == ""
    of_all = validations(0.4, 0.5, name="all/lesion_wise_dice/mean")
    assert chosen_on_scored([record("all", of_all, settings=settings)])


def test_one_run_of_an_arm_is_enough(record):
    runs = [
        record(f"seed{seed}", validations(*scores), settings={"seed": seed})
        for seed, scores in enumerate([[0.4], [0.4, 0.5]])
    ]
    (arm,) = as_arms(runs)
    assert chosen_on_scored([arm])
