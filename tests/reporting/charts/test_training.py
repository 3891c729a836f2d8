import xml.etree.ElementTree as ET

from matplotlib.figure import Figure

from mets3d.regions import scored_regions
from mets3d.reporting.charts import training
from mets3d.reporting.charts.style import run_colours
from mets3d.reporting.charts.training import base_loss, overlay_figure, training_figure
from mets3d.reporting.read_run import read_run


def test_the_base_loss_is_the_sum_of_the_parts_without_the_boundary_term():
    rows = [
        {"step": 1, "loss": 9.0, "loss/dice": 1.0, "loss/bce": 2.0, "loss/boundary": 6.0, "loss/boundary/WT": 6.0},
        {"step": 2, "loss": 4.0, "loss/dice": 1.0, "loss/bce": None},
        {"step": 3, "loss": 4.0},
    ]
    steps, values = base_loss(rows)
    assert steps.tolist() == [1, 2]
    assert values.tolist() == [3.0, 1.0]


def test_each_of_several_terms_is_drawn_and_none_is_in_the_base_loss(make_run, monkeypatch):
    names = {"loss/boundary/blob": 0.5, "loss/boundary/blob/WT": 0.5, "loss/boundary/top_k": 4.0}
    names |= {"loss/boundary/top_k/WT": 4.0, "boundary_weight/blob": 0.2, "boundary_weight/top_k": 0.1}
    rows = [{"step": step, "kind": "train", "loss": 3.0, "loss/dice": 1.0, "lr": 1.0, **names} for step in (1, 2)]
    assert base_loss(rows)[1].tolist() == [1, 1]
    axes = drawn_by(monkeypatch, lambda: training_figure(read_run(make_run(metrics=rows))))
    parts = axes["Parts of the loss"].lines
    assert {line.get_label(): line.get_ydata().tolist() for line in parts} == {
        "dice": [1, 1],
        "boundary: blob": [0.5, 0.5],
        "boundary: top k": [4, 4],
    }
    weights = [line.get_label() for line in axes["Schedule, share of the peak"].lines]
    assert weights == ["learning rate, peak 1", "boundary weight: blob, peak 0.2", "boundary weight: top k, peak 0.1"]


def drawn_by(monkeypatch, draw_figure):
    """The axes of a figure by their titles."""
    drawn = {}

    def panels(rows, columns, draw, **_):
        axes = list(Figure().subplots(rows, columns).flat)
        draw(axes)
        drawn.update({axis.get_title(loc="left") or axis.get_title(): axis for axis in axes})
        return b""

    monkeypatch.setattr(training, "panels", panels)
    draw_figure()
    return drawn


def colours_in(svg):
    text = svg.decode()
    return {region.name for region in scored_regions(cavity=True) if f"stroke: {region.colour.lower()}" in text}


def test_validation_curves_have_the_colours_of_their_regions(make_run):
    log = [{"step": step, "kind": "validation", "dice/WT": 0.5, "lesion_wise_dice/ET": 0.4} for step in (10, 20, 40)]
    svg = training_figure(read_run(make_run(metrics=log)))
    assert colours_in(svg) == {"WT", "ET"}
    ET.fromstring(svg)
    f1 = [row | {"lesion_f1/TC": 0.1} for row in log]
    svg = training_figure(read_run(make_run("f1", metrics=f1)))
    assert colours_in(svg) == {"WT", "TC", "ET"}


def test_scores_of_all_cases_are_marks_beside_the_curves_of_the_subset(make_run, monkeypatch):
    rows = [{"step": step, "kind": "validation", "lesion_wise_dice/WT": 0.01 * step} for step in (10, 20, 40)]
    record = read_run(make_run(metrics=[*rows[:2], rows[2] | {"all/lesion_wise_dice/WT": 0.3}]))
    drawn = [
        drawn_by(monkeypatch, draw) for draw in (lambda: training_figure(record), lambda: overlay_figure([record]))
    ]
    for axes, title in zip(drawn, ("Validation: lesion-wise Dice", "Validation: lesion-wise Dice, WT"), strict=True):
        curve, marks = axes[title].lines
        assert curve.get_ydata().tolist() == [0.1, 0.2, 0.4]
        assert (marks.get_xdata().tolist(), marks.get_ydata().tolist()) == ([40.0], [0.3])
        assert (marks.get_linestyle(), marks.get_marker()) == ("None", "D")


def test_the_same_log_gives_the_same_bytes(make_run):
    record = read_run(make_run())
    assert training_figure(record) == training_figure(record)


def test_the_overlay_has_a_colour_a_run(make_run, scores_of):
    names = ("one", "two", "three")
    records = [read_run(make_run(name, scores=scores_of(("A", "B"), seed))) for seed, name in enumerate(names)]
    text = overlay_figure(records).decode()
    assert all(colour.lower() in text.lower() for colour in run_colours(3))
    ET.fromstring(text)


def test_a_score_of_one_validation_has_no_panel(make_run, monkeypatch):
    rows = [{"step": step, "kind": "validation", "dice/WT": 0.5} for step in (10, 20)]
    rows.append({"step": 30, "kind": "validation", "lesion_wise_dice/WT": 0.5})
    record = read_run(make_run(metrics=rows))
    for draw in (lambda: training_figure(record), lambda: overlay_figure([record])):
        titles = [title for title in drawn_by(monkeypatch, draw) if title.startswith("Validation")]
        assert titles in (["Validation: whole-volume Dice"], ["Validation: whole-volume Dice, WT"])
    single = read_run(make_run("single", metrics=rows[:1]))
    assert b"Validation" not in training_figure(single)


def test_the_axis_of_low_scores_ends_near_them(make_run, monkeypatch):
    for highest, top in ((0.1, 0.125), (0.2, 1.0), (0.9, 1.0), (0.0, 0.02)):
        rows = [{"step": step, "kind": "validation", "dice/WT": highest * step / 20} for step in (10, 20)]
        record = read_run(make_run(f"run{highest}", metrics=rows))
        axes = drawn_by(monkeypatch, lambda record=record: training_figure(record))
        assert axes["Validation: whole-volume Dice"].get_ylim() == (0, top)
