import numpy as np
import pytest

from mets3d.reporting.compare import METRICS, SHARED_LESIONS, compare, difference, holm_corrected
from mets3d.reporting.run_record import read_run
from mets3d.reporting.sentences import duration, facts, lede, loss_in_words, number, shortened
from mets3d.reporting.verdict import answer, caveat, change, question

DICE, HD95 = METRICS[0], METRICS[1]
CASES = tuple("ABCDEFGH")


def test_difference_pairs_by_case_and_ignores_the_rest():
    found = difference(DICE, {"A": 0.5, "B": 0.25, "X": 0.0}, {"B": 0.75, "A": 0.25, "Y": 1.0})
    assert (found.n, found.reference_mean, found.method_mean) == (2, 0.375, 0.5)
    assert found.difference == 0.125
    assert (found.improved, found.worsened) == (1, 1)
    assert difference(DICE, {"A": 1.0}, {"B": 1.0}) is None
    assert difference(DICE, {"A": 1.0}, {"A": 0.5}).interval is None


def test_the_interval_of_a_mean_is_about_the_normal_one_for_many_cases():
    rng = np.random.default_rng(5)
    values = {str(index): float(value) for index, value in enumerate(rng.normal(0.3, 1.0, 400))}
    low, high = difference(DICE, dict.fromkeys(values, 0.0), values).interval
    array = np.array(list(values.values()))
    half = 1.96 * array.std(ddof=1) / 20
    assert low == pytest.approx(array.mean() - half, abs=0.01)
    assert high == pytest.approx(array.mean() + half, abs=0.01)


@pytest.mark.parametrize(
    ("metric", "shift", "cases", "verdict"),
    [
        (DICE, 0.1, 6, "better"),
        (DICE, -0.1, 6, "worse"),
        (HD95, -0.1, 6, "better"),
        (HD95, 0.1, 6, "worse"),
        (DICE, 0.0, 6, "no difference shown"),
        (DICE, 0.1, 5, "too few cases"),  # five of five: 2 x 0.5**5 is above 0.05
    ],
)
def test_verdict(metric, shift, cases, verdict):
    before = dict.fromkeys(CASES[:cases], 0.5)
    after = {case: 0.5 + shift + 0.01 * (index % 2 - 0.5) for index, case in enumerate(before)}
    assert difference(metric, before, after).verdict == verdict


def lesions(run, rows):
    text = "".join(f"{case},{region},brats2023,{lesion},{kind},{hd95}\n" for case, region, lesion, kind, hd95 in rows)
    (run / "lesions.csv").write_text("case,region,rules,lesion,kind,hd95\n" + text)
    return read_run(run)


def test_shared_lesions_are_those_that_both_found(make_run, scores_of):
    runs = [make_run(name, cases=("A", "B"), scores=scores_of(("A", "B"), 0)) for name in ("one", "two")]
    one = lesions(
        runs[0],
        [
            ("A", "ET", 1, "found", 2.0),
            ("A", "ET", 2, "found", 4.0),
            ("A", "ET", 3, "missed", 374.0),
            ("B", "ET", 1, "found", 1.0),
            ("B", "WT", 1, "found", 9.0),
        ],
    )
    two = lesions(
        runs[1],
        [
            ("A", "ET", 1, "found", 1.0),
            ("A", "ET", 2, "found", 2.0),
            ("A", "ET", 3, "found", 5.0),
            ("B", "ET", 1, "missed", 374.0),
            ("B", "WT", 1, "found", 7.0),
        ],
    )
    found = compare(SHARED_LESIONS, one, two, ("A", "B"))
    assert set(found) == {"WT", "ET"}
    assert (found["ET"].n, found["ET"].reference_mean, found["ET"].method_mean) == (1, 3.0, 1.5)
    assert found["WT"].difference == -2.0
    assert compare(SHARED_LESIONS, one, two, ("A",)).keys() == {"ET"}


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


def test_the_answer_follows_the_numbers(make_run):
    base = read_run(make_run("base", cases=CASES, scores=scored(0.0, 1)))
    hausdorff = {"loss": {"boundary": "hausdorff_distance"}}
    other = read_run(make_run("other", cases=CASES, scores=scored(-5.0, 2), settings=hausdorff))
    assert question(base, other).startswith("Does adding the Hausdorff distance term give")
    assert question(other, base) == "Does base give better boundaries (HD95) and more lesions found than other?"

    lines = dict(line for line in answer(base, other, CASES) if line[0])
    assert lines["Answer"] == (
        "On 8 held-out cases, boundaries by lesion-wise HD95: better in WT and TC and ET; lesions found: better in WT "
        "and TC and ET."
    )
    assert lines["Lesions found"] == "WT 16 → 24; TC 16 → 24; ET 16 → 24"
    assert "too narrow" in caveat(base, other, 8)
    assert "too narrow" not in caveat(base, other, 20)

    reversed_answer = answer(other, base, CASES)[0][1]
    assert "boundaries by lesion-wise HD95: worse in WT and TC and ET" in reversed_answer
    same = answer(base, base, CASES)[0][1]
    assert same.count("no difference shown in WT and TC and ET") == 2
    few = answer(base, other, CASES[:3])[0][1]
    assert few.startswith("Cannot be concluded from 3 cases.")
    assert "better" not in few


def test_the_answer_names_what_survives_the_correction(make_run):
    base = read_run(make_run("base", cases=CASES, scores=scored(0.0, 1)))
    other = read_run(make_run("other", cases=CASES, scores=scored(-5.0, 2)))
    corrected = holm_corrected(base, [other], CASES)
    # Four columns of scores and three of counts in three regions; no lesions.csv, so none of the lesions found by both.
    assert len(corrected) == 21
    smallest = 2 / 2**8
    by_name = {name: p for (_, name, region), p in corrected.items() if region == "WT"}
    assert by_name["Lesion-wise HD95"] == by_name["Lesions found"] == pytest.approx(21 * smallest)
    assert by_name["Whole-volume HD95"] == 1.0  # nothing differs
    said = dict(answer(base, other, CASES, corrected))
    assert said["After Holm's correction"] == (
        "Wilcoxon's test corrected over 21 tests: no p is below 0.05, the smallest is 0.16."
    )
    third = read_run(make_run("third", cases=CASES, scores=scored(1.0, 3)))
    assert len(holm_corrected(base, [other, third], CASES)) == 42  # all runs on the page are one family
    small = {("other", "Lesion-wise HD95", "WT"): 0.0081, ("other", "Lesions found", "ET"): 0.0004}
    assert dict(answer(base, other, CASES, corrected | small))["After Holm's correction"] == (
        "Wilcoxon's test corrected over 21 tests, p is below 0.05 for Lesion-wise HD95 in WT (p 0.008), Lesions found "
        "in ET (p < 0.001)."
    )
    assert "After Holm's correction" not in dict(answer(base, other, CASES[:5], corrected))


def test_time_points_of_few_patients_conclude_nothing(make_run):
    cases = [f"P-{patient}-{time:03d}" for patient in range(3) for time in range(4)]
    runs = []
    for name, dice in (("base", 0.2), ("other", 0.9)):
        row = {"lesion_wise_dice": dice, "lesion_wise_hd95": 1.0, "lesions_found": 1}
        scores = {(case, region): row for case in cases for region in ("WT", "TC", "ET")}
        runs.append(read_run(make_run(name, cases=cases, scores=scores)))
    base, other = runs
    assert {found.verdict for found in compare(DICE, base, other, cases).values()} == {"too few cases"}
    assert answer(base, other, cases)[0][1].startswith("Cannot be concluded from 12 cases of 3 patients.")


def test_change_in_words():
    found = difference(HD95, {"A": 3.0, "B": 3.0}, {"A": 2.0, "B": 2.0})
    assert change(found, 2) == "−1.00 mm (−1.00\u00a0to\u00a0−1.00)"
    assert change(found, 3) == "−1.00 mm (−1.00\u00a0to\u00a0−1.00, n = 2)"


def test_numbers_in_words():
    assert number(None, 2) == "–"
    assert number(-0.004, 2) == "0.00"
    assert number(-0.004, 2, sign=True) == "0.00"
    assert number(-1.25, 1, sign=True) == "−1.2"
    assert number(1.25, 3, sign=True) == "+1.250"
    assert [duration(seconds) for seconds in (0.2, 59, 61, 7261, 90_000)] == [
        *("0 s", "59 s", "1 min 1 s", "2 h 1 min", "1 d 1 h"),
    ]


def test_long_names_keep_both_ends():
    assert shortened("seed_1", 6) == "seed_1"
    assert [shortened("decoder_hausdorff_seed_1", most) for most in (10, 11)] == ["decod…ed_1", "decod…eed_1"]


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
    told = facts(record)
    assert told["Time"] == "2 h 1 min, started 2026-01-01T10:00:00+00:00"
    assert told["Hardware"] == "NVIDIA H200, 2 processes, Linux"
    assert told["Data"] == "4 training cases, 3 held out (fold 0 of 5)"
    assert told["Precision"] == "fp32"
    assert told["Software"] == "mets3d 0.1.0"
    assert "Command" not in told
