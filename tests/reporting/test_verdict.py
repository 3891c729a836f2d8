from dataclasses import replace

import numpy as np
import pytest

from mets3d.evaluation.scores import score_of
from mets3d.reporting.compare import compared
from mets3d.reporting.read_run import read_run
from mets3d.reporting.verdict import caveat, change, question, verdict
from mets3d.statistics.family import Difference, family_tests
from mets3d.statistics.paired import paired

CASES = tuple("ABCDEFGH")


def scored(shift, seed):
    """Scores of every case: the same in all regions, moved by `shift`."""
    rng = np.random.default_rng(seed)
    return {
        (case, region): {
            "lesion_wise_dice": 0.5,
            "lesion_wise_hd95": 20.0 + shift + rng.random(),
            "hd95": 5.0,
            "dice": 0.8,
            "lesions_found": 2 + (shift < 0),
            "lesions_missed": 1,
            "lesions_false": 0,
        }
        for case in CASES
        for region in ("WT", "TC", "ET")
    }


def answer(reference, run, cases):
    return verdict(run, cases, compared([reference, run], cases).differences)


def test_the_verdict_follows_the_numbers(make_run):
    base = read_run(make_run("base", cases=CASES, scores=scored(0.0, 1)))
    hausdorff = {"loss": {"boundary": "hausdorff_distance"}}
    other = read_run(make_run("other", cases=CASES, scores=scored(-5.0, 2), settings=hausdorff))
    assert question(base, other).startswith("Does adding the Hausdorff distance term give")
    assert question(other, base) == "Does base give better boundaries (HD95) and more lesions found than other?"

    lines = dict(line for line in answer(base, other, CASES) if line[0])
    assert lines["Intervals, uncorrected"] == (
        "On 8 held-out cases, boundaries by lesion-wise HD95: better in WT, TC and ET; lesions found: better in WT, "
        "TC and ET."
    )
    assert lines["Lesions found"] == "WT 16 → 24; TC 16 → 24; ET 16 → 24"
    assert "too narrow" in caveat(base, other, 8)
    assert "too narrow" not in caveat(base, other, 20)

    reversed_verdict = answer(other, base, CASES)[0][1]
    assert "boundaries by lesion-wise HD95: worse in WT, TC and ET" in reversed_verdict
    same = answer(base, base, CASES)[0][1]
    assert same.count("no difference shown in WT, TC and ET") == 2
    few = answer(base, other, CASES[:3])[0][1]
    assert few.startswith("Cannot be concluded from 3 cases.")
    assert "better" not in few


def test_the_verdict_names_what_survives_the_correction(make_run):
    base = read_run(make_run("base", cases=CASES, scores=scored(0.0, 1)))
    other = read_run(make_run("other", cases=CASES, scores=scored(-5.0, 2)))
    family = compared([base, other], CASES).differences
    # Of the nine tests of the family, Dice differs nowhere, and the lesions found are the same in all regions.
    assert len(family_tests(family)) == 4
    smallest = 2 / 2**8
    by_name = {test.score.name: test.p_holm for test in family if test.region == "WT"}
    assert by_name["Lesion-wise HD95"] == by_name["Lesions found"] == pytest.approx(4 * smallest)
    assert by_name["Whole-volume HD95"] is by_name["Lesion-wise Dice"] is None
    lines = dict(verdict(other, CASES, family))
    assert lines["After Holm's correction"] == (
        "Wilcoxon's test corrected over 4 tests, p is below 0.05 for Lesion-wise HD95 in WT (p 0.031), Lesion-wise "
        "HD95 in TC (p 0.031), Lesion-wise HD95 in ET (p 0.031), Lesions found in WT (p 0.031)."
    )
    third = read_run(make_run("third", cases=CASES, scores=scored(1.0, 3)))
    assert len(family_tests(compared([base, other, third], CASES).differences)) == 4 + 3  # all runs are one family
    higher = [replace(test, p_holm=test.p_holm and 0.16) for test in family]
    assert dict(verdict(other, CASES, higher))["After Holm's correction"] == (
        "Wilcoxon's test corrected over 4 tests: no p is below 0.05, the smallest is 0.16."
    )
    assert "After Holm's correction" not in dict(answer(base, other, CASES[:5]))


def test_time_points_of_few_patients_conclude_nothing(make_run):
    cases = [f"P-{patient}-{time:03d}" for patient in range(3) for time in range(4)]
    runs = []
    for name, dice in (("base", 0.2), ("other", 0.9)):
        row = {"lesion_wise_dice": dice, "lesion_wise_hd95": 1.0, "lesions_found": 1}
        scores = {(case, region): row for case in cases for region in ("WT", "TC", "ET")}
        runs.append(read_run(make_run(name, cases=cases, scores=scores)))
    base, other = runs
    assert {test.verdict for test in compared([base, other], cases).differences} == {"too few cases"}
    assert answer(base, other, cases)[0][1].startswith("Cannot be concluded from 12 cases of 3 patients.")


def test_change_in_words():
    found = paired({"A": 3.0, "B": 3.0}, {"A": 2.0, "B": 2.0}, lower_is_better=True)
    found = Difference("base", "other", "ET", score_of("lesion_wise_hd95"), found)
    assert change(found, 2) == "−1.00 mm (−1.00\u00a0to\u00a0−1.00)"
    assert change(found, 3) == "−1.00 mm (−1.00\u00a0to\u00a0−1.00, n = 2)"
