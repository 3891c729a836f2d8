from types import MappingProxyType

import numpy as np
import pytest

from mets3d.evaluation.scores import score_of
from mets3d.reporting.answers import told_of_pair, told_of_several, trainings
from mets3d.reporting.arms import as_arms
from mets3d.reporting.asked import in_sentence
from mets3d.reporting.compare import compared
from mets3d.reporting.read_run import read_run
from mets3d.reporting.sections.pairs import pair_sections
from mets3d.reporting.sections.reached import told_of_run
from mets3d.reporting.sections.tiles import tiles_of_pair
from tests.reporting.conftest import Page, cells_of
from tests.reporting.test_verdict import CASES, scored

TERM = MappingProxyType({"loss": {"boundary": "hausdorff_distance"}})


@pytest.fixture
def told(make_run):
    """The answer on a run with the term whose scores are moved by `shift`."""

    def make(shift, cases=CASES):
        base = read_run(make_run(f"base{shift}", cases=CASES, scores=scored(0.0, 1)))
        term = read_run(make_run(f"term{shift}", cases=CASES, scores=scored(shift, 2), settings=dict(TERM)))
        return told_of_pair(base, term, cases, compared([base, term], cases).differences)

    return make


def test_better_worse_and_none_in_one_sentence(told):
    better = told(-5.0)
    changes = [
        scored(-5.0, 2)[case, "WT"]["lesion_wise_hd95"] - scored(0.0, 1)[case, "WT"]["lesion_wise_hd95"]
        for case in CASES
    ]
    assert (better.kind, better.word) == ("better", "Better")
    # All eight differ the same way, in four tests: 4 x 2 / 2^8.
    assert better.sentence.startswith(
        "With the Hausdorff distance term, lesion-wise HD95 of WT, of which less is better, changes by −"
    )
    assert f"changes by −{-np.mean(changes):.2f} mm (95 % interval −" in better.sentence
    assert (
        " mm, 8 cases, one training each, p 0.031 after Holm over 4 tests). In WT, lesions found 16" in better.sentence
    )
    assert list(dict(better.lines)) == [
        "Boundaries (lesion-wise HD95)",
        "Lesions found",
        "False lesions",
        "Overlap (lesion-wise Dice)",
    ]
    lines = {name: text.replace("\u00a0", " ") for name, text in better.lines}
    assert lines["Overlap (lesion-wise Dice)"].startswith("no difference. WT 0.500 → 0.500; TC 0.500 → 0.500;")
    assert lines["Boundaries (lesion-wise HD95)"].startswith(
        "better in WT (p 0.031), TC (p 0.031) and ET (p 0.031). WT "
    )
    assert lines["Lesions found"].endswith("WT 16 → 24; TC 16 → 24; ET 16 → 24")
    assert lines["False lesions"] == "not tested. WT 0 → 0; TC 0 → 0; ET 0 → 0"
    assert "other seeds may differ" in better.sure

    worse = told(5.0)
    assert (worse.kind, worse.word) == ("worse", "Worse")
    none = told(0.0)
    assert (none.kind, none.word) == ("unclear", "No difference shown")
    assert "None of " in none.sure
    assert "That is no proof of equality: the interval reaches from " in none.sure
    assert "worse to" in none.sure
    assert none.sure.count("better") == 1


def test_cases_without_the_number_are_not_counted(make_run):
    tables = [scored(0.0, 1), scored(-5.0, 2)]
    for case in CASES[:2]:
        for region in ("WT", "TC", "ET"):
            tables[1][case, region] |= {"lesion_wise_hd95": "", "lesions_found": ""}
    base = read_run(make_run("base", cases=CASES, scores=tables[0]))
    term = read_run(make_run("term", cases=CASES, scores=tables[1], settings=dict(TERM)))
    said = told_of_pair(base, term, CASES, compared([base, term], CASES).differences).sentence
    assert "6 of 8 cases, one training each" in said


def test_few_patients_with_the_number_have_no_interval_and_no_p(make_run):
    """Six of eight cases have the numbers in each table, and four in both."""
    tables = [scored(0.0, 1), scored(-5.0, 2)]
    for rows, without in zip(tables, (CASES[:2], CASES[6:]), strict=True):
        for case in without:
            for region in ("WT", "TC", "ET"):
                rows[case, region] |= {"lesion_wise_dice": "", "lesion_wise_hd95": "", "lesions_found": ""}
    base = read_run(make_run("base", cases=CASES, scores=tables[0]))
    term = read_run(make_run("term", cases=CASES, scores=tables[1], settings=dict(TERM)))
    table = compared([base, term], CASES)
    told = told_of_pair(base, term, CASES, table.differences)
    assert (told.word, told.sure) == ("Cannot be concluded", "")
    assert told.sentence.startswith("Cannot be concluded from 4 of 8 cases, which alone have a value in both arms.")
    rows = Page(pair_sections([base, term], CASES, table.differences)[0].html).tables[
        f"{term.label} against {base.label}"
    ]
    for score in ("Lesion-wise HD95", "Lesions found"):
        cells = cells_of(rows, score, "ET")
        assert (cells[3:6], cells[7]) == (["–", "–", "–"], "4")
    assert cells_of(rows, "Whole-volume Dice", "ET")[3] == "0.000 to 0.000"  # of all eight
    lines = [line for tile in tiles_of_pair(base, term, table) for line in tile.lines]
    assert "n = 4 cases" in lines
    assert not [line for line in lines if "interval" in line]


def test_few_cases_are_refused_without_an_interval_or_p(told):
    few = told(-5.0, CASES[:3])
    assert few.word == "Cannot be concluded"
    assert few.sentence.startswith("Cannot be concluded from 3 cases. With fewer than 6 pairs")
    assert "3 cases, one training each)" in few.sentence
    assert "interval" not in few.sentence
    assert "Holm" not in few.sentence


def test_several_arms_are_summed_up_and_their_seeds_counted(make_run):
    runs = []
    for name, shift, settings in (("base", 0.0, {}), ("term", -5.0, TERM), ("long", 0.0, {"loss": {"dice_weight": 2}})):
        for seed in (0, 1):
            run = make_run(
                f"{name}{seed}", cases=CASES, scores=scored(shift, seed), settings={"seed": seed, **settings}
            )
            runs.append(read_run(run))
    base, *others = as_arms(runs)
    differences = compared([base, *others], CASES).differences
    each = [told_of_pair(base, run, CASES, differences) for run in others]
    said = told_of_several(base, others, each, CASES, differences)
    assert said.word == "1 of 2 arms better"
    assert "on 8 cases, 2 seeds." in said.sentence
    assert "Better: loss.boundary=hausdorff_distance" in said.sentence
    assert "standard deviation of" in each[0].sure
    assert trainings(base, others[0]) == "2 seeds"
    assert trainings(*runs[:1]) == "one training"
    assert told_of_several(base, others, each, [], differences).kind == "nothing"
    assert said.level == ""


def test_scores_inside_a_sentence():
    names = {column: in_sentence(score_of(column)) for column in ("lesion_wise_dice", "hd95", "f1", "lesions_found")}
    assert list(names.values()) == ["lesion-wise Dice", "whole-volume HD95", "F1 of lesions", "lesions found per case"]


def test_two_arms_near_zero_are_called_so_where_both_are(make_run):
    tables = [scored(0.0, 1), scored(-5.0, 2)]
    for rows, dice in zip(tables, (0.099, 0.02), strict=True):
        for case in CASES:
            rows[case, "ET"]["lesion_wise_dice"] = rows[case, "TC"]["lesion_wise_dice"] = dice
    for case in CASES:
        tables[0][case, "WT"]["lesion_wise_dice"] = 0.01  # and 0.5 in the other
    base = read_run(make_run("base", cases=CASES, scores=tables[0]))
    term = read_run(make_run("term", cases=CASES, scores=tables[1], settings=dict(TERM)))
    differences = compared([base, term], CASES).differences
    each = [told_of_pair(base, term, CASES, differences)]
    assert each[0].level.startswith("Both arms are near zero in TC and ET (mean lesion-wise Dice below 0.1)")
    assert "All arms are near zero in TC and ET" in told_of_several(base, [term], each, CASES, differences).level
    alone = told_of_run(base)
    assert alone.level == (
        "The network is near zero in every region (mean lesion-wise Dice below 0.1): it hardly segments anything there."
    )
    assert told_of_run(read_run(make_run("fine", cases=CASES, scores=scored(0.0, 1)))).level == ""


def test_a_region_that_few_patients_have_allows_a_single_run_no_conclusion(make_run):
    rows = scored(0.0, 1)
    for case in CASES[3:]:
        rows[case, "ET"]["lesion_wise_dice"] = ""
    found = told_of_run(read_run(make_run("few", cases=CASES, scores=rows)))
    assert "on 3 of 8" in found.sentence
    assert found.kind == "unclear"
    assert "no intervals below 6 patients" in found.sure
    assert told_of_run(read_run(make_run("all", cases=CASES, scores=scored(0.0, 1)))).kind == "reached"
