"""What the sections of the page say."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from mets3d.data.cases import Finding
from mets3d.data.describe_places import CasePlaces, collect_places, describe_places
from mets3d.reporting.explore.findings import findings_section, grouped, verdict
from mets3d.reporting.explore.grids import grids_section
from mets3d.reporting.explore.intensities import intensities_section, odd_cases
from mets3d.reporting.explore.lesions import lesions_section
from mets3d.reporting.explore.nesting import nesting_section
from mets3d.reporting.explore.overview import overview
from mets3d.reporting.explore.places import heat_map, places_section
from mets3d.reporting.explore.time_points import time_points_section
from mets3d.reporting.explore.words import names_text, share_text, short, spread_text, thousands
from tests.builders.described import described
from tests.builders.structure import Structure
from tests.reporting.conftest import Page


def table_rows(html: str, caption: str) -> list[list[str]]:
    (rows,) = [rows for title, rows in Page(html).tables.items() if title.startswith(caption)]
    return rows[1:]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Drawing takes the time of a test; the page of conftest.py has every chart."""
    monkeypatch.setattr("mets3d.reporting.explore.chart._svg", lambda draw, height: '<svg viewBox="0 0 1 1"></svg>')


@pytest.fixture(scope="module")
def data():
    return described(60, seed=1)


def test_lesions_are_counted_by_region_and_size(data):
    html = lesions_section(data).html
    volumes = np.array([lesion.volume_mm3 for case in data.cases for lesion in case.lesions["ET"]])
    counts = np.array([len(case.lesions["ET"]) for case in data.cases])
    (row,) = [row for row in table_rows(html, "Lesions by region") if row[0] == "ET"]
    assert row[1:3] == [str((counts > 0).sum()), str(len(volumes))]
    assert row[4] == str(counts.max())
    low, middle, high = np.quantile(volumes, [0.25, 0.5, 0.75])
    assert row[5] == f"{short(middle)} [{short(low)} to {short(high)}]"
    (row,) = [row for row in table_rows(html, "Lesions by size") if row[0] == "ET"]
    edges = [0, 2, 27, 100, 275, np.inf]
    expected = [int(((volumes >= a) & (volumes < b)).sum()) for a, b in pairwise(edges)]
    assert [int(cell.split(" ")[0]) for cell in row[1:]] == expected
    small = int((volumes < 27).sum())
    assert f"ET: {share_text(small, len(volumes))} of the lesions are below 27 mm³" in html


def test_empty_references_and_cavities_are_named(data):
    html = lesions_section(data).html
    empty = [case.name for case in data.cases if not case.labels]
    cavities = [case for case in data.cases if 4 in case.labels]
    assert empty
    assert all(name in html for name in empty)
    later = sum(case.name.endswith("-001") for case in cavities)
    assert f"{len(cavities)} cases ({share_text(len(cavities), 60)}) with a resection cavity" in html
    assert f"; {later} of them at a patient&#39;s second time point or later" in html


def test_label_sets_and_the_make_up_of_regions(data):
    html = nesting_section(data).html
    rows = {row[0]: row for row in table_rows(html, "Label sets seen")}
    sets = [case.labels for case in data.cases]
    assert rows["NETC + SNFH + ET"][-2] == str(sets.count((1, 2, 3)))
    assert rows["empty"][-2] == str(sets.count(()))
    assert rows["Cases with it"][1:5] == [str(sum(label in own for own in sets)) for label in (1, 2, 3, 4)]
    make_up = {(row[0], row[1]): row for row in table_rows(html, "What regions are made of")}
    assert make_up["WT", "SNFH"][-1] == "78 %"  # 4 of 0.1 + 4 + 1
    assert make_up["TC", "ET"][-1] == "91 %"  # 1 of 1.1


def test_time_points_stand_in_their_order(data):
    html = time_points_section(data).html
    first = [case.volume_mm3((1, 2, 3)) / 1000 for case in data.cases if case.name.endswith("-000")]
    rows = table_rows(html, "Volumes by time point")
    assert [row[:2] for row in rows] == [["1", "30"], ["2", "30"]]
    assert rows[0][2].split(" ")[0] == short(float(np.median(first)))
    alone = replace(data, cases=[case for case in data.cases if case.name.endswith("-000")])
    assert time_points_section(alone) is None


def test_grids_say_how_many_are_anisotropic(data):
    html = grids_section(data).html
    uneven = sum(max(case.spacing_mm) / min(case.spacing_mm) > 1.05 for case in data.cases)
    assert f"{uneven} cases ({share_text(uneven, 60)}) with voxels that are anisotropic" in html
    assert "the worst 2 times longer than wide" in html
    shapes = {row[0]: row[1] for row in table_rows(html, "Shapes")}
    assert shapes["240 × 240 × 155"] == str(sum(case.shape == (240, 240, 155) for case in data.cases))


def test_an_intensity_far_from_the_others_is_named(data):
    name = data.cases[7].name
    own = data.cases[7].intensities["t1c"]
    odd = replace(data.cases[7], intensities={**data.cases[7].intensities, "t1c": replace(own, highest=1e7)})
    other = replace(data, cases=[odd if case.name == name else case for case in data.cases])
    assert odd_cases({case.name: case.intensities["t1c"] for case in other.cases}) == [name]
    html = intensities_section(other).html
    assert html.count(f"Far from the others: {name}.") == 1
    assert [row[-1] for row in table_rows(html, "Values inside the brain")] == ["–", name, "–", "–"]


def test_the_main_numbers_come_first(data):
    page = Structure(overview(data).html)
    for tile in ("Cases60", "Patients30", "Time points1 to 2", "References60"):
        assert tile in page.text
    assert "Read this first" not in page.text
    finding = Finding("BraTS-MET-00001-000", "error", "unreadable file", "t1c")
    bad = replace(data, report=replace(data.report, findings=[finding]))
    assert "1 case cannot be used: BraTS-MET-00001-000" in Structure(overview(bad).html).text


def test_a_data_set_without_references_or_scans_has_a_page_all_the_same(data):
    bare = [replace(case, label_mm3=None, lesions={}) for case in data.cases]
    nothing = [replace(case, sequences=(), shape=(), spacing_mm=None, intensities={}) for case in bare]
    for cases in (bare, nothing):
        own = replace(data, cases=cases, places=collect_places([]))
        assert [lesions_section(own), nesting_section(own), places_section(own)] == [None] * 3
        assert "References0" in Structure(overview(own).html).text
    assert [grids_section(own), intensities_section(own)] == [None] * 2


# ---------------------------------------------------------------- findings


def test_findings_are_grouped_worst_first():
    found = [
        *(Finding(f"case {n}", "note", "negative values", f"t1c has {n}") for n in range(80)),
        Finding("case 3", "error", "unreadable file", "cut off", "fetch it again"),
        *(Finding(f"case {n}", "warning", "skull not stripped?", "") for n in range(5)),
        Finding("case 1", "note", "empty reference", ""),
    ]
    assert [(own[0].what, len(own)) for own in grouped(found)] == [
        *(("unreadable file", 1), ("skull not stripped?", 5), ("negative values", 80), ("empty reference", 1)),
    ]
    data = described(4, findings=found)
    assert verdict(data) == "1 error, 5 warnings, 81 notes; 1 case cannot be used: case 3."
    html = findings_section(data).html
    assert "case 0, case 1, case 2 and 77 more" in html
    assert "cut off; fetch it again" in html
    assert "and 30 others" in html  # of the details
    assert verdict(described(4)) == "No findings: every case can be used."


# ---------------------------------------------------------------- places


def box_with(x: slice) -> CasePlaces:
    brain, labels = np.ones((20, 20, 20), dtype=bool), np.zeros((20, 20, 20), np.uint8)
    labels[x, 15:18, 3:6] = 3
    return describe_places(brain, labels, (slice(0, 20), slice(0, 20), slice(0, 20)))


def test_the_map_shows_the_patients_right_on_the_left_and_front_and_top_up():
    right = box_with(slice(14, 18)).tumour
    assert right is not None
    axial, coronal, sagittal = (heat_map(right[plane], 1.0) for plane in ("axial", "coronal", "sagittal"))
    for shown in (axial, coronal):
        assert shown[:, :24].sum() == pytest.approx(shown.sum())  # right of the patient on the left
    assert axial[:24].sum() == pytest.approx(axial.sum())  # in front
    assert coronal[24:].sum() == pytest.approx(coronal.sum())  # below
    assert sagittal[:, :24].sum() == pytest.approx(sagittal.sum())  # front on the left


def test_dots_lie_on_the_map_s_side_and_sides_are_counted():
    data = described(1)
    lesion = replace(data.cases[0].lesions["TC"][0], place=(0.9, 0.9, 0.1), volume_mm3=3000.0)
    case = replace(data.cases[0], lesions={"WT": [lesion], "TC": [lesion], "ET": [], "RC": []})
    html = places_section(replace(data, cases=[case], places=collect_places([box_with(slice(14, 18))]))).html
    assert "100 % of 1 lesion lies on the patient&#39;s right" in html
    axial, coronal, sagittal = [
        (float(x) < 120, float(y) < 120) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', html)
    ]
    assert (axial, coronal, sagittal) == ((True, True), (True, False), (True, False))
    rows = {row[0]: row[1:4] for row in table_rows(html, "Lesions by half of the brain")}
    assert rows["right half"] == ["1", "100 %", "3 ml"]
    assert rows["left half"] == rows["upper half"] == ["0", "0 %", "0 ml"]
    assert Structure(html).faults == []


# ---------------------------------------------------------------- words


def test_numbers_have_three_significant_digits():
    shown = {0.06523: "0.0652", 39.71: "39.7", 1234.4: "1,230", 96130.0: "96,100", -2.5: "−2.5", 0.0: "0", 100.0: "100"}
    assert {value: short(value) for value in shown} == shown
    assert short(None) == short(float("nan")) == "–"
    assert [thousands(value) for value in (1, 1000, 10_000, 2e6)] == ["1", "1,000", "10k", "2M"]
    assert [share_text(part, 3000) for part in (0, 1, 20, 1500)] == ["0 %", "< 0.1 %", "0.7 %", "50 %"]
    assert spread_text(None) == "–"
    assert names_text(["a", "b", "c"], 2) == "a, b and 1 more"
