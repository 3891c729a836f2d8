"""Predictions named as for a submission, and folders whose names do not match."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from mets3d.evaluation.case import Scoring
from mets3d.evaluation.case_names import matched_by_ending
from mets3d.evaluation.evaluate import EvaluationReport, Tables, evaluate
from mets3d.files import write_json


def labels(size: int = 3) -> np.ndarray:
    out = np.zeros((12, 12, 12), np.uint8)
    out[2 : 2 + size, 3:6, 3:6] = 3
    return out


def save(folder: Path, *names: str, size: int = 3) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        path = folder / f"{name}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(labels(size), np.eye(4)), path)


def run(folder: Path, rules: str = "brats2026") -> EvaluationReport:
    tables = Tables(folder / "out" / "scores.csv")
    soft = folder / "predictions" / "probabilities"
    probabilities = soft if soft.is_dir() else None
    return evaluate(folder / "predictions", folder / "references", tables, Scoring(rules), probabilities=probabilities)


@pytest.mark.parametrize(
    "named", ["{0}", "team_{0}", "team-{0}", "BraTS-MET-{0}-seg", "x_{0}-seg", "BraTS-GLI-2-{0}", "NNN.v2_{0}"]
)
def test_official_names_match_by_their_ending(tmp_path: Path, named: str) -> None:
    for number, size in (("00123-000", 3), ("00123-001", 4)):
        save(tmp_path / "predictions", named.format(number), size=size)
        save(tmp_path / "references", f"BraTS-MET-{number}/BraTS-MET-{number}-seg")
    report = run(tmp_path)
    assert (report.problems, report.unpredicted) == ([], [])
    dice = {row["case"]: row["dice"] for row in report.rows if row["region"] == "ET"}
    assert dice == {"BraTS-MET-00123-000": 1.0, "BraTS-MET-00123-001": pytest.approx(2 * 27 / (27 + 36))}
    assert {row["patient"] for row in report.rows} == {"BraTS-MET-00123"}
    said = [remark for remark in report.remarks if "NNNNN-TTT" in remark]
    assert len(said) == ("BraTS-MET" not in named)


def test_the_probabilities_of_a_prediction_are_found_by_its_own_name(tmp_path: Path) -> None:
    save(tmp_path / "predictions", "00123-000")
    save(tmp_path / "references", "BraTS-MET-00123-000-seg")
    (tmp_path / "predictions" / "probabilities").mkdir()
    image = nibabel.Nifti1Image(np.stack([(labels() > 0).astype(np.float32)] * 3, axis=-1), np.eye(4))
    image.header["descrip"] = b"WT TC ET"
    nibabel.save(image, tmp_path / "predictions" / "probabilities" / "00123-000.nii.gz")
    report = run(tmp_path, "brats2023")
    assert report.problems == []
    assert {row["case"] for row in report.froc} == {"BraTS-MET-00123-000"}


@pytest.mark.parametrize(
    ("predicted", "expected", "matched", "unclear"),
    [
        ({"00001-000", "b_00001-000"}, {"X-00001-000"}, {}, {"00001-000", "b_00001-000", "X-00001-000"}),
        ({"00001-000"}, {"X-00001-000", "Y-00001-000"}, {}, {"00001-000", "X-00001-000", "Y-00001-000"}),
        ({"X-00001-000", "00001-000"}, {"X-00001-000"}, {}, {"00001-000"}),
        ({"00001-000", "X-00001-000"}, {"00001-000", "Y-00001-000"}, {}, {"X-00001-000", "Y-00001-000"}),
        ({"X-00001-000"}, {"X-00001-000"}, {}, set()),
        ({"100001-000"}, {"X-00001-000"}, {}, set()),  # six digits are another number
        ({"00001-000-x"}, {"X-00001-000"}, {}, set()),
        ({"00001-000"}, {"Y-00001-001"}, {}, set()),
        ({"a00001-000"}, {"00001-000"}, {"a00001-000": "00001-000"}, set()),
    ],
)
def test_an_ending_that_two_have_is_a_problem(
    predicted: set[str], expected: set[str], matched: dict[str, str], unclear: set[str]
) -> None:
    found = matched_by_ending(predicted, expected)
    assert (found.by_ending, set(found.unclear)) == (matched, unclear)
    assert len(found.problems) == bool(unclear)


def test_files_that_an_ending_leaves_unclear_are_one_problem_and_no_missing_prediction(tmp_path: Path) -> None:
    save(tmp_path / "predictions", "00001-000", "00002-000", "00003-000")
    save(tmp_path / "references", *(f"BraTS-MET-0000{number}-000" for number in (1, 2, 3)), "BraTS-GLI-00001-000")
    report = run(tmp_path)
    (problem,) = report.problems
    assert problem.startswith(
        "00001-000: not scored, for 00001-000 is the ending of 2 references (BraTS-GLI-00001-000,"
    )
    assert report.unpredicted == []
    assert {row["case"] for row in report.rows} == {"BraTS-MET-00002-000", "BraTS-MET-00003-000"}


def test_a_note_in_the_names_of_the_predictions_asks_for_their_references(tmp_path: Path) -> None:
    save(tmp_path / "predictions", "00001-000")
    save(tmp_path / "references", *(f"BraTS-MET-0000{number}-000-seg" for number in (1, 2, 3)))
    write_json(tmp_path / "predictions" / "predict.json", {"asked": ["00001-000", "00002-000"], "cases": ["00001-000"]})
    report = run(tmp_path)
    assert report.unpredicted == ["BraTS-MET-00002-000"]
    assert {row["case"] for row in report.rows} == {"BraTS-MET-00001-000", "BraTS-MET-00002-000"}


# ---------------------------------------------------------------- names that do not match


@pytest.mark.parametrize("rules", ["brats2023", "brats2026"])
@pytest.mark.parametrize("alike", [0, 1])
def test_other_names_are_refused_and_nothing_is_written(tmp_path: Path, rules: str, alike: int) -> None:
    names = [f"BraTS-MET-0000{number}-000" for number in range(4)]
    save(tmp_path / "predictions", *names[:alike], *(f"case_{number}" for number in range(alike, 4)))
    save(tmp_path / "references", *(f"{name}-seg" for name in names))
    with pytest.raises(ValueError, match="nothing is scored") as refused:
        run(tmp_path, rules)
    said = str(refused.value)
    assert f"{4 - alike} of 4 predictions have no reference" in said
    assert f"{4 - alike} of 4 references no prediction" in said
    assert f"predictions are named case_N.nii.gz (case_{alike}.nii.gz)" in said
    assert f"references BraTS-MET-NNNNN-NNN-seg.nii.gz (BraTS-MET-0000{alike}-000-seg.nii.gz)" in said
    assert "\n" not in said
    assert not (tmp_path / "out").exists()


def test_a_few_other_names_are_problems_and_missing_predictions(tmp_path: Path) -> None:
    save(tmp_path / "predictions", "A", "B", "C", "x")
    save(tmp_path / "references", "A", "B", "C", "D")
    report = run(tmp_path)
    assert [problem.split(":")[0] for problem in report.problems] == ["x"]
    assert report.unpredicted == ["D"]


def test_few_predictions_of_many_references_are_no_other_names(tmp_path: Path) -> None:
    save(tmp_path / "predictions", "A")
    save(tmp_path / "references", "A", "B", "C", "D")
    assert run(tmp_path).unpredicted == ["B", "C", "D"]
    write_json(tmp_path / "predictions" / "predict.json", {"asked": ["A"], "cases": ["A"]})
    assert (run(tmp_path).unpredicted, run(tmp_path).problems) == ([], [])


def test_one_other_name_among_predictions_of_some_cases_is_one_problem(tmp_path: Path) -> None:
    save(tmp_path / "predictions", "A", "B", "extra")
    save(tmp_path / "references", *"ABCDEFGH")
    report = run(tmp_path)
    assert [problem.split(":")[0] for problem in report.problems] == ["extra"]
    assert report.unpredicted == list("CDEFGH")


def test_many_predictions_of_few_references_are_no_other_names(tmp_path: Path) -> None:
    save(tmp_path / "predictions", "A", "B", "C", "D")
    save(tmp_path / "references", "A")
    report = run(tmp_path)
    assert [problem.split(":")[0] for problem in report.problems] == ["B", "C", "D"]
    assert {row["case"] for row in report.rows} == {"A"}


def test_a_note_does_not_hide_that_no_name_matches(tmp_path: Path) -> None:
    save(tmp_path / "predictions", "case_1")
    save(tmp_path / "references", "P-7")
    write_json(tmp_path / "predictions" / "predict.json", {"asked": ["case_1"], "cases": ["case_1"]})
    with pytest.raises(ValueError, match=r"named case_N.nii.gz \(case_1.nii.gz\), references P-N.nii.gz"):
        run(tmp_path)
