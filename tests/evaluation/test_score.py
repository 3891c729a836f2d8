"""Folders in, tables out: layouts, what is collected as a problem, and what the files look like."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from mets3d.evaluation.lesions import lesion_scores
from mets3d.evaluation.score import LESION_COLUMNS, SCORE_COLUMNS, EvaluationReport, Summary, evaluate, summarise

SPACING = (1.0, 0.5, 2.0)
CONTRACT = "case,region,rules,lesion_wise_dice,lesion_wise_hd95,dice,hd95,lesions_found,lesions_missed,lesions_false"


def labels(shift: int = 0) -> np.ndarray:
    """Two lesions, one of which moves with `shift`."""
    out = np.zeros((16, 14, 12), np.uint8)
    out[2:6, 3:8, 2:6] = 2
    out[3:5, 4 : 7 + shift, 3:5] = 3
    out[10 + shift : 13 + shift, 9:12, 8:10] = 1
    return out


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag((*SPACING, 1.0)) if affine is None else affine), path)
    return path


def tear(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def run(folder: Path, *, jobs: int = 1) -> EvaluationReport:
    tables = {"scores": folder / "out" / "scores.csv", "lesions": folder / "out" / "lesions.csv"}
    return evaluate(folder / "predictions", folder / "references", jobs=jobs, **tables)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


# ---------------------------------------------------------------- tables


def test_tables_hold_the_scores_in_full(tmp_path: Path) -> None:
    for case, shift in (("P-002-000", 1), ("P-001-000", 0)):
        save(tmp_path / "predictions" / f"{case}.nii.gz", labels(shift))
        save(tmp_path / "references" / case / f"{case}-seg.nii.gz", labels())
    report = run(tmp_path)
    assert (report.problems, report.unpredicted) == ([], [])
    content = (tmp_path / "out" / "scores.csv").read_bytes()
    assert content.startswith(CONTRACT.encode())
    assert b"\r" not in content
    rows = read(tmp_path / "out" / "scores.csv")
    expected = [
        (case, row)
        for case, shift in (("P-001-000", 0), ("P-002-000", 1))
        for row in lesion_scores(labels(shift), labels(), SPACING)
    ]
    assert [(row["case"], row["region"]) for row in rows] == [(case, row["region"]) for case, row in expected]
    for written, (_, row) in zip(rows, expected, strict=True):
        assert tuple(written) == SCORE_COLUMNS
        assert {name: type(row[name])(written[name]) for name in row} == row
    lesions = read(tmp_path / "out" / "lesions.csv")
    assert tuple(lesions[0]) == LESION_COLUMNS
    assert [row["kind"] for row in lesions] == [row["kind"] for row in report.lesions]
    assert report.rows == [{"case": case} | row for case, row in expected]


def test_more_processes_give_the_same_files(tmp_path: Path) -> None:
    for case in ("A", "B", "C"):
        save(tmp_path / "predictions" / f"{case}.nii.gz", labels(1))
        save(tmp_path / "references" / f"{case}.nii.gz", labels())
    tear(tmp_path / "predictions" / "B.nii.gz")
    one = run(tmp_path)
    files = [(tmp_path / "out" / name).read_bytes() for name in ("scores.csv", "lesions.csv")]
    two = run(tmp_path, jobs=2)
    assert two == one
    assert len(one.problems) == 1
    assert [(tmp_path / "out" / name).read_bytes() for name in ("scores.csv", "lesions.csv")] == files


def test_progress_names_each_case(tmp_path: Path) -> None:
    for case in ("A", "B"):
        save(tmp_path / "predictions" / f"{case}.nii", labels())
        save(tmp_path / "references" / f"{case}.nii", labels())
    seen: list[tuple[int, int, str]] = []
    evaluate(
        tmp_path / "predictions",
        tmp_path / "references",
        scores=tmp_path / "scores.csv",
        progress=lambda done, total, case: seen.append((done, total, case)),
    )
    assert seen == [(1, 2, "A"), (2, 2, "B")]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["predictions", "references", "scores.csv"]


def test_the_summary_by_hand() -> None:
    def row(region: str, dice: float | None, hd95_mm: float) -> dict[str, object]:
        return {"region": region, "lesion_wise_dice": dice, "lesion_wise_hd95": hd95_mm, "dice": 1.0, "hd95": 0.0}

    rows = [row("WT", 0.25, 2.0), row("ET", None, 4.0), row("WT", 1.0, 6.0), row("WT", 0.25, 1.0), row("ET", 0.5, 8.0)]
    summary = summarise(rows)
    assert list(summary) == ["WT", "ET"]
    assert summary["WT"]["lesion_wise_dice"] == Summary(mean=0.5, median=0.25, n=3)
    assert summary["WT"]["lesion_wise_hd95"] == Summary(mean=3.0, median=2.0, n=3)
    assert summary["ET"]["lesion_wise_dice"] == Summary(mean=0.5, median=0.5, n=1)
    assert summary["ET"]["lesion_wise_hd95"] == Summary(mean=6.0, median=6.0, n=2)
    assert "lesion_wise_dice" not in summarise([row("TC", float("nan"), 1.0)])["TC"]


# ---------------------------------------------------------------- folders


@pytest.mark.parametrize(
    "place",
    ["{case}.nii.gz", "{case}-seg.nii.gz", "{case}.nii", "{case}/{case}-seg.nii.gz", "UCSD/{case}/{case}-seg.nii"],
)
@pytest.mark.parametrize("side", ["predictions", "references"])
def test_layouts(tmp_path: Path, place: str, side: str) -> None:
    for role in ("predictions", "references"):
        save(tmp_path / role / (place if role == side else "{case}.nii.gz").format(case="P-001"), labels())
    save(tmp_path / side / "P-001" / "P-001-t1n.nii.gz", labels())
    save(tmp_path / side / "P-001-t1c.nii.gz", labels())
    save(tmp_path / side / "P-001" / "other.nii.gz", labels())
    (tmp_path / side / "._P-002.nii.gz").write_bytes(b"left by an archive")
    (tmp_path / side / "predict.json").write_text("{}")
    report = run(tmp_path)
    assert (report.problems, report.unpredicted) == ([], [])
    assert [row["case"] for row in report.rows] == ["P-001"] * 3


def test_linked_folders_are_followed_and_circles_end(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "A" / "A-seg.nii.gz", labels())
    save(tmp_path / "predictions" / "A.nii.gz", labels())
    (tmp_path / "references").mkdir()
    (tmp_path / "references" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "references")
    report = run(tmp_path)
    assert (len(report.rows), report.problems) == (3, [])


def test_the_same_grid_in_another_orientation_is_the_same(tmp_path: Path) -> None:
    x, y, z = SPACING
    save(tmp_path / "references" / "A.nii.gz", labels())
    lps = np.array([[-x, 0, 0, 15 * x], [0, -y, 0, 13 * y], [0, 0, z, 0], [0, 0, 0, 1]])
    save(tmp_path / "predictions" / "A.nii.gz", labels()[::-1, ::-1], lps)
    report = run(tmp_path)
    assert report.problems == []
    assert [row["dice"] for row in report.rows] == [1.0, 1.0, 1.0]
    assert report.rows[0]["reference_volume_mm3"] == float((labels() > 0).sum())


# ---------------------------------------------------------------- problems


def test_all_problems_are_collected_and_the_rest_is_scored(tmp_path: Path) -> None:
    predictions, references = tmp_path / "predictions", tmp_path / "references"
    for case in ("good", "shape", "moved", "torn", "labels", "extra", "twice"):
        save(predictions / f"{case}.nii.gz", labels())
    for case in ("good", "shape", "moved", "torn", "labels", "twice", "untouched"):
        save(references / case / f"{case}-seg.nii.gz", labels())
    save(predictions / "shape.nii.gz", labels()[:-1])
    save(predictions / "moved.nii.gz", labels(), np.diag((*SPACING, 1.0)) + 0.01 * np.eye(4, k=3))
    tear(predictions / "torn.nii.gz")
    odd = labels()
    odd[0, 0, :3] = (4, 5, 9)
    save(predictions / "labels.nii.gz", odd)
    save(references / "copy" / "twice-seg.nii.gz", labels())
    report = run(tmp_path)
    found = {problem.split(":")[0]: problem for problem in report.problems}
    assert len(found) == len(report.problems)
    assert sorted(found) == ["extra", "labels", "moved", "shape", "torn", "twice"]
    assert "no reference extra-seg.nii.gz" in found["extra"]
    assert "labels 5, 9, expected 0 to 4" in found["labels"]
    assert "affines 0.01 apart" in found["moved"]
    assert "(15, 14, 12) and (16, 14, 12)" in found["shape"]
    assert str(predictions / "torn.nii.gz") in found["torn"]
    assert all(str(references / name / "twice-seg.nii.gz") in found["twice"] for name in ("twice", "copy"))
    assert report.unpredicted == ["untouched"]
    assert [row["case"] for row in read(tmp_path / "out" / "scores.csv")] == ["good"] * 3 + ["labels"] * 3
    assert all(row["dice"] == 1.0 for row in report.rows)


def test_a_small_difference_of_affines_is_rounding(tmp_path: Path) -> None:
    save(tmp_path / "references" / "A.nii.gz", labels())
    save(tmp_path / "predictions" / "A.nii.gz", labels(), np.diag((*SPACING, 1.0)) + 5e-4 * np.eye(4, k=3))
    assert run(tmp_path).problems == []


def test_two_files_of_one_prediction(tmp_path: Path) -> None:
    for name in ("A.nii.gz", "A-seg.nii.gz", "B.nii.gz"):
        save(tmp_path / "predictions" / name, labels())
    for case in ("A", "B"):
        save(tmp_path / "references" / f"{case}.nii.gz", labels())
    report = run(tmp_path)
    assert [problem.split(",")[0] for problem in report.problems] == [
        f"A: twice among the predictions: {tmp_path / 'predictions' / 'A-seg.nii.gz'}"
    ]
    assert [row["case"] for row in report.rows] == ["B"] * 3


def test_fractional_labels_are_a_problem_and_whole_floats_are_not(tmp_path: Path) -> None:
    for case, offset in (("A", 0.0), ("B", 0.5)):
        save(tmp_path / "predictions" / f"{case}.nii.gz", labels().astype(np.float32) + np.float32(offset))
        save(tmp_path / "references" / f"{case}.nii.gz", labels().astype(np.float32))
    report = run(tmp_path)
    assert [row["case"] for row in report.rows] == ["A"] * 3
    assert [problem.split(":")[0] for problem in report.problems] == ["B"]


def test_earlier_tables_stay_when_nothing_could_be_scored(tmp_path: Path) -> None:
    save(tmp_path / "references" / "A.nii.gz", labels())
    broken = save(tmp_path / "predictions" / "A.nii.gz", labels())
    tear(broken)
    report = run(tmp_path)
    assert len(report.problems) == 1
    assert not (tmp_path / "out").exists()
    save(broken, labels())
    run(tmp_path)
    before = (tmp_path / "out" / "scores.csv").read_text()
    tear(broken)
    assert run(tmp_path).rows == []
    assert (tmp_path / "out" / "scores.csv").read_text() == before


@pytest.mark.parametrize(
    ("missing", "message"), [("predictions", "predictions as CASE.nii.gz"), ("references", "references as CASE.nii.gz")]
)
def test_folders_without_label_maps(tmp_path: Path, missing: str, message: str) -> None:
    for role in ("predictions", "references"):
        save(tmp_path / role / ("A-t1c.nii.gz" if role == missing else "A.nii.gz"), labels())
    with pytest.raises(ValueError, match=message):
        run(tmp_path)


def test_folders_that_do_not_exist_and_unknown_rules(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder of predictions"):
        run(tmp_path)
    with pytest.raises(ValueError, match="brats2023; found 'brats1999'"):
        evaluate(tmp_path, tmp_path, rules="brats1999", scores=tmp_path / "scores.csv")


def test_no_torch_is_imported() -> None:
    code = "import sys, mets3d.evaluation.score as s; s.lesion_scores; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"
