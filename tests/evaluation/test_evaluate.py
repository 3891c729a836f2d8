"""Folders in, tables out: layouts, what is collected as a problem, and what the files look like."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from mets3d.evaluation.case import Scoring, reference_labels
from mets3d.evaluation.evaluate import EvaluationReport, Tables, evaluate
from mets3d.evaluation.lesion_columns import LESION_COLUMNS
from mets3d.evaluation.lesions import lesion_scores
from mets3d.evaluation.scores import score_columns

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
    tables = Tables(folder / "out" / "scores.csv", folder / "out" / "lesions.csv")
    return evaluate(folder / "predictions", folder / "references", tables, jobs=jobs)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
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
        assert tuple(written)[: len(score_columns())] == score_columns()
        assert set(written) == {"case", "patient", *row}
        for name, value in row.items():
            assert type(value)(written[name]) == value if written[name] else math.isnan(value), name
    lesions = read(tmp_path / "out" / "lesions.csv")
    assert tuple(lesions[0]) == LESION_COLUMNS
    assert [row["kind"] for row in lesions] == [row["kind"] for row in report.lesions]
    assert [set(row) for row in report.rows] == [{"case", "patient"} | set(row) for _, row in expected]


def test_more_processes_give_the_same_files(tmp_path: Path) -> None:
    for case in ("A", "B", "C"):
        save(tmp_path / "predictions" / f"{case}.nii.gz", labels(1))
        save(tmp_path / "references" / f"{case}.nii.gz", labels())
    tear(tmp_path / "predictions" / "B.nii.gz")
    one = run(tmp_path)
    files = [(tmp_path / "out" / name).read_bytes() for name in ("scores.csv", "lesions.csv")]
    two = run(tmp_path, jobs=2)
    assert two.problems == one.problems
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
        Tables(tmp_path / "scores.csv"),
        progress=lambda done, total, case: seen.append((done, total, case)),
    )
    assert seen == [(1, 2, "A"), (2, 2, "B")]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["predictions", "references", "scores.csv"]


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
    save(predictions / "moved.nii.gz", labels(), np.diag((*SPACING, 1.0)) + 0.1 * np.eye(4, k=3))
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
    assert "affines 0.1 apart" in found["moved"]
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


@pytest.mark.parametrize(("voxels", "accepted"), [(0.09, True), (0.11, False)])
def test_a_tenth_of_the_smallest_side_decides(tmp_path: Path, voxels: float, accepted: bool) -> None:
    save(tmp_path / "references" / "A.nii.gz", labels())
    moved = np.diag((*SPACING, 1.0)) + voxels * min(SPACING) * np.eye(4, k=3)
    save(tmp_path / "predictions" / "A.nii.gz", labels(), moved)
    report = run(tmp_path)
    assert (report.problems == []) is accepted
    assert [row["dice"] for row in report.rows] == [1.0] * 3 * accepted


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
    with pytest.raises(ValueError, match="brats2026; found 'brats1999'"):
        evaluate(tmp_path, tmp_path, Tables(tmp_path / "scores.csv"), Scoring("brats1999"))


def test_no_torch_is_imported() -> None:
    code = "import sys, mets3d.evaluation.evaluate as s; s.lesion_scores; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"


# ---------------------------------------------------------------- what the rules say about files


def test_a_missing_prediction_counts_under_2026_and_is_named(tmp_path: Path) -> None:
    """All that rules say: 0 and 373 mm everywhere, in the cavity too, which this reference does not have."""
    save(tmp_path / "predictions" / "A.nii.gz", labels())
    for case in ("A", "B"):
        save(tmp_path / "references" / f"{case}.nii.gz", labels())
    for rules, counted in (("brats2023", False), ("brats2024", False), ("brats2026", True)):
        report = evaluate(tmp_path / "predictions", tmp_path / "references", Tables(tmp_path / "s.csv"), Scoring(rules))
        assert (report.unpredicted, report.problems) == (["B"], [])
        rows = [row for row in report.rows if row["case"] == "B"]
        assert [row["region"] for row in rows] == (["WT", "TC", "ET", "RC"] if counted else [])
        for row in rows:
            assert [row[name] for name in ("lesion_wise_dice", "lesion_wise_nsd_spacing", "dice", "f1")] == [0.0] * 4
            assert [row[name] for name in ("lesion_wise_hd95", "hd95", "global_hd95")] == [373.0] * 3
            assert row["small_f1"] == row["large_f1"] == row["lesion_wise_hd95_sd"] == 0.0
        assert [row["lesions_missed"] for row in rows] == ([2, 2, 1, 0] if counted else [])


def test_predictions_of_certain_cases_miss_no_others(tmp_path: Path) -> None:
    for case in ("A", "B", "C"):
        save(tmp_path / "references" / f"{case}.nii.gz", labels())
    save(tmp_path / "predictions" / "A.nii.gz", labels())
    note = tmp_path / "predictions" / "predict.json"
    folders = tmp_path / "predictions", tmp_path / "references"
    for told, missing in (
        ('{"cases": ["A"], "failures": {"B": "torn"}}', ["B"]),
        ('{"asked": ["A", "C"], "cases": [], "failures": {}}', ["C"]),
        ("{}", ["B", "C"]),
    ):
        note.write_text(told)
        report = evaluate(*folders, Tables(tmp_path / "s.csv"), Scoring("brats2026"))
        assert (report.unpredicted, report.problems) == (missing, [])
    note.write_text('{"asked": ["A", "C"]}')
    (tmp_path / "predictions" / "A.nii.gz").unlink()
    report = evaluate(*folders, Tables(tmp_path / "s.csv"), Scoring("brats2026"))
    assert {row["case"] for row in report.rows} == {"A", "C"}  # all failed, and all count


def test_an_older_map_of_a_case_that_failed_is_not_scored(tmp_path: Path) -> None:
    for role in ("predictions", "references"):
        for case in ("A", "B"):
            save(tmp_path / role / f"{case}.nii.gz", labels())
    (tmp_path / "predictions" / "predict.json").write_text('{"asked": ["A", "B"], "failures": {"B": "torn"}}')
    for rules, scored in (("brats2023", {"A"}), ("brats2026", {"A", "B"})):
        report = evaluate(tmp_path / "predictions", tmp_path / "references", Tables(tmp_path / "s.csv"), Scoring(rules))
        assert {row["case"] for row in report.rows} == scored
        assert report.unpredicted == ["B"]
        assert [problem.split(":")[0] for problem in report.problems] == ["B"]
        assert all(row["dice"] == 0.0 for row in report.rows if row["case"] == "B" and row["region"] == "WT")


@pytest.mark.parametrize("told", ["", "[]", "{", '{"cases": null}', '{"cases": [["A"]]}', "3"])
def test_a_broken_note_is_named_and_keeps_no_case_from_being_scored(tmp_path: Path, told: str) -> None:
    for role in ("predictions", "references"):
        save(tmp_path / role / "A.nii.gz", labels())
    (tmp_path / "predictions" / "predict.json").write_text(told)
    report = run(tmp_path)
    assert [row["case"] for row in report.rows] == ["A"] * 3
    assert [problem.split(":")[0] for problem in report.problems] == [str(tmp_path / "predictions" / "predict.json")]


def test_a_reference_that_is_there_twice_is_named_without_a_prediction_too(tmp_path: Path) -> None:
    save(tmp_path / "predictions" / "A.nii.gz", labels())
    for name in ("A.nii.gz", "B.nii.gz", "B-seg.nii.gz"):
        save(tmp_path / "references" / name, labels())
    report = evaluate(
        tmp_path / "predictions", tmp_path / "references", Tables(tmp_path / "s.csv"), Scoring("brats2026")
    )
    assert [problem.split(",")[0].split(":")[0] for problem in report.problems] == ["B"]
    assert {row["case"] for row in report.rows} == {"A"}


@pytest.mark.parametrize("label", [-1, 300])
def test_labels_that_a_byte_does_not_hold_are_background_or_refused(tmp_path: Path, label: int) -> None:
    odd = labels().astype(np.int16)
    odd[0, 0, 0] = label
    save(tmp_path / "predictions" / "A.nii.gz", odd)
    save(tmp_path / "references" / "A.nii.gz", labels())
    report = run(tmp_path)
    assert [row["dice"] for row in report.rows] == [1.0] * 3
    assert "holds labels outside 0 to 254, expected 0 to 4; scored as background" in report.problems[0]
    report = evaluate(
        tmp_path / "predictions", tmp_path / "references", Tables(tmp_path / "s.csv"), Scoring("brats2026")
    )
    assert (report.rows, len(report.problems)) == ([], 1)


def test_voxel_sizes_that_differ_from_the_affine_are_compared_too(tmp_path: Path) -> None:
    save(tmp_path / "references" / "A.nii.gz", labels())
    image = nibabel.Nifti1Image(labels(), np.diag((*SPACING, 1.0)))
    image.header["pixdim"][3] = 3.0
    (tmp_path / "predictions").mkdir()
    nibabel.save(image, tmp_path / "predictions" / "A.nii.gz")
    report = run(tmp_path)
    assert report.rows == []
    assert "have voxels of (1.0, 0.5, 3.0) and (1.0, 0.5, 2.0) mm by their headers" in report.problems[0]


@pytest.mark.parametrize("turned", [False, True], ids=["same axes", "axes turned"])
def test_volumes_are_by_the_voxel_size_of_the_reference(tmp_path: Path, turned: bool) -> None:
    """Headers may differ by 1 %; a lesion of exactly 27 mm3 stays a large one whatever the prediction's header says."""
    cube = np.zeros((9, 10, 24), np.uint8)
    cube[3:6, 3:6, 4:10] = 3
    sides = (1.0, 1.0, 0.5)
    save(tmp_path / "references" / "A.nii.gz", cube, np.diag((*sides, 1.0)))
    order = (2, 0, 1) if turned else (0, 1, 2)
    image = nibabel.Nifti1Image(cube.transpose(order), np.diag((*sides, 1.0))[:, [*order, 3]])
    image.set_qform(None, 0)
    image.header["pixdim"][1 + order.index(0)] = 0.9905
    (tmp_path / "predictions").mkdir()
    nibabel.save(image, tmp_path / "predictions" / "A.nii.gz")
    report = evaluate(
        tmp_path / "predictions", tmp_path / "references", Tables(tmp_path / "s.csv"), Scoring("brats2026")
    )
    assert report.problems == []
    whole = report.rows[0]
    assert (whole["reference_volume_mm3"], whole["prediction_volume_mm3"]) == (27.0, 27.0)
    assert (whole["large_found"], whole["smallest_spacing_mm"]) == (1, 0.5)
    lesion = report.lesions[0]
    assert (lesion["reference_volume_mm3"], lesion["x_mm"], lesion["y_mm"], lesion["z_mm"]) == (27.0, 4.0, 4.0, 3.25)


def test_a_folder_where_a_table_is_to_be_is_refused_before_scoring(tmp_path: Path) -> None:
    for role in ("predictions", "references"):
        save(tmp_path / role / "A.nii.gz", labels())
    (tmp_path / "lesions.csv").mkdir()
    tables = Tables(tmp_path / "scores.csv", tmp_path / "lesions.csv")
    with pytest.raises(OSError, match=r"lesions.csv is a folder"):
        evaluate(tmp_path / "predictions", tmp_path / "references", tables)
    assert not (tmp_path / "scores.csv").exists()


def test_a_label_that_2026_refuses_keeps_its_case_from_being_scored(tmp_path: Path) -> None:
    odd = labels()
    odd[0, 0, 0] = 7
    for case, array in (("A", odd), ("B", labels())):
        save(tmp_path / "predictions" / f"{case}.nii.gz", array)
        save(tmp_path / "references" / f"{case}.nii.gz", labels())
    report = evaluate(
        tmp_path / "predictions", tmp_path / "references", Tables(tmp_path / "s.csv"), Scoring("brats2026")
    )
    assert {row["case"] for row in report.rows} == {"B"}
    assert len(report.problems) == 1
    assert "A: expected labels 0 to 4 under brats2026, found 7 in the prediction" in report.problems[0]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1)])
def test_compat_swaps_the_sides_of_the_file(
    tmp_path: Path, order: tuple[int, int, int], flips: tuple[int, int, int]
) -> None:
    """The program knows arrays and no orientation, so what it swaps depends on how the file lies."""
    affine = np.eye(4)
    for axis, (along, flip) in enumerate(zip(order, flips, strict=True)):
        affine[:, axis] = 0
        affine[along, axis] = SPACING[along] * flip
        affine[along, 3] = (labels().shape[along] - 1) * SPACING[along] * (flip < 0)
    sides = [SPACING[along] for along in order]
    for name, shift in (("predictions", 1), ("references", 0)):
        stored = labels(shift).transpose(order)[tuple(slice(None, None, flip) for flip in flips)]
        save(tmp_path / name / "A.nii.gz", np.ascontiguousarray(stored), affine)
    folders = tmp_path / "predictions", tmp_path / "references"
    swapped = evaluate(*folders, Tables(tmp_path / "s"), Scoring("brats2026", "organisers"))
    stored = [np.asarray(nibabel.load(tmp_path / name / "A.nii.gz").dataobj) for name in ("predictions", "references")]
    expected = lesion_scores(*stored, sides[::-1], rules="brats2026")
    for ours, theirs in zip(swapped.rows, expected, strict=True):
        assert ours["lesion_wise_hd95"] == pytest.approx(theirs["lesion_wise_hd95"], nan_ok=True)
    positions = [[row[f"{axis}_mm"] for axis in "xyz"] for row in swapped.lesions]
    straight = lesion_scores(labels(1), labels(), SPACING, rules="brats2026").lesions
    assert sorted(positions) == [
        pytest.approx(place) for place in sorted([row[f"{axis}_mm"] for axis in "xyz"] for row in straight)
    ]


def test_references_are_those_of_a_data_set_of_any_layout(tmp_path: Path) -> None:
    old, images = tmp_path / "references" / "BraTS20_Training_001", tmp_path / "references" / "Task01" / "imagesTr"
    save(old / f"{old.name}_t1ce.nii.gz", labels())
    save(old / f"{old.name}_seg.nii.gz", np.where(labels() == 3, 4, labels()).astype(np.uint8))
    save(images / "BRATS_001.nii.gz", labels())
    save(images.parent / "labelsTr" / "BRATS_001.nii.gz", np.array([0, 2, 1, 3], np.uint8)[labels()])
    (images.parent / "dataset.json").write_text(
        '{"modality": {"0": "T1gd"}, "labels": {"0": "background", "1": "edema", "2": "necrosis", "3": "ET"}}',
        encoding="utf-8",
    )
    for case in ("BraTS20_Training_001", "BRATS_001"):
        save(tmp_path / "predictions" / f"{case}.nii.gz", labels())
    save(tmp_path / "references" / "other" / "BRATS_001-seg.nii.gz", labels(1))  # apart from its case: not read
    report = run(tmp_path)
    assert (report.problems, len(report.rows)) == ([], 6)
    assert {row["dice"] for row in report.rows} == {1.0}


def test_froc_lies_beside_the_scores(tmp_path: Path) -> None:
    soft = np.stack([(labels() == label).astype(np.float32) for label in (0, 1, 2, 3)], axis=-1)
    for case in ("A", "B"):
        save(tmp_path / "predictions" / f"{case}.nii.gz", labels())
        save(tmp_path / "references" / f"{case}.nii.gz", labels())
        image = nibabel.Nifti1Image(soft, np.diag((*SPACING, 1.0)))
        image.header["descrip"] = b"background NETC SNFH ET"
        (tmp_path / "soft").mkdir(exist_ok=True)
        nibabel.save(image, tmp_path / "soft" / f"{case}.nii.gz")
    tables = Tables(*(tmp_path / "out" / f"{name}.csv" for name in ("scores", "lesions", "froc")))
    assert tables.froc is not None
    folders = tmp_path / "predictions", tmp_path / "references"
    evaluate(*folders, tables, probabilities=tmp_path / "soft")
    froc = read(tables.froc)
    assert len(froc) == 2 * 3 * 19
    assert {(row["lesions_missed"], row["lesions_false"]) for row in froc} == {("0", "0")}
    evaluate(*folders, tables)
    assert not tables.froc.exists()
    (tmp_path / "soft" / "A.nii.gz").unlink()
    report = evaluate(*folders, tables, probabilities=tmp_path / "soft")
    assert {row["case"] for row in report.rows} == {"A", "B"}
    assert "A.nii.gz: no such file; scored, but not in the FROC table" in report.problems[0]
    assert {row["case"] for row in read(tables.froc)} == {"B"}
    moved = nibabel.Nifti1Image(soft, np.diag((*SPACING, 1.0)) + 50 * np.eye(4, k=3))
    moved.header["descrip"] = b"background NETC SNFH ET"
    nibabel.save(moved, tmp_path / "soft" / "A.nii.gz")
    assert "lie differently" in evaluate(*folders, tables, probabilities=tmp_path / "soft").problems[0]


def test_a_label_that_is_none_is_background_of_a_reference_where_the_settings_say_so(tmp_path: Path) -> None:
    array = labels()
    array[0, 0, 0], array[0, 0, 1] = 9, 4
    file = save(tmp_path / "A-00001-000.nii.gz", array)
    as_it_is = reference_labels(file, {}, "error").labels
    without = reference_labels(file, {}, "background").labels
    assert sorted(np.unique(as_it_is)) == [0, 1, 2, 3, 4, 9]
    assert np.array_equal(without, np.where(as_it_is == 9, 0, as_it_is))
    assert (reference_labels(file, {9: 1}, "background").labels == 1).sum() == (array == 1).sum() + 1
