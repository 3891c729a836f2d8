from dataclasses import replace

from mets3d.reporting import report
from mets3d.reporting.copied_tables import copy_tables
from mets3d.reporting.lesion_lines import PLACE
from mets3d.reporting.sections.case_list import cases_section, lesions_section
from mets3d.rundir import ReportDir
from tests.reporting.conftest import random_lesions, scores_shown

CASES = ("A", "B", "C", "D", "E", "F", "G")
RULES = "brats2023"


def lesion(region, number, kind, volume, dice="", place=("", "", "")):
    reference, prediction = ("", volume) if kind == "false" else (volume, "")
    return {"case": "A", "region": region, "rules": RULES, "lesion": number, "kind": kind} | {
        "reference_volume_mm3": reference, "prediction_volume_mm3": prediction, "dice": dice,
        **dict(zip(PLACE, place, strict=True)), "i": "" if place[0] == "" else 0,
    }  # fmt: skip


LESIONS = [
    lesion("WT", 1, "missed", 900.0, 0.0),
    lesion("WT", 2, "ignored", 1.0),
    lesion("TC", 1, "found", 20.0, 0.625),
    lesion("TC", 2, "false", 7.5),
    lesion("TC", 3, "missed", 90.0, 0.0),
    lesion("ET", 1, "missed", 50.0, 0.0, (-12.3, 4.0, 7.0)),
]


def test_lesion_counts_and_cases(make_run, scores_of, read_page, tmp_path, empty_curves):
    scores = scores_of(CASES, 4)
    page = read_page(report([make_run(cases=CASES, scores=scores)], tmp_path / "out"))
    shown = scores_shown(page)
    for at, region in enumerate(("WT", "TC", "ET")):
        found, missed, false = (
            sum(scores[case, region][f"lesions_{kind}"] for case in CASES) for kind in ("found", "missed", "false")
        )
        share = f"{round(100 * found / (found + missed))} %"
        assert shown["Lesions", "found"][at] == f"{found} of {found + missed} ({share})"
        assert [shown["Lesions", kind][at] for kind in ("missed", "false")] == [str(missed), str(false)]
    cases = next(rows for rows in page.tables.values() if rows[1:] and rows[1][0] == "Case")
    mean = {case: sum(scores[case, region]["lesion_wise_dice"] for region in ("WT", "TC", "ET")) for case in CASES}
    assert [row[0] for row in cases[2:]] == sorted(CASES, key=mean.__getitem__), "the worst first"
    row, values = next(row for row in cases if row[0] == "A"), scores["A", "WT"]
    assert row[1:6] == [
        f"{values['lesion_wise_dice']:.3f}",
        f"{values['lesion_wise_hd95']:.1f}",
        f"{values['dice']:.3f}",
        f"{values['hd95']:.1f}",
        f"{values['lesions_found']}/{values['lesions_missed']}/{values['lesions_false']}",
    ]
    assert len(row) == 16


def test_both_tables_link_to_the_pages_of_cases(cohort_run, read_page, links_of, tmp_path, empty_curves):
    names = ("A", "odd name?#")
    record = cohort_run(cases=names, lesions=LESIONS)
    index = report([record.run.path], tmp_path / "out")
    links = links_of(index)
    assert links["A"] == "cases/A.html"
    assert links["odd name?#"] == "cases/odd_name__.html"
    assert (index.parent / "cases" / "A.html").is_file()
    assert (index.parent / "cases" / "odd_name__.html").is_file()
    assert links["TC 2"] == "cases/A.html#lesion-TC-2"
    rows = next(rows for rows in read_page(index).tables.values() if rows[0][0] == "Lesion")
    # Missed, then false, then found, then too small; in each the innermost region and the largest lesion first.
    assert [row[:5] for row in rows[1:]] == [
        ["ET 1", "A", "missed", "50.0", "–"],
        ["TC 3", "A", "missed", "90.0", "–"],
        ["WT 1", "A", "missed", "900.0", "–"],
        ["TC 2", "A", "false", "7.5", "–"],
        ["TC 1", "A", "found", "20.0", "0.625"],
        ["WT 2", "A", "too small to count", "1.0", "–"],
    ]
    assert rows[1][5] == "\u221212.3, 4.0, 7.0"
    assert rows[2][5] == "–"


def test_the_files_behind_the_page_lie_beside_it(cohort_run, tmp_path):
    first, second = cohort_run("base", 0), cohort_run("other", 1)
    names = ("scores.csv", "lesions.csv", "config.yaml")
    (alone,) = copy_tables([first], ReportDir(tmp_path))
    assert alone.links == {name: name for name in names}
    assert all((tmp_path / name).read_bytes() == (first.run.path / name).read_bytes() for name in names)
    copied = copy_tables([first, second], ReportDir(tmp_path))
    assert [(each.label, each.links) for each in copied] == [
        (arm, {name: f"arms/{arm}/{name}" for name in names}) for arm in ("base", "other")
    ]
    assert (tmp_path / "arms" / "other" / "scores.csv").read_bytes() == second.run.scores.read_bytes()
    html = cases_section([first, second], {}, copied).html
    assert all(f'href="arms/{arm}/{name}"' in html for arm in ("base", "other") for name in names)


def test_runs_of_an_arm_keep_their_files_apart(cohort_run, tmp_path):
    runs = {(seed, 0): cohort_run(f"run{seed}", seed) for seed in (1, 2)}
    copied = copy_tables([replace(runs[1, 0], label="a/b", runs=runs)], ReportDir(tmp_path))
    assert [each.links["scores.csv"] for each in copied] == ["arms/a_b/run1/scores.csv", "arms/a_b/run2/scores.csv"]
    assert [each.label for each in copied] == ["a/b, seed 0, fold 0"] * 2, "those of the runs' configurations"


def test_a_long_table_of_lesions_is_cut_and_says_so(cohort_run, read_page, tmp_path, empty_curves, monkeypatch):
    monkeypatch.setattr("mets3d.reporting.sections.case_list.MOST_LESIONS", 4)
    record = cohort_run(cases=("A",), lesions=LESIONS)
    page = read_page(report([record.run.path], tmp_path / "out"))
    rows = next(rows for rows in page.tables.values() if rows[0][0] == "Lesion")
    assert [row[0] for row in rows[1:]] == ["ET 1", "TC 3", "WT 1", "TC 2"]
    assert "2 more lesions are in lesions.csv" in page.text


def test_what_a_cut_table_holds_is_shared_among_the_regions(cohort_run, monkeypatch):
    monkeypatch.setattr("mets3d.reporting.sections.case_list.MOST_LESIONS", 12)
    of_each = {"WT": 9, "TC": 2, "ET": 30}
    rows = [
        lesion(region, number, "missed", 5.0) for region, amount in of_each.items() for number in range(1, amount + 1)
    ]
    html = lesions_section([cohort_run(cases=("A",), lesions=rows)], {}).html
    assert {region: html.count(f">{region} ") for region in of_each} == {"WT": 5, "TC": 2, "ET": 5}
    assert "29 more lesions are in lesions.csv" in html


def test_a_table_says_nothing_of_a_viewer_or_of_coordinates_that_are_not_there(cohort_run):
    bare = [lesion("WT", 1, "missed", 900.0, 0.0), lesion("ET", 1, "found", 20.0, 0.5)]
    record = cohort_run(cases=("A",), lesions=bare)
    html = lesions_section([record], {"A": "cases/A.html"}).html
    assert "viewer" not in html
    assert "R, A, S" not in html
    assert 'data-parts="ET WT"' in html, "the region that is shown at first is named first"
    placed = cohort_run("placed", cases=("A",), lesions=LESIONS)
    html = lesions_section([placed], {"A": "cases/A.html"}, viewed=True).html
    assert "in the viewer of its case" in html
    assert html.count("R, A, S") == 2


def test_a_row_takes_few_bytes(cohort_run, monkeypatch):
    """Of 2,000 lesions and of sixty cases in ten arms a page has to hold less than half of 3 MB."""
    cases = [f"BraTS-MET-{number:05d}-000" for number in range(20)]
    record = cohort_run(cases=cases, lesions=random_lesions(cases, 0, amount=10))
    pages = {case: f"cases/{case}.html" for case in cases}
    lesions, scores = lesions_section([record], pages).html, cases_section([record], pages, []).html
    assert len(lesions) < 1500 + 185 * lesions.count("<tr>")
    assert len(scores) < 2500 + len(cases) * (120 + 16 * 18)
