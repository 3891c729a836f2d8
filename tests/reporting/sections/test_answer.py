import re

import numpy as np
import pytest

from mets3d.reporting.compare import cases_in_all, compared
from mets3d.reporting.figures import Figures
from mets3d.reporting.read_run import read_run, read_runs
from mets3d.reporting.run_record import Note
from mets3d.reporting.sections.answer import answer_of_comparison, answer_of_run
from tests.reporting.conftest import Page, random_scores

CASES = ("A", "B", "C", "D", "E", "F", "G")
BASELINE = {"sequence": "t2f", "region": "WT", "per_case": dict.fromkeys(CASES, 0.25)}


def test_a_run_against_the_threshold_by_the_same_score_and_cases(make_run):
    scores = random_scores(CASES, 0)
    section = answer_of_run(read_run(make_run(cases=CASES, scores=scores, baseline=BASELINE)), [])
    text = Page(section.html).text
    assert section.title == "How well does base find and outline metastases in cases that it has not seen?"
    dice = np.mean([scores[case, "ET"]["lesion_wise_dice"] for case in CASES])
    assert f"Lesion-wise Dice {dice:.3f} in ET" in text
    drawn = np.random.default_rng(0).integers(7, size=(10_000, 7))
    values = np.array([scores[case, "ET"]["lesion_wise_dice"] for case in CASES])
    low, high = np.quantile(values[drawn].mean(1), [0.025, 0.975])
    assert f"in ET is {dice:.3f} (95 % interval {low:.3f} to {high:.3f}), on 7 cases, one training; it is " in text
    whole = np.mean([scores[case, "WT"]["dice"] for case in CASES])
    assert "no difference shown, by whole-volume WT Dice on the same 7 cases" in text
    hd95 = np.mean([scores[case, "ET"]["lesion_wise_hd95"] for case in CASES])
    assert f"The mean lesion-wise HD95 in ET is {hd95:.1f} mm (95 % interval " in text
    assert f"network {whole:.3f}, threshold 0.250" in text
    found, missed = (sum(scores[case, "ET"][f"lesions_{kind}"] for case in CASES) for kind in ("found", "missed"))
    assert f"{found} of {found + missed} lesions found" in text.replace("\u00a0", " ")


def test_few_patients_have_no_interval_and_a_trained_case_is_named(make_run):
    cases = ("T1", "T2")
    run = read_run(make_run(cases=cases, trained_on=cases, scores=random_scores(cases, 0), baseline=None))
    section = answer_of_run(run, [Note("grave", weighty=True), Note("minor")])
    assert section.title.endswith("in cases that it was trained on?")
    text = Page(section.html).text
    assert "There are no intervals below 6 patients" in text
    assert "95 % interval" not in text
    assert "1 remark bears on these numbers" in text
    assert answer_of_run(read_run(make_run("bare")), []) is None


@pytest.fixture
def section(make_run, tmp_path):
    def make(*arms):
        runs = [
            make_run(name, cases=CASES, scores=random_scores(CASES, seed), settings=settings)
            for name, seed, settings in arms
        ]
        records = read_runs(runs)
        study = compared(records, cases_in_all(records))
        return answer_of_comparison(records, CASES, study, Figures(tmp_path / "figures"), []), study

    return make


def test_a_pair_has_the_question_tiles_and_a_described_forest(section):
    made, study = section(("base", 0, {}), ("term", 1, {"loss": {"boundary": "blob"}}))
    assert made.title == "Does adding the blob term give better boundaries (HD95) and more lesions found?"
    text = Page(made.html).text
    test = study.difference("term", "ET", "lesion_wise_dice")
    assert signed(test.found.difference) in text
    found = test.found  # the last tile is that of ET
    base, term = (re.findall(rf"{arm} (0\.\d+) \(", text)[-1] for arm in ("base", "term"))
    assert [base, term] == [
        f"{mean:.{len(own) - 2}f}" for own, mean in ((base, found.reference_mean), (term, found.method_mean))
    ]
    assert signed(float(term) - float(base)) == signed(found.difference)
    assert 'alt="Forest plot of differences from base by Lesion-wise Dice, Lesion-wise HD95' in made.html
    assert f"Lesion-wise Dice ET {signed(test.found.difference)} (" in made.html
    assert "Holm" in text


def test_several_arms_have_a_row_each_that_leads_to_their_section(section):
    made, study = section(("base", 0, {}), ("one", 1, {"seed": 5}), ("two", 2, {"train": {"steps": 9}}))
    assert made.title == "Does any of 2 arms give better boundaries (HD95) and more lesions found than base?"
    (rows,) = Page(made.html).tables.values()
    assert {row[0] for row in rows[1:]} == {"one", "two"}
    assert 'href="#pair-1"' in made.html
    row = next(row for row in rows if row[0] == "two")
    score, region = row[2].split(", ")
    column = next(own.score.column for own in study.differences if own.score.name == score)
    digits = 2 if column == "lesion_wise_hd95" else 3
    assert row[3].startswith(signed(study.difference("two", region, column).found.difference, digits))


def test_runs_without_scores_in_common(make_run, tmp_path):
    records = read_runs([make_run("one", scores=random_scores(("A",), 0)), make_run("two")])
    made = answer_of_comparison(records, [], None, Figures(tmp_path / "figures"), [])
    assert "there is nothing to compare" in Page(made.html).text
    assert not list((tmp_path / "figures").iterdir())


def signed(value, digits=3):
    return f"{value:+.{digits}f}".replace("-", "−")
