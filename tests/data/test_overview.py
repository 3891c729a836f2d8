"""The five lines with which check begins."""

from dataclasses import replace
from pathlib import Path

from mets3d.data.cases import CaseList
from mets3d.data.overview import overview
from tests.builders.cases import make_case
from tests.builders.summaries import summary


def listed(data: Path, where: dict[Path, int]) -> CaseList:
    case = make_case(data)
    return CaseList([case] * sum(where.values()), where, [], "BraTS-METS")


def test_a_download_of_two_folders(tmp_path: Path) -> None:
    top, inner = tmp_path / "Training", tmp_path / "Training" / "UCSD"
    cases = [replace(summary(number), patient="A" if number < 3 else f"P{number}") for number in range(6)]
    cases[1] = replace(cases[1], spacing_mm=(0.5, 0.5, 1.0), label_voxels={})
    cases[2] = replace(cases[2], label_voxels=None)
    cases[3] = replace(cases[3], sequences=("t1n", "t1c"), label_voxels=None, has_reference=False)
    cases[4] = replace(cases[4], label_voxels={2: 5, 4: 1})
    folders, patients, time_points, references, scans = overview(listed(tmp_path, {inner: 2, top: 4}), cases)
    assert folders == f"6 cases in {top} (4) and {inner} (2), layout BraTS-METS"
    assert patients == "4 patients: A to P5"
    assert time_points == "6 time points: 3 patients with 1, 1 patient with 3"
    found, _, labels = references.partition(": ")
    assert found == "5 references for 6 cases"
    assert labels == "label 1 in 2, label 2 in 3, label 3 in 2, label 4 in 1, 1 empty, 1 that cannot be read"
    sequences, *spacings = scans.split("; ")
    assert sequences == "t1n, t1c in all cases, t2w in 5, t2f in 5"
    assert spacings == ["2 voxel sizes, most 1x1x1 mm in 5, 0.5x0.5x1 mm in 1", "sides of 0.5 to 1 mm"]


def test_one_case_to_predict(tmp_path: Path) -> None:
    case = replace(summary(1), has_reference=False, label_voxels=None)
    assert overview(listed(tmp_path, {tmp_path: 1}), [case]) == [
        f"1 case in {tmp_path}, layout BraTS-METS",
        "1 patient: BraTS-MET-00001",
        "1 time point, one of each patient",
        "no references: the cases can be predicted, not learned from",
        "t1n, t1c, t2w, t2f in all cases; voxels of 1x1x1 mm",
    ]


def test_many_folders_are_counted(tmp_path: Path) -> None:
    where = {tmp_path / f"site-{number}": 1 for number in range(7)}
    line = overview(listed(tmp_path, where), [summary(number) for number in range(7)])[0]
    assert line.endswith("site-3 (1) and 3 more, layout BraTS-METS")
