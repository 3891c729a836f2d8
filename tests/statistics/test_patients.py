"""Whose cases they are: by the column of a score table, else by name; and what follows from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mets3d.evaluation.evaluate import Tables, evaluate
from mets3d.evaluation.folders import References
from mets3d.evaluation.tables import Row
from mets3d.files import write_json
from mets3d.statistics.cohort import cohort_table
from mets3d.statistics.comparison import compare_methods
from mets3d.statistics.froc import froc_curve
from mets3d.statistics.intervals import mean_interval
from mets3d.statistics.score_table import patients_in, read_scores
from tests.builders.cases import make_case

CASES = [f"scan{number:02d}" for number in range(14)]
PATIENT = {case: f"pat{number // 2}" for number, case in enumerate(CASES)}


def rows(gain: float = 0.0, *, named: bool = True) -> list[Row]:
    """Dice of fourteen scans of seven patients."""
    values = np.random.default_rng(0).uniform(0.3, 0.8, len(CASES))
    return [
        {"case": case, "region": "ET", "rules": "brats2023", "dice": float(value) + gain}
        | ({"patient": PATIENT[case]} if named else {})
        for case, value in zip(CASES, values, strict=True)
    ]


def test_the_column_counts_and_without_it_the_name() -> None:
    assert patients_in(rows()) == PATIENT
    assert patients_in(rows(named=False)) == {case: case for case in CASES}
    assert patients_in(rows(named=False), rows()) == PATIENT
    other = [row | {"patient": "else"} for row in rows()]
    with pytest.raises(ValueError, match="expected one patient a case, found pat0 and else for scan00"):
        patients_in(rows(), other)


def test_intervals_tests_and_curves_go_by_the_column() -> None:
    (mean,) = [row for row in cohort_table(rows()) if row["score"] == "dice"]
    values = np.array([row["dice"] for row in rows()])
    stand_in = [f"P-{number // 2:03d}-{number % 2:03d}" for number in range(len(CASES))]
    assert (mean["ci_low"], mean["ci_high"]) == mean_interval(values, stand_in)
    assert (mean["ci_low"], mean["ci_high"]) != mean_interval(values, CASES)
    comparison = compare_methods({"a": rows(), "b": rows(0.1)})
    assert comparison.patients == 7
    assert {test.found.patients for test in comparison.differences} == {7}
    counts = [
        {"case": case, "threshold": 0.5, "lesions_found": 1, "lesions_missed": 0, "lesions_false": 1, **known}
        for case in CASES
        for known in [{"patient": PATIENT[case]}]
    ]
    assert froc_curve(counts)[0].false_per_patient == 2.0


def test_evaluate_writes_the_patient_that_the_run_knows(tmp_path: Path) -> None:
    for name in ("100101A", "X1", "X2"):
        case = make_case(tmp_path / "data", name)
        assert case.labels is not None
        target = tmp_path / "run" / "predictions" / f"{name}.nii.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(case.labels.read_bytes())
    predictions, out = tmp_path / "run" / "predictions", tmp_path / "scores.csv"
    evaluate(predictions, tmp_path / "data", Tables(out))
    assert patients_in(read_scores(out)) == {"100101A": "100101", "X1": "X1", "X2": "X2"}
    write_json(tmp_path / "run" / "split.json", {"patients": {"X1": "X", "X2": "X"}})
    evaluate(predictions, tmp_path / "data", Tables(out))
    assert patients_in(read_scores(out)) == {"100101A": "100101", "X1": "X", "X2": "X"}
    evaluate(predictions, References(tmp_path / "data", patients=r"^(.)"), Tables(out))
    assert patients_in(read_scores(out)) == {"100101A": "1", "X1": "X", "X2": "X"}
    with pytest.raises(ValueError, match="finds no patient"):
        evaluate(predictions, References(tmp_path / "data", patients="X([0-9])"), Tables(out))
