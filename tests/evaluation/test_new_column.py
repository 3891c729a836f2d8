"""A new score is a function and one row of the table: a made-up one is written, summarised, compared and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from mets3d.evaluation import lesions
from mets3d.evaluation import scores as table_of_scores
from mets3d.evaluation.case import Scoring
from mets3d.evaluation.evaluate import Tables, evaluate
from mets3d.evaluation.region_scores import whole_volume
from mets3d.evaluation.scores import SCORES, Score, lower_is_better, score_columns
from mets3d.statistics.cohort import cohort_table, cohort_text, numbers_shown_in
from mets3d.statistics.comparison import compare_methods
from mets3d.statistics.score_table import read_scores

NEW = Score("made_up", "Made-up distance", 2, "lower", "furlongs", 7.0, ("console", "comparison", "card"))
PLACE = 4  # in the midst of the columns that every table has


def with_made_up(*args: Any) -> dict[str, Any]:
    row = whole_volume(*args)
    return row | {"made_up": abs(row["volume_error_mm3"]) / 8 if row["dice"] > 0 else float("nan")}


@pytest.fixture
def new_column(monkeypatch: pytest.MonkeyPatch) -> Score:
    monkeypatch.setattr(table_of_scores, "SCORES", (*SCORES[:PLACE], NEW, *SCORES[PLACE:]))
    monkeypatch.setattr(lesions, "whole_volume", with_made_up)
    return NEW


def write(file: Path, size: int) -> None:
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[2 : 2 + size, 2:6, 2:6] = 3
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), file)


def test_a_new_score_is_written_summarised_compared_and_shown(new_column: Score, tmp_path: Path) -> None:
    tables = {}
    for method, grown in (("near", 1), ("far", 2)):
        for case in range(3):
            write(tmp_path / "references" / f"P-{case:03d}-000.nii.gz", 3)
            write(tmp_path / method / f"P-{case:03d}-000.nii.gz", 3 + grown)
        out = tmp_path / f"{method}.csv"
        report = evaluate(tmp_path / method, tmp_path / "references", Tables(out))
        header = out.read_text(encoding="utf-8").splitlines()[0].split(",")
        assert header[: len(score_columns())] == list(score_columns())
        assert header[3 + PLACE] == "made_up"
        cohort = cohort_table(report.rows)
        found = [row["mean"] for row in cohort if row["score"] == "made_up"]
        assert found == [2.0 * grown] * 3  # 16 mm3 a layer, by eight, in WT, TC and ET
        assert f"WT made_up {2.0 * grown:.2f}" in " ".join(cohort_text(cohort).split())
        tables[method] = read_scores(out)
    tests = [test for test in compare_methods(tables).differences if test.score.column == "made_up"]
    assert [test.region for test in tests] == ["WT", "TC", "ET"]
    assert {(test.found.difference, test.found.worsened) for test in tests} == {(2.0, 3)}
    assert lower_is_better("made_up")
    assert numbers_shown_in("card")["made_up"] is new_column


def test_a_missing_prediction_gets_the_worst_value_of_the_row(new_column: Score, tmp_path: Path) -> None:
    for case in ("A", "B"):
        write(tmp_path / "references" / f"{case}.nii.gz", 3)
    write(tmp_path / "predictions" / "A.nii.gz", 4)
    scoring = Scoring("brats2026")
    report = evaluate(tmp_path / "predictions", tmp_path / "references", Tables(tmp_path / "s.csv"), scoring)
    assert {row["made_up"] for row in report.rows if row["case"] == "B"} == {7.0}
