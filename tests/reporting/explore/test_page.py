"""The page about a data set as a whole."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from mets3d.__main__ import main
from mets3d.data.cases import Case, CaseList, Finding
from mets3d.reporting.explore import explore
from mets3d.reporting.explore.intensities import _sequence_chart
from mets3d.reporting.explore.page import explore_html
from tests.builders.cases import make_case
from tests.builders.described import described


@pytest.fixture
def undrawn(monkeypatch):
    """Drawing takes the time of a test; the page of conftest.py has every chart."""
    monkeypatch.setattr("mets3d.reporting.explore.chart._svg", lambda draw, height: '<svg viewBox="0 0 1 1"></svg>')


def rows_of(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


SECTIONS = ["overview", "grids", "intensities", "lesions", "labels", "times", "places", "pictures", "findings", "cases"]


def test_every_part_is_there_and_linked(small_page, small_structure):
    assert sorted(file.name for file in small_page.iterdir()) == ["cases.csv", "index.html", "lesions.csv"]
    html = (small_page / "index.html").read_text(encoding="utf-8")
    assert [own["id"] for own in small_structure.named("h2") if "id" in own] == SECTIONS
    assert [own["href"] for own in small_structure.named("a")][:1] == ["#content"]
    targets = {own["href"] for own in small_structure.named("a")}
    assert targets == {"#content", *(f"#{key}" for key in SECTIONS)}
    assert "MET-003-000 cannot" not in small_structure.text
    for text in (
        "1 case cannot be used: MET-003-000",
        "1 empty reference (no visible disease): MET-002-000",
        (
            "1 case (25\u00a0%) with a resection cavity (RC), 0.008 ml; "
            "1 of them at a patient's second time point or later"
        ),
        "1 patient of 4 (25\u00a0%) has more than one time point",
        "t2f in 4",
    ):
        assert text in small_structure.text
    edges = [text for text in ("2", "27", "100", "275") if f">{text}</text>" in html]
    assert edges == ["2", "27", "100", "275"]  # the size classes on the charts of volumes


def test_the_page_is_sound_html(small_structure):
    assert small_structure.faults == []
    ids = [attributes["id"] for _, attributes in small_structure.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = re.findall(
        r"#([\w.-]+)", " ".join(str(value) for _, own in small_structure.elements for value in own.values())
    )
    assert {name for name in used if not re.fullmatch(r"[0-9a-fA-F]{3,6}", name)} <= set(ids)


def test_the_page_can_be_read_without_seeing_it(small_structure):
    assert small_structure.named("html")[0]["lang"] == "en"
    levels = [level for level, _ in small_structure.headings]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(text.strip() for _, text in small_structure.headings)
    for drawing in small_structure.named("svg"):
        assert drawing["role"] == "img"
        assert len(str(drawing["aria-label"])) > 20
    assert all(own.get("scope") in {"col", "row"} for own in small_structure.named("th"))
    for box in [own for own in small_structure.named("div") if own.get("role") == "region"]:
        assert box["tabindex"] == "0"  # what scrolls can be reached by keyboard
        assert box["aria-label"]


def test_the_page_loads_nothing(small_page, small_structure):
    assert not {tag for tag, _ in small_structure.elements} & {
        "link",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
        "img",
    }
    assert all("src" not in own for own in small_structure.named("script"))
    html = (small_page / "index.html").read_text(encoding="utf-8")
    without_names = re.sub(r'xmlns(:\w+)?="http://www\.w3\.org/[^"]*"', "", html)
    assert not re.search(r"https?:|//[a-z]", without_names)
    assert "@import" not in html
    assert all(reference.startswith("#") for reference in re.findall(r"url\(['\"]?([^)'\"]*)", html))
    held = [own.get("href") or own.get("xlink:href") for own in small_structure.named("image")]
    assert held
    assert all(str(source).startswith("data:image/png;base64,") for source in held)


def test_cases_csv_has_the_numbers_of_every_case(small_page):
    rows = rows_of(small_page / "cases.csv")
    assert [row["case"] for row in rows] == [f"MET-00{n}-00{t}" for n, t in ((1, 0), (1, 1), (2, 0), (3, 0), (4, 0))]
    first, cavity, empty, broken, unlabelled = rows
    assert (first["patient"], first["time_point"], cavity["time_point"]) == ("MET-001", "1", "2")
    assert [first[f"voxels_{axis}"] for axis in "xyz"] == ["12", "14", "10"]
    assert [float(empty[f"spacing_{axis}_mm"]) for axis in "xyz"] == [0.5, 0.5, 2.0]
    assert (float(first["ET_mm3"]), float(first["NETC_mm3"]), first["ET_lesions"], first["labels"]) == (
        27,
        1,
        "2",
        "1 2 3",
    )
    assert (float(cavity["RC_mm3"]), cavity["RC_lesions"]) == (8, "1")
    assert (empty["labels"], float(empty["WT_mm3"]), empty["reference"]) == ("", 0, "yes")
    assert (broken["sequences"], broken["t2f_mean"], broken["errors"]) == ("t1n t1c t2w", "", "1")
    assert (unlabelled["reference"], unlabelled["WT_mm3"], unlabelled["errors"]) == ("no", "", "0")


def test_lesions_csv_has_a_row_per_lesion_and_region(small_page):
    rows = rows_of(small_page / "lesions.csv")
    own = [row for row in rows if row["case"] == "MET-001-000"]
    assert [(row["region"], row["lesion"], float(row["volume_mm3"])) for row in own] == [
        *(("WT", "1", 36), ("WT", "2", 1), ("TC", "1", 27), ("TC", "2", 1), ("ET", "1", 26), ("ET", "2", 1)),
    ]
    assert [row["size_class"] for row in own] == ["27_to_100", "below_2", "27_to_100", "below_2", "2_to_27", "below_2"]
    assert [float(own[1][f"{axis}_mm"]) for axis in "xyz"] == [9, 11, 7]
    assert [row["case"] for row in rows if row["region"] == "RC"] == ["MET-001-001"]


def test_names_are_escaped(tmp_path, undrawn):
    data = described(9, findings=[Finding("<i>", "error", "<b>what", "<u>", "&amp")])
    html = explore_html(data)
    assert not re.search("<i>|<b>what|<u>", html)
    assert "&lt;b&gt;what" in html


def test_a_page_of_all_of_mets_is_small(undrawn):
    few = described(108)
    cases = [replace(case, name=f"{case.name}-{copy:02d}") for copy in range(12) for case in few.cases]
    sources = CaseList([Case(case.name, Path(), {}, None, "") for case in cases], {}, [], "BraTS-METS")
    findings = [Finding(case.name, "note", "negative values", f"t1c of {case.name}, down to -3") for case in cases]
    html = explore_html(replace(few, cases=cases, sources=sources, report=replace(few.report, findings=findings)))
    assert html.count('<tr><th scope="row">BraTS-MET-') >= 1296
    # Beside at most 1.1 MB of pictures (test_montage) and some twenty charts of 30 kB.
    assert len(html.encode()) < 1_100_000


def test_a_chart_of_many_cases_is_as_large_as_one_of_some():
    cases = [case.intensities["t1c"] for case in described(100).cases]
    many = {f"{copy} {at}": own for copy in range(13) for at, own in enumerate(cases)}
    assert len(_sequence_chart("t1c", many)) < 30_000


# ---------------------------------------------------------------- writing


def test_a_former_page_is_replaced_and_nothing_else_is(tmp_path, undrawn):
    data, out = tmp_path / "data", tmp_path / "out"
    make_case(data, "A-000", volumes={"seg": None})
    explore(data, out)
    make_case(data, "B-000", volumes={"seg": None})
    explore(data, out)
    assert "B-000" in (out / "index.html").read_text(encoding="utf-8")
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match=r"not a former page about a data set \(found notes\.txt\)"):
        explore(data, out)
    assert (out / "notes.txt").read_text(encoding="utf-8") == "mine"
    report = tmp_path / "report"
    report.mkdir()
    (report / "index.html").write_text('<meta name="generator" content="mets3d report">', encoding="utf-8")
    with pytest.raises(FileExistsError, match=r"not a former page about a data set \(found index\.html\)"):
        explore(data, report)
    with pytest.raises(FileExistsError, match="is a file"):
        explore(data, out / "notes.txt")


def test_out_is_whole_or_absent(tmp_path, monkeypatch, undrawn):
    make_case(tmp_path / "data", "A-000", volumes={"seg": None})
    monkeypatch.setattr("mets3d.reporting.explore.page.case_list_section", lambda data: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        explore(tmp_path / "data", tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data"]


def test_nothing_is_written_where_there_is_no_case(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(ValueError, match="expected at least one case"):
        explore(tmp_path / "data", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- the verb


def test_the_verb_says_where_the_page_is_and_whether_cases_are_unusable(tmp_path, capsys, undrawn):
    data, out = tmp_path / "data", tmp_path / "out"
    case = make_case(data, "A-000", volumes={"seg": None})
    assert main(["explore", str(data), "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "index.html")
    case.sequences["t2w"].path.write_bytes(b"nothing")
    assert main(["explore", str(data), "--out", str(out)]) == 1
    assert "unreadable file" in (out / "index.html").read_text(encoding="utf-8")


def test_the_verb_takes_the_settings_of_reading(tmp_path, capsys, undrawn):
    data, out = tmp_path / "data", tmp_path / "out"
    make_case(data, "A-000")
    assert main(["explore", str(data), "--out", str(out), "--data.labels={3: 2}"]) == 0
    (row,) = rows_of(out / "cases.csv")
    assert (float(row["ET_mm3"]), float(row["SNFH_mm3"])) == (0, 36)
    assert main(["explore", str(data), "--out", str(out), "--data.fold=1"]) == 2
    assert main(["explore", str(Path("nowhere")), "--out", str(out)]) == 2
    assert "no such folder" in capsys.readouterr().err
