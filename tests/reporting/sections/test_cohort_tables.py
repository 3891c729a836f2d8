"""The cohort's tables on the page, against the statistics' own numbers and by hand."""

import csv

from mets3d.reporting.html_table import flow
from mets3d.reporting.read_run import read_run
from mets3d.reporting.sections.cohort_tables import cohort_tables
from mets3d.statistics.cohort import cohort_table
from mets3d.statistics.score_table import read_scores
from tests.reporting.conftest import Page, tables

CASES = ("A", "B", "C", "D", "E", "F", "G")


def interval(row, digits):
    if row["ci_low"] is None:
        return f"{row['mean']:.{digits}f}"
    return f"{row['mean']:.{digits}f} ({row['ci_low']:.{digits}f} to {row['ci_high']:.{digits}f})"


def test_detection_is_the_cohorts(make_run, scores_of):
    scores = scores_of(CASES, 1)
    scores["A", "ET"]["lesion_wise_dice"] = 0.0
    scores["B", "ET"]["lesion_wise_dice"] = ""
    run = make_run(cases=CASES, scores=scores)
    found = tables(flow(*cohort_tables(read_run(run))))["Detection"]
    expected = {row["score"]: row for row in cohort_table(read_scores(run)) if row["region"] == "ET"}
    assert found["ET"] == [
        *(interval(expected[f"pooled_{name}"], 3) for name in ("precision", "recall", "f1")),
        interval(expected["false_per_patient"], 2),
        interval(expected["lesion_wise_dice_zeros"], 3),
        interval(expected["lesion_wise_dice_without_value"], 3),
    ]
    assert found["ET"][4].startswith("0.167 (")
    assert found["ET"][5].startswith("0.143 (")
    assert found["WT"][5] == "0.000"


def test_held_out_cases_alone_make_the_cohort(make_run, scores_of):
    scores = scores_of(("A", "B", "T1"), 2)
    found = tables(flow(*cohort_tables(read_run(make_run(cases=("A", "B"), scores=scores)))))["Detection"]["WT"]
    counts = [sum(scores[case, "WT"][f"lesions_{kind}"] for case in "AB") for kind in ("found", "missed", "false")]
    assert found[1] == f"{counts[0] / (counts[0] + counts[1]):.3f}"
    assert found[3] == f"{counts[2] / 2:.2f}"


def test_recall_by_size_from_either_table(make_run, scores_of):
    run = make_run(cases=CASES, scores=scores_of(CASES, 3))
    assert "Recall by lesion size" not in tables(flow(*cohort_tables(read_run(run))))
    lesions = [(case, "found", 10.0) for case in CASES] + [
        ("A", "missed", 10.0),
        ("unscored", "missed", 10.0),
        ("A", "missed", 1.0),
        ("B", "found", 300),
    ]
    rows = "".join(f"{case},ET,brats2023,{kind},{mm3},{n}\n" for n, (case, kind, mm3) in enumerate(lesions))
    (run / "lesions.csv").write_text("case,region,rules,kind,reference_volume_mm3,lesion\n" + rows)
    html = flow(*cohort_tables(read_run(run)))
    headings, *_, shown = Page(html).tables["Recall by lesion size"]
    assert headings == ["Region", "< 2 mm³", "2 to < 27 mm³", "≥ 275 mm³"]
    assert shown[:2] == ["ET", "0.000 0 of 1 in 1 case"]
    assert shown[2].startswith("0.875 (0.5")
    assert shown[2].endswith(") 7 of 8 in 7 cases")
    assert shown[3] == "1.000 1 of 1 in 1 case"


def test_volumes(make_run, scores_of):
    run = make_run(cases=CASES[:4], scores=scores_of(CASES[:4], 4))
    assert "Agreement of volumes" not in tables(flow(*cohort_tables(read_run(run))))
    with (run / "scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for row, difference in zip(rows[2::3], (1, 3, -1, 1), strict=True):
        row |= {"reference_volume_mm3": 100, "prediction_volume_mm3": 100 + difference}
    with (run / "scores.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[2]))
        writer.writeheader()
        writer.writerows(rows)
    found = tables(flow(*cohort_tables(read_run(run))))["Agreement of volumes"]
    assert list(found) == ["ET"]
    assert found["ET"][:4] == ["4", "+1", "−2", "+4"]


def test_runs_without_scores_have_no_tables(make_run):
    assert cohort_tables(read_run(make_run())) == []
