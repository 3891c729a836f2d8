import csv
import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from mets3d.reporting.charts.cases import scores_figure, volumes_figure
from mets3d.reporting.charts.cohort import agreement, froc, recall_by_size, share_of, size_edges_mm3
from mets3d.reporting.charts.lesions import dice_figure, froc_figure, recall_figure
from mets3d.reporting.charts.style import run_colours
from mets3d.reporting.cohort_section import cohort_section
from mets3d.reporting.figures import Figures
from mets3d.reporting.run_record import read_run
from mets3d.statistics.agreement import volume_agreement
from mets3d.statistics.intervals import proportion_interval

LESIONS = ("case", "region", "rules", "lesion", "kind", "size_class", "reference_volume_mm3", "dice", "hd95")
FROC = ("case", "region", "rules", "threshold", "lesions_found", "lesions_missed", "lesions_false")
FIGURES = (scores_figure, recall_figure, dice_figure, froc_figure, volumes_figure)
CASES = ("A", "B", "C")


def write_table(path, columns, rows):
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)


def random_lesions(cases, seed, amount=40):
    rng = np.random.default_rng(seed)
    return [
        (
            *(case, region, "brats2023", number, kind, ""),
            *(float(rng.lognormal(4, 2)), float(rng.random()) if kind == "found" else 0.0, 1.0),
        )
        for case in cases
        for region in ("WT", "TC", "ET")
        for number, kind in enumerate(rng.choice(["found", "missed", "ignored", "false"], amount), 1)
    ]


@pytest.fixture
def cohort_run(make_run, scores_of):
    """A run whose tables hold volumes, lesions and, where given, FROC counts."""

    def make(name="base", seed=0, cases=CASES, lesions=None, points=None, volumes=True):
        scores = scores_of(cases, seed)
        rng = np.random.default_rng(seed)
        run = make_run(name, cases=cases, scores=scores)
        if volumes:
            rows = list(csv.DictReader((run / "scores.csv").read_text().splitlines()))
            for row in rows:
                row["reference_volume_mm3"], row["prediction_volume_mm3"] = rng.lognormal(7, 1, 2).tolist()
                row["lesion_wise_nsd_1.0"] = rng.random()
            write_table(run / "scores.csv", rows[0], [row.values() for row in rows])
        write_table(run / "lesions.csv", LESIONS, random_lesions(cases, seed) if lesions is None else lesions)
        if points is not None:
            write_table(run / "froc.csv", FROC, points)
        return read_run(run)

    return make


POINTS = [
    *(
        ("A", "ET", "brats2023", threshold, found, 4 - found, false)
        for threshold, found, false in ((0.2, 4, 5), (0.5, 3, 2))
    ),
    *(
        ("B", "ET", "brats2023", threshold, found, 2 - found, false)
        for threshold, found, false in ((0.2, 1, 3), (0.5, 0, 0))
    ),
    *(("C", "ET", "brats2023", threshold, 0, 0, false) for threshold, false in ((0.2, 1), (0.5, 1))),
    ("A", "ET", "brats2023", 0.9, 1, 3, 0),  # the other cases lack this threshold
]


def test_recall_by_size_counts_what_a_loop_counts(cohort_run):
    record = cohort_run()
    rows = list(csv.DictReader((record.run.path / "lesions.csv").read_text().splitlines()))
    edges = [0, 2, 27, 100, 275, math.inf]
    for region in ("WT", "TC", "ET"):
        classes = recall_by_size(record, region, ["A", "C"])
        assert [held.name for held in classes] == ["< 2", "2–27", "27–100", "100–275", "≥ 275"]
        for index, held in enumerate(classes):
            found = missed = 0
            for row in rows:
                inside = edges[index] <= float(row["reference_volume_mm3"]) < edges[index + 1]
                if row["region"] == region and row["case"] != "B" and inside:
                    found += row["kind"] == "found"
                    missed += row["kind"] == "missed"
            assert (held.found, held.lesions) == (found, found + missed)
            assert held.recall == (pytest.approx(found / (found + missed)) if found + missed else None)


def test_a_lesion_on_an_edge_is_in_the_upper_class(cohort_run):
    lesions = [
        ("A", "ET", "brats2023", number, "found", "", volume, 0.5, 1)
        for number, volume in enumerate((2, 27, 26.9, 275))
    ]
    classes = recall_by_size(cohort_run(lesions=lesions), "ET", CASES)
    assert [held.lesions for held in classes] == [0, 2, 1, 0, 1]
    assert {held.interval for held in classes} == {None}  # of one patient


def test_the_interval_is_that_of_patients(cohort_run):
    def lesions(case, found, missed):
        kinds = ["found"] * found + ["missed"] * missed
        return [(case, "ET", "brats2023", n, kind, "", 50.0, 0.5, 1) for n, kind in enumerate(kinds)]

    rows = [*lesions("A", 4, 1), *lesions("B", 1, 3), *lesions("C", 2, 2)]
    (held,) = [held for held in recall_by_size(cohort_run(lesions=rows), "ET", CASES) if held.lesions]
    expected = proportion_interval(np.array([4.0, 1, 2]), np.array([5.0, 4, 4]), CASES, fewest=2)
    assert held.interval == expected
    assert held.interval[0] < 7 / 13 < held.interval[1]


def test_size_classes_are_those_that_the_table_names(cohort_run):
    def row(name):
        return ("A", "ET", "brats2023", 1, "found", name, 20.0, 0.5, 1)

    assert size_edges_mm3([cohort_run("a", lesions=[row("")])]) == (2, 27, 100, 275)
    assert size_edges_mm3([cohort_run("b", lesions=[row("2_to_27")])]) == (2, 27, 100, 275)
    record = cohort_run("c", lesions=[row("below_0.5"), row("0.5_to_10"), row("from_10")])
    assert size_edges_mm3([record]) == (0.5, 10)
    assert [held.lesions for held in recall_by_size(record, "ET", CASES, (0.5, 10))] == [0, 0, 3]


def test_froc_points_by_hand(cohort_run):
    record = cohort_run(points=POINTS)
    points = froc(record, "ET", CASES)
    assert [point.threshold for point in points] == [0.2, 0.5]  # 0.9 is not there for all
    # 0.2: 5 of 6 lesions found, 9 false in 3 patients; 0.5: 3 of 6 found, 3 false
    assert [(point.sensitivity, point.false_per_patient) for point in points] == [(5 / 6, 3.0), (0.5, 1.0)]
    assert [point.f1 for point in points] == pytest.approx([2 * 5 / (5 + 6 + 9), 2 * 3 / (3 + 6 + 3)])
    (only_b,) = (point for point in froc(record, "ET", ["B"]) if point.threshold == 0.2)
    assert (only_b.sensitivity, only_b.false_per_patient) == (0.5, 3.0)
    assert froc(record, "ET", ["C"]) == []  # no lesion to find
    times = [(f"P-00{'ABC'.index(row[0]) // 2}-00{'ABC'.index(row[0])}", *row[1:]) for row in POINTS]
    both = froc(cohort_run("times", points=times), "ET", sorted({row[0] for row in times}))
    assert [point.false_per_patient for point in both] == [9 / 2, 3 / 2]  # two time points of one patient
    assert froc(record, "WT", CASES) == []


def test_agreement_is_that_of_the_cohort_table(cohort_run):
    record = cohort_run(seed=3)
    found = agreement(record, "TC", CASES)
    ours, theirs = (
        np.array([record.values("TC", f"{whose}_volume_mm3")[case] for case in CASES])
        for whose in ("prediction", "reference")
    )
    table = volume_agreement(ours, theirs, CASES)
    assert found.bias_mm3 == pytest.approx(table.bias_mm3)
    assert found.limits_mm3 == pytest.approx((table.lower_mm3, table.upper_mm3))
    assert found.difference_mm3.tolist() == (ours - theirs).tolist()
    assert found.mean_mm3.tolist() == ((ours + theirs) / 2).tolist()
    assert agreement(record, "TC", ["A"]).limits_mm3 is None
    assert agreement(record, "RC", CASES) is None


def test_shares():
    assert share_of([0.0, 0.5, 0.0, 1.0]) == 0.5
    assert share_of([]) == 0.0


def colours_in(svg):
    return set(re.findall(r"(?:stroke|fill): (#[0-9a-f]{6})", svg.decode().lower()))


def test_one_run_has_the_colours_of_regions_and_several_their_own(cohort_run):
    one, other = cohort_run("one", 1, points=POINTS), cohort_run("other", 2, points=POINTS)
    regions = {region.colour.lower() for region in one.regions}
    for figure in FIGURES:
        alone, compared = figure([one], CASES), figure([one, other], CASES)
        for svg in (alone, compared):
            ET.fromstring(svg)
        assert colours_in(alone) & regions
        assert {colour.lower() for colour in run_colours(2)} <= colours_in(compared)
        assert not colours_in(compared) & regions
        assert figure([one], CASES) == alone  # the same bytes


@pytest.mark.parametrize("kind", ["found", "missed"])
@pytest.mark.parametrize("cases", [("A",), ("A", "B", "C", "D", "E", "F")])
def test_every_lesion_found_or_missed_in_one_case_or_several(cohort_run, kind, cases):
    lesions = [(*row[:4], kind, *row[5:]) for row in random_lesions(cases, 4, amount=2)]
    points = [(case, "ET", "brats2023", 0.5, 2 * (kind == "found"), 2 * (kind == "missed"), 0) for case in cases]
    record = cohort_run(cases=cases, lesions=lesions, points=points)
    for figure in FIGURES:
        svg = figure([record], cases)
        assert svg is not None
        assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"


def test_what_cannot_be_drawn_is_named_with_its_command(cohort_run, make_run, scores_of, tmp_path):
    bare = read_run(make_run("bare", scores=scores_of(CASES, 0)))
    assert [figure([bare], CASES) is None for figure in FIGURES] == [False, True, True, True, True]
    html = cohort_section([bare], CASES, Figures(tmp_path / "bare"))
    assert [file.name for file in (tmp_path / "bare").iterdir()] == ["cohort_scores.svg"]
    assert html.count("mets3d evaluate") == 4
    assert html.count(" --held-out --probabilities") == 1
    for said in ("no recall by size", "no Dice against volume", "no FROC curve", "no Bland-Altman plot"):
        assert html.count(said) == 1

    whole = cohort_section([cohort_run("whole", points=POINTS)], CASES, Figures(tmp_path / "whole"))
    assert "mets3d" not in re.sub(r'"data:[^"]*"', "", whole)
    assert len(list((tmp_path / "whole").iterdir())) == 5

    unscored = read_run(make_run("unscored"))
    assert cohort_section([unscored], CASES, Figures(tmp_path / "unscored")) == ""


def test_references_without_a_lesion_need_no_command(cohort_run, tmp_path):
    false = [("A", "ET", "brats2023", 1, "false", "", 0.0, 0.0, 374.0)]
    points = [("A", "ET", "brats2023", 0.5, 0, 0, 1)]
    record = cohort_run(lesions=false, points=points)
    html = re.sub(r'"data:[^"]*"', "", cohort_section([record], CASES, Figures(tmp_path / "figures")))
    assert "The references hold no lesion that counts: no recall by size." in html
    assert "no FROC curve" in html
    assert "mets3d" not in html


def test_the_share_at_0_and_with_a_penalty_stands_below(cohort_run, monkeypatch):
    record = cohort_run(seed=1)
    for score in record.scores:
        score.values["lesion_wise_dice"] = 0.0 if score.case in ("A", "B") else 0.7
        score.values["lesions_missed"], score.values["lesions_false"] = (0, 1) if score.case == "A" else (0, 0)
    labels = []
    monkeypatch.setattr(
        "matplotlib.axes.Axes.set_xticks", lambda self, ticks, names=None, **kwargs: labels.append(names)
    )
    scores_figure([record], CASES)
    dice, hd95, _ = ([name.splitlines() for name in names] for names in labels if names)
    assert dice[2] == ["ET", "n = 3", "at 0: 67 %"]
    assert hd95[2] == ["ET", "n = 3", "penalty 33 %"]


def test_tables_of_an_older_version(make_run, scores_of):
    run = make_run(scores=scores_of(CASES, 0))
    write_table(run / "lesions.csv", ("case", "region", "lesion", "kind"), [("A", "ET", 1, "found")])
    record = read_run(run)
    assert record.lesions[0].size_class == ""
    assert recall_figure([record], CASES) is None
    assert record.found_lesions == {}
    assert not [note for note in record.notes if "lesions.csv" in note.text]


def test_a_froc_table_cut_off_is_named(make_run, scores_of):
    run = make_run(scores=scores_of(CASES, 0))
    write_table(run / "froc.csv", ("case", "region"), [("A", "ET")])
    assert "froc.csv cannot be read" in " ".join(note.text for note in read_run(run).notes)
    write_table(run / "froc.csv", FROC, [*POINTS, ("A", "ET", "brats2023", "", "", "", "")])
    assert len(read_run(run).froc) == len(POINTS)
