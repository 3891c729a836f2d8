import pytest

from mets3d.evaluation.scores import score_of
from mets3d.statistics.answer import answer
from mets3d.statistics.family import Candidate, Difference, with_tests
from mets3d.statistics.paired import paired

CASES = "ABCDEFGH"
DICE, HD95, FOUND = (score_of(column) for column in ("lesion_wise_dice", "lesion_wise_hd95", "lesions_found"))
SMALLEST = 2 / 2**8  # of eight patients that all go one way


def candidate(score, region, changes, method="term"):
    before = {case: 10.0 + place for place, case in enumerate(CASES)}
    after = {case: before[case] + change for case, change in zip(CASES, changes, strict=False)}
    found = paired(before, after, lower_is_better=score.better == "lower")
    return Candidate(Difference("base", method, region, score, found), (before, after))


def up(step):
    return [step * (place + 1) for place in range(8)]


NO_TREND = [1, -2, 3, -4, 4.5, -3.5, 2.5, -1.5]


@pytest.mark.parametrize(
    ("dice", "hd95", "conclusion"),
    [
        (up(0.1), NO_TREND, "better"),
        (up(-0.1), NO_TREND, "worse"),
        (NO_TREND, up(-1), "better"),  # fewer millimetres
        (NO_TREND, up(1), "worse"),
        (up(0.1), up(1), "mixed"),
        (NO_TREND, NO_TREND, "no difference shown"),
        ([0] * 8, [0] * 8, "no difference shown"),
    ],
)
def test_the_conclusion_follows_the_corrected_tests(dice, hd95, conclusion):
    differences = with_tests([candidate(DICE, "ET", dice), candidate(HD95, "ET", hd95)])
    found = answer("term", differences)
    assert found.conclusion == conclusion
    low = [*found.better, *found.worse]
    assert all(test.p == pytest.approx(SMALLEST) and test.p_holm < 0.05 for test in low)
    assert bool(low) == (conclusion != "no difference shown")


def test_what_the_correction_takes_away_is_not_shown():
    changes = [candidate(DICE, f"R{place}", [*up(0.1 + place)[:7], -0.01]) for place in range(9)]
    differences = with_tests(changes)
    assert min(test.found.p for test in differences) < 0.05  # alone
    assert answer("term", differences).conclusion == "no difference shown"


def test_few_patients_conclude_nothing_and_no_scores_compare_nothing():
    differences = with_tests([candidate(DICE, "ET", up(0.1)[:5])])
    assert answer("term", differences).conclusion == "too few patients"
    assert answer("term", differences).better == ()
    assert answer("other", differences).conclusion == "nothing to compare"
    exploratory = with_tests([candidate(score_of("dice"), "ET", up(0.1)[:5])])
    assert answer("term", exploratory).conclusion == "too few patients"
    assert answer("other", differences).quoted is None
    exploratory = with_tests([candidate(score_of("dice"), "ET", up(0.1))])
    assert answer("term", exploratory).conclusion == "not tested"


def test_it_is_the_patients_with_the_value_who_count():
    few = [candidate(DICE, "ET", up(0.1)[:5]), candidate(HD95, "ET", up(-1)[:5])]
    same = candidate(FOUND, "ET", [0] * 8)
    found = answer("term", with_tests([*few, same]))
    assert (found.conclusion, found.own, found.quoted.found.n) == ("too few patients", (), 5)
    found = answer("term", with_tests([*few, candidate(FOUND, "ET", up(1))]))
    assert (found.conclusion, [test.score for test in found.better]) == ("better", [FOUND])
    assert found.family == 1


def test_quoted_is_the_surest_test_or_what_was_declared():
    tests = with_tests([candidate(DICE, "WT", NO_TREND), candidate(DICE, "ET", up(0.1)), candidate(HD95, "ET", up(-1))])
    assert answer("term", tests).quoted.region == "ET"
    none = with_tests([candidate(HD95, "ET", NO_TREND[::-1]), candidate(DICE, "WT", NO_TREND)])
    assert [own.p_holm is None for own in none] == [False, False]
    assert answer("term", none).quoted.score == HD95  # which is asked for first
    none = with_tests([candidate(DICE, "WT", NO_TREND), candidate(DICE, "ET", [2 * own for own in NO_TREND])])
    assert answer("term", none).quoted.region == "ET"
    repeated = with_tests([candidate(DICE, "WT", NO_TREND), candidate(DICE, "ET", NO_TREND)])
    assert answer("term", repeated).quoted.region == "WT"  # ET is the same test once more


def test_the_family_is_that_of_all_methods():
    tests = with_tests([candidate(DICE, "ET", up(0.1)), candidate(DICE, "ET", NO_TREND, "other")])
    assert (answer("term", tests).family, len(answer("term", tests).own)) == (2, 1)
    assert answer("other", tests).conclusion == "no difference shown"
