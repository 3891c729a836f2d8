"""How the scored cases were decoded is said by page, console, and comparison, of runs and of arms."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import pytest

from mets3d.__main__ import main
from mets3d.files import write_json
from mets3d.reporting import summary_text
from mets3d.reporting.arms import as_arms
from mets3d.reporting.compared_tables import compared_tables
from mets3d.reporting.fair import comparison_notes
from mets3d.reporting.page import report
from mets3d.reporting.read_run import read_run, read_runs
from mets3d.reporting.training_facts import lede

CASES = ("A", "B")
TUNED = {"decoding": "tuned out-of-fold", "decoding_rules": "brats2023"}


def decoded(run: Path, told: Mapping[str, str]) -> Path:
    """The run, its scores with columns that say how they were decoded."""
    with (run / "scores.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row | told for row in csv.DictReader(stream)]
    with (run / "scores.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, [*rows[0]])
        writer.writeheader()
        writer.writerows(rows)
    return run


def test_page_and_console_say_it(make_run, scores_of, tmp_path):
    run = decoded(make_run(cases=CASES, scores=scores_of(CASES, 8)), TUNED)
    assert summary_text(run).splitlines()[0].endswith("rules brats2023, decoding: tuned out-of-fold by brats2023")
    assert lede(read_run(run)).endswith("held-out cases, decoding: tuned out-of-fold by brats2023.")
    assert "decoding: tuned out-of-fold by brats2023" in report([run], tmp_path / "page").read_text(encoding="utf-8")


def test_what_makes_them_optimistic_is_a_note(make_run, scores_of):
    told = {"decoding": "forced: tuned on this case", "decoding_rules": "brats2026"}
    run = decoded(make_run(cases=CASES, scores=scores_of(CASES, 8)), told)
    said = "\n".join(note.text for note in read_run(run).notes)
    printed = summary_text(run)
    for remark in ("was forced: cross-validation", "tuned on these very cases", "tuned by brats2026 and these are"):
        assert remark in said
        assert remark in printed


def test_methods_that_were_decoded_differently_are_compared_with_a_remark(make_run, scores_of, capsys):
    runs = [
        decoded(make_run(name, cases=CASES, scores=scores_of(CASES, seed)), told)
        for seed, (name, told) in enumerate({"a": TUNED, "b": {"decoding": "default"}}.items())
    ]
    tables = [str(run / "scores.csv") for run in runs]
    assert main(["compare", *tables, "--names", "one", "two", "--scores", "dice"]) == 0
    assert "decoded differently (one: tuned out-of-fold by brats2023; two: default)" in capsys.readouterr().out


def test_a_page_of_methods_that_were_decoded_differently_says_so(make_run, scores_of):
    runs = [
        decoded(make_run(name, cases=CASES, scores=scores_of(CASES, 1), settings=own), told)
        for name, own, told in (("a", {}, TUNED), ("b", {"loss": {"boundary": "blob"}}, {"decoding": "default"}))
    ]
    said = [note.text for note in comparison_notes(as_arms(read_runs(runs)))]
    assert "The runs are decoded differently (a: tuned out-of-fold by brats2023; b: default)." in said


def test_an_arm_has_what_its_runs_have(make_run, scores_of):
    own = {"loss": {"boundary": "blob"}}
    runs = [
        decoded(
            make_run(f"{arm}{seed}", cases=CASES, scores=scores_of(CASES, seed), settings={"seed": seed, **term}), told
        )
        for arm, term, told in (("base", {}, {"decoding": "default"}), ("term", own, TUNED))
        for seed in (0, 1)
    ]
    [base, term] = as_arms(read_runs(runs))
    assert {row["decoding"] for row in base.score_rows()} == {"default"}
    assert {(row["decoding"], row["decoding_rules"]) for row in term.score_rows()} == {tuple(TUNED.values())}
    [*_, said] = compared_tables(runs).remarks
    assert said.startswith("decoded differently (base: default; loss.boundary=blob: tuned out-of-fold")


def test_scores_of_label_maps_that_are_no_longer_there_are_noted(make_run, scores_of):
    """As where a run was tuned and predicted again, and not evaluated again."""
    run = decoded(make_run(cases=CASES, scores=scores_of(CASES, 8)), {"decoding": "default", "decoding_rules": ""})

    def noted() -> list[str]:
        return [note.text for note in read_run(run).notes if "there now" in note.text]

    assert noted() == []
    (run / "predictions").mkdir()
    for case in CASES:
        told = {"decoding": TUNED["decoding"], "files": {f"{case}.nii.gz": 3}}
        (run / "predictions" / f"{case}.nii.gz").write_bytes(b"new")
        write_json(run / "predictions" / "records" / f"{case}.json", told)
    [said] = noted()
    assert said.startswith("scores.csv has the scores of 2 cases decoded as default, and the label maps")
    assert said.endswith("that are there now are tuned out-of-fold.")
    decoded(run, TUNED)
    assert noted() == []


@pytest.mark.parametrize("table", ["lesions", "froc"])
def test_tables_of_another_rule_set_are_left_out(make_run, scores_of, table):
    run = make_run(cases=CASES, scores=scores_of(CASES, 8))
    texts = {"case": "A", "region": "WT", "lesion": "1", "kind": "found", "threshold": "0.5"}
    counts = dict.fromkeys(("lesions_found", "lesions_missed", "lesions_false"), "1")
    for rules, kept in (("brats2023", 1), ("brats2026", 0)):
        with (run / f"{table}.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, ["rules", *texts, *counts])
            writer.writeheader()
            writer.writerow({"rules": rules, **texts, **counts})
        record = read_run(run)
        assert len(getattr(record, table)) == kept
        said = [note.text for note in record.notes if "its rows are left out" in note.text]
        assert said == [f"{table}.csv is by brats2026 and scores.csv by brats2023: its rows are left out."][kept:]
