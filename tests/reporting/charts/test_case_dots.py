import xml.etree.ElementTree as ET

from mets3d.evaluation.scores import score_of
from mets3d.reporting.charts.case_dots import dots_figure
from mets3d.reporting.charts.style import run_colours
from mets3d.reporting.read_run import read_run

SCORES = [score_of("lesion_wise_dice"), score_of("lesion_wise_hd95")]


def test_dots_have_a_colour_a_run(make_run, scores_of):
    names = ("one", "two", "three")
    records = [read_run(make_run(name, scores=scores_of(("A", "B"), seed))) for seed, name in enumerate(names)]
    text = dots_figure(records, ["A", "B"], SCORES).decode()
    assert all(colour.lower() in text.lower() for colour in run_colours(3))
    ET.fromstring(text)


def test_dots_of_a_case_that_one_run_has_no_value_for(make_run, scores_of):
    scores = scores_of(("A", "B"), 0)
    scores["A", "WT"]["lesion_wise_hd95"] = ""
    records = [read_run(make_run("one", scores=scores)), read_run(make_run("two", scores=scores_of(("A", "B"), 1)))]
    assert ET.fromstring(dots_figure(records, ["A", "B"], SCORES[1:])).tag.endswith("svg")
