"""Figures over all cases: what they hold by hand, their colours, and tables that lack pieces."""

import re
import xml.etree.ElementTree as ET

import pytest

from mets3d.reporting.charts.cases import scores_figure, volumes_figure
from mets3d.reporting.charts.froc import froc_figure
from mets3d.reporting.charts.lesions import dice_figure, recall_figure
from mets3d.reporting.charts.style import run_colours
from mets3d.reporting.read_run import read_run
from tests.reporting.conftest import FROC, random_lesions, write_table

FIGURES = (scores_figure, recall_figure, dice_figure, froc_figure, volumes_figure)


CASES = ("A", "B", "C")


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


def test_the_share_at_0_and_with_a_penalty_stands_below(cohort_run, monkeypatch):
    record = cohort_run(seed=1)
    for row in record.scores:
        row["lesion_wise_dice"] = 0.0 if row["case"] in ("A", "B") else 0.7
        row["lesions_missed"], row["lesions_false"] = (0, 1) if row["case"] == "A" else (0, 0)
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
    assert record.lesions[0]["size_class"] == ""
    assert recall_figure([record], CASES) is None
    assert not [note for note in record.notes if "lesions.csv" in note.text]


def test_a_froc_table_cut_off_is_named(make_run, scores_of):
    run = make_run(scores=scores_of(CASES, 0))
    write_table(run / "froc.csv", ("case", "region"), [("A", "ET")])
    assert "froc.csv cannot be read" in " ".join(note.text for note in read_run(run).notes)
    write_table(run / "froc.csv", FROC, [*POINTS, ("A", "ET", "brats2023", "", "", "", "")])
    assert len(read_run(run).froc) == len(POINTS)
