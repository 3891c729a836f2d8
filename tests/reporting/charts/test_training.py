import xml.etree.ElementTree as ET

import numpy as np

from mets3d.regions import scored_regions
from mets3d.reporting.charts.style import run_colours
from mets3d.reporting.charts.training import base_loss, curve, dots_figure, overlay_figure, thinned, training_figure
from mets3d.reporting.compare import METRICS
from mets3d.reporting.run_record import read_run


def test_a_curve_leaves_out_what_has_no_finite_value():
    rows = [
        {"step": 1, "x": 2.0},
        {"step": 2, "x": None},
        {"step": 3},
        {"step": 4, "x": float("nan")},
        {"step": 5, "x": 1},
    ]
    steps, values = curve(rows, "x")
    assert steps.tolist() == [1, 5]
    assert values.tolist() == [2, 1]
    assert curve([], "x")[0].shape == (0,)


def test_thinning_takes_means_of_neighbours():
    steps, values = np.arange(1.0, 13.0), np.arange(12.0) ** 2
    few_steps, few_values = thinned((steps, values), 4)
    assert few_steps.tolist() == [2, 5, 8, 11]
    assert few_values.tolist() == [float(np.mean(part)) for part in np.split(values, 4)]
    assert thinned((steps, values), 12)[1] is values


def test_the_base_loss_is_the_sum_of_the_parts_without_the_boundary_term():
    rows = [
        {"step": 1, "loss": 9.0, "loss/dice": 1.0, "loss/bce": 2.0, "loss/boundary": 6.0, "loss/boundary/WT": 6.0},
        {"step": 2, "loss": 4.0, "loss/dice": 1.0, "loss/bce": None},
        {"step": 3, "loss": 4.0},
    ]
    steps, values = base_loss(rows)
    assert steps.tolist() == [1, 2]
    assert values.tolist() == [3.0, 1.0]


def colours_in(svg):
    text = svg.decode().lower()
    return {region.name for region in scored_regions(cavity=True) if f"stroke: {region.colour.lower()}" in text}


def test_validation_curves_have_the_colours_of_their_regions(make_run):
    log = [{"step": step, "kind": "validation", "dice/WT": 0.5, "dice/ET": 0.4} for step in (10, 20, 40)]
    svg = training_figure(read_run(make_run(metrics=log)))
    assert colours_in(svg) == {"WT", "ET"}
    ET.fromstring(svg)


def test_the_same_log_gives_the_same_bytes(make_run):
    record = read_run(make_run())
    assert training_figure(record) == training_figure(record)


def test_overlay_and_dots_have_a_colour_a_run(make_run, scores_of):
    names = ("one", "two", "three")
    records = [read_run(make_run(name, scores=scores_of(("A", "B"), seed))) for seed, name in enumerate(names)]
    for svg in (overlay_figure(records), dots_figure(records, ["A", "B"], METRICS[:2])):
        text = svg.decode().lower()
        assert all(colour.lower() in text for colour in run_colours(3))
        ET.fromstring(svg)


def test_dots_of_a_case_that_one_run_has_no_value_for(make_run, scores_of):
    scores = scores_of(("A", "B"), 0)
    scores["A", "WT"]["lesion_wise_hd95"] = ""
    records = [read_run(make_run("one", scores=scores)), read_run(make_run("two", scores=scores_of(("A", "B"), 1)))]
    assert ET.fromstring(dots_figure(records, ["A", "B"], METRICS[1:2])).tag.endswith("svg")
