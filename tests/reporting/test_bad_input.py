"""Runs that are unfinished, unscored, edited or broken: report and compare say so in a sentence."""

from __future__ import annotations

import json

import pytest

from mets3d.__main__ import main
from mets3d.reporting.compared_tables import compared_tables
from mets3d.reporting.read_run import read_run

CASES = ("A", "B", "C", "D", "E", "F")


@pytest.fixture
def told(capsys):
    """Runs a verb and returns its exit code, output and error; a traceback would be an exception here."""

    def run(*words):
        code = main([str(word) for word in words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def scored_run(make_run, scores_of):
    return lambda name, seed=0, cases=CASES, **more: make_run(name, cases=cases, scores=scores_of(cases, seed), **more)


def notes_of(run):
    return [note.text for note in read_run(run).notes]


def test_a_run_in_the_middle_of_training(make_run, told, read_page):
    rows = [{"step": step, "kind": "train", "loss": 1.0} for step in (1, 2)]
    run = make_run("young", metrics=rows)
    torn = (run / "metrics.jsonl").read_text() + '{"step": 3, "kind": "train", "lo'
    (run / "metrics.jsonl").write_text(torn)
    (run / "environment.json").unlink()
    code, out, err = told("report", run)
    assert code == 0, err
    assert "No scores.csv: no scores on this page." in out
    text = read_page(run / "report" / "index.html").text
    assert "2 of 40 steps" in text


def test_a_run_without_scores_is_shown_and_not_compared(make_run, scored_run, told, read_page, tmp_path):
    runs = [scored_run("base"), make_run("young")]
    code, _, err = told("report", *runs, "--out", tmp_path / "page")
    assert code == 0, err
    assert "young: No scores.csv: no scores on this page." in read_page(tmp_path / "page" / "index.html").text
    code, _, err = told("compare", *runs)
    assert code == 2
    assert f"{runs[1] / 'scores.csv'}: no such table; expected scores.csv as `mets3d evaluate` writes it" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("content", ["", "case,region,rules,dice\n", "\n\n"])
def test_an_empty_table(scored_run, told, read_page, content):
    run = scored_run("run")
    (run / "scores.csv").write_text(content)
    code, out, err = told("report", run)
    assert code == 0, err
    assert "scores.csv" in out
    said = [note for note in notes_of(run) if "scores.csv" in note]
    assert len(said) == 1
    assert said[0] in read_page(run / "report" / "index.html").text
    code, _, err = told("compare", run, scored_run("other"))
    assert (code, err.count("\n")) == (2, 1)
    assert str(run / "scores.csv") in err


def test_scores_of_another_data_set(scored_run, make_run, scores_of, told):
    run = make_run("run", cases=CASES, scores=scores_of(("X", "Y"), 0))
    said = (
        "2 of 2 cases in scores.csv, such as X, are not of the data that the run was split on: scores of another data "
        "set, taken as not seen before."
    )
    assert said in notes_of(run)
    some = make_run("some", cases=CASES, scores=scores_of((*CASES, "X"), 0))
    assert any(note.startswith("1 of 7 cases in scores.csv, such as X") for note in notes_of(some))
    assert not [note for note in notes_of(scored_run("own")) if "another data set" in note]
    code, _, err = told("compare", run, scored_run("other"))
    assert (code, err.count("\n")) == (2, 1)
    assert "expected cases that all tables have, found none (run: 2, such as X; other: 6, such as A)" in err


def test_runs_with_other_rules_or_cases(scored_run, told, read_page, tmp_path):
    base, other, apart = scored_run("base"), scored_run("other", 1), scored_run("apart", 2, ("X", "Y", "Z"))
    code, _, err = told("report", base, apart, "--out", tmp_path / "apart-page")
    assert code == 0, err
    text = read_page(tmp_path / "apart-page" / "index.html").text
    assert "0 of 9 are in all runs" in text
    assert "there is nothing to compare" in text
    table = other / "scores.csv"
    table.write_text(table.read_text().replace("brats2023", "brats2026"))
    code, _, err = told("report", base, other, "--out", tmp_path / "rules-page")
    assert code == 0, err
    assert "scored by different rule sets" in read_page(tmp_path / "rules-page" / "index.html").text
    code, _, err = told("compare", base, other)
    assert (code, err.count("\n")) == (2, 1)
    assert "expected tables of one rule set, found base: brats2023; other: brats2026" in err
    table.write_text(table.read_text().replace("brats2026", "brats2023", 3))
    code, _, err = told("compare", base, other)
    assert (code, err.count("\n")) == (2, 1)
    assert "expected scores by one rule set, found several" in err


BROKEN_LINES = (
    '{"step": 5, "kind": "train", "loss":',
    "not json",
    "[1, 2]",
    '{"kind": "train"}',
    '{"step": "6", "kind": "train"}',
    '{"step": 7, "kind": ["train"]}',
    '{"step": 8, "kind": "train", "loss": "word", "lr": [1], "samples_per_second": "fast", "skipped": "x"}',
    '{"step": 9, "kind": "train", "loss": null, "lr": null, "samples_per_second": 0, "skipped": null}',
    '{"step": 10, "kind": "train", "loss": NaN, "lr": Infinity, "loss_terms": 3, "gradient_norm": {}}',
    '{"step": 11, "kind": "train"}',
    '{"step": 12, "kind": "validation", "lesion_wise_dice_ET": "word", "dice": {"WT": "x"}, "seconds": "s"}',
    '{"step": 13, "kind": "validation"}',
    "\x00\x00\x00",
)


@pytest.mark.parametrize("together", [False, True])
def test_broken_lines_of_the_log_are_left_out(scored_run, told, read_page, tmp_path, together):
    lines = [json.dumps({"step": step, "kind": "train", "loss": 1.0 / step}) for step in range(1, 5)]
    for number, extra in enumerate([BROKEN_LINES] if together else [(line,) for line in BROKEN_LINES]):
        run = scored_run(f"run{number}")
        (run / "metrics.jsonl").write_text(
            "\n".join([*lines, *extra, json.dumps({"step": 40, "kind": "train"})]) + "\n"
        )
        if together:
            code, _, err = told("report", run)
            assert code == 0, err
            assert read_page(run / "report" / "index.html").text
        else:
            assert read_run(run).training[0]["step"] == 1


@pytest.mark.parametrize(
    "file", ["environment.json", "split.json", "baseline.json", "plan.json", "predictions/predict.json"]
)
@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{", "3", '{"training": 3, "validation": null, "per_case": 5, "data": 7}'),
        '{"per_case": {"A": "x"}, "processes": "x", "seconds": "x"}',
    ],
)
def test_broken_records_are_notes(scored_run, file, content):
    run = scored_run("run")
    (run / file).parent.mkdir(exist_ok=True)
    (run / file).write_text(content)
    record = read_run(run)
    assert record.held_out
    assert record.patients


def test_a_table_saved_by_a_spreadsheet(scored_run, told, read_page):
    plain, edited = scored_run("plain", 1), scored_run("edited", 1)
    table = edited / "scores.csv"
    rows = [line.replace(",", ";").replace(".", ",") for line in table.read_text().splitlines()]
    table.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*rows, ";;;;", ""]).encode())
    assert read_run(edited).scores == read_run(plain).scores
    assert "scores.csv was saved by a spreadsheet: read with semicolons between its cells." in notes_of(edited)
    code, out, err = told("compare", plain, edited)
    assert code == 0, err
    assert "edited: read with semicolons between its cells" in out
    table.write_text(table.read_text(encoding="utf-8-sig").replace("A;WT;brats2023;0,", "A;WT;brats2023;1.000,"))
    code, out, err = told("report", edited)
    assert code == 0, err
    (said,) = [note for note in notes_of(edited) if "scores.csv" in note]
    assert said.startswith("scores.csv cannot be read and is left out: line 2: lesion_wise_dice: expected a number")
    assert said in read_page(edited / "report" / "index.html").text
    code, _, err = told("compare", plain, edited)
    assert (code, err.count("\n")) == (2, 1)
    assert f"{table}: line 2: lesion_wise_dice: expected a number, found '1.000," in err


def lines_of(run):
    return (run / "scores.csv").read_text().splitlines()


def said_of_scores(run):
    return [note for note in notes_of(run) if "scores.csv" in note]


def changed(line, column, cell):
    cells = line.split(",")
    cells[column] = cell
    return ",".join(cells)


WHAT_IS_LEFT = {
    "a row was deleted": (
        lambda head, rows: [head, *[row for row in rows if not row.startswith("B,ET")]],
        "scores.csv: 1 of 18 rows of a case and region is not in it (B ET), so",
    ),
    "a case was deleted": (
        lambda head, rows: [head, *[row for row in rows if not row.startswith("C,")]],
        "scores.csv: 3 of 18 rows of a case and region are not in it (C WT, C TC, C ET), so",
    ),
    "a region was deleted": (
        lambda head, rows: [head, *[row for row in rows if ",TC," not in row]],
        "scores.csv: 6 of 18 rows of a case and region are not in it (A TC, B TC, C TC and 3 more), so",
    ),
    "columns were deleted": (
        lambda head, rows: [",".join(line.split(",")[:3] + line.split(",")[5:]) for line in (head, *rows)],
        "scores.csv: it has no column lesion_wise_dice, lesion_wise_hd95, so what that would show is left out.",
    ),
    "there are regions that are none": (
        lambda head, rows: [head, *rows, changed(rows[0], 1, "EDEMA")],
        "scores.csv: it has rows of EDEMA, expected WT, TC, ET and RC as regions: they are left out.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WHAT_IS_LEFT)
def test_what_an_edited_table_lacks_is_said_in_one_sentence_and_the_rest_is_shown(scored_run, kind):
    change, said = WHAT_IS_LEFT[kind]
    run = scored_run("run")
    head, *rows = lines_of(run)
    (run / "scores.csv").write_text("\n".join(change(head, rows)) + "\n")
    said = f"{said} means and tests are over the others." if said.endswith(" so") else said
    assert said_of_scores(run) == [said]
    weighty = [note.weighty for note in read_run(run).notes if note.text == said]
    assert weighty == [True]
    left = {tuple(row.split(",")[:2]) for row in change(head, rows)[1:] if "EDEMA" not in row}
    assert {(row["case"], row["region"]) for row in read_run(run).scores} == left


def test_a_column_without_a_number_is_no_missing_one(scored_run):
    run = scored_run("run")
    head, *rows = lines_of(run)
    (run / "scores.csv").write_text("\n".join([head, *[changed(row, 6, "") for row in rows]]) + "\n")
    assert said_of_scores(run) == []


REFUSED_CELLS = {
    "infinite": ("1e400", "expected a number, found '1e400', which is infinite; leave the cell empty"),
    "minus infinite": ("-inf", "expected a number, found '-inf', which is infinite"),
    "a word": ("good", "expected a number, found 'good'"),
    "a lost point": ("845", "expected 0 to 1, found 845"),
    "negative": ("-0.2", "expected 0 to 1, found -0.2"),
}


@pytest.mark.parametrize("kind", REFUSED_CELLS)
def test_a_cell_that_is_no_such_score_is_refused_by_line(scored_run, kind):
    cell, said = REFUSED_CELLS[kind]
    run = scored_run("run")
    head, *rows = lines_of(run)
    rows[4] = changed(rows[4], 3, cell)
    (run / "scores.csv").write_text("\n".join([head, *rows]) + "\n")
    (note,) = said_of_scores(run)
    assert note.startswith(f"scores.csv cannot be read and is left out: line 6: lesion_wise_dice: {said}")
    assert read_run(run).scores == []


def test_a_case_and_region_twice_has_no_scores(scored_run):
    run = scored_run("run")
    head, *rows = lines_of(run)
    (run / "scores.csv").write_text("\n".join([head, *rows, rows[4]]) + "\n")
    (note,) = said_of_scores(run)
    assert note == ("scores.csv cannot be read and is left out: expected one row per case and region, found B TC twice")


def test_compare_says_what_a_table_lacks_and_refuses_what_the_page_does(scored_run, told):
    whole, cut = scored_run("whole"), scored_run("cut", 1)
    head, *rows = lines_of(cut)
    (cut / "scores.csv").write_text("\n".join([head, *[row for row in rows if not row.startswith("B,ET")]]) + "\n")
    code, out, err = told("compare", whole, cut)
    assert code == 0, err
    assert "cut: 1 of 18 rows of a case and region is not in it (B ET), so means and tests are over the others" in out
    assert "whole: " not in out.split("\n\n")[0]
    (cut / "scores.csv").write_text("\n".join([head, *rows[:-1], changed(rows[-1], 5, "1e400")]) + "\n")
    code, _, err = told("compare", whole, cut)
    assert (code, err.count("\n")) == (2, 1)
    assert f"{cut / 'scores.csv'}: line 19: dice: expected a number, found '1e400', which is infinite" in err


def test_of_runs_and_tables_alike_other_regions_are_left_out_and_held_out_cases_missed(scored_run):
    whole, cut = scored_run("whole"), scored_run("cut", 1)
    head, *rows = lines_of(cut)
    left = [*[row for row in rows if not row.startswith("C,")], changed(rows[0], 1, "et")]
    (cut / "scores.csv").write_text("\n".join([head, *left]) + "\n")
    other = "it has rows of et, expected WT, TC, ET and RC as regions: they are left out"
    gone = "3 of 18 rows of a case and region are not in it (C WT, C TC, C ET), so means and tests are over the others"
    of_runs, of_tables = (compared_tables(paths) for paths in ([whole, cut], [whole, cut / "scores.csv"]))
    assert of_runs.remarks == [f"cut: {other}", f"cut: {gone}"]
    assert of_tables.remarks == [f"cut: {other}"]  # what else it should have is not known of a table
    for compared in (of_runs, of_tables):
        assert {row["region"] for row in compared.scores["cut"]} == {"WT", "TC", "ET"}
    assert said_of_scores(cut) == [f"scores.csv: {other}.", f"scores.csv: {gone}."]


def test_a_table_of_other_regions_alone_is_refused_by_name(scored_run):
    whole, cut = scored_run("whole"), scored_run("cut", 1)
    head, *rows = lines_of(cut)
    (cut / "scores.csv").write_text("\n".join([head, *[row.lower() for row in rows]]) + "\n")
    said = "it has rows of et, tc and wt, expected WT, TC, ET and RC as regions: there is no row of these"
    for path in (cut, cut / "scores.csv"):
        with pytest.raises(ValueError, match=f"{cut / 'scores.csv'}: {said}; write their names so"):
            compared_tables([whole, path])
    assert said_of_scores(cut) == [f"scores.csv: {said}."]


def test_names_in_a_record_that_are_none_are_left_out(scored_run):
    run = scored_run("run")
    (run / "split.json").write_text('{"training": [["T1"]], "validation": ["A", 3], "patients": {"A": ["P"]}}')
    assert "split.json: training, validation, patients cannot be read and is left out." in notes_of(run)
