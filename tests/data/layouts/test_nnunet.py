"""nnU-Net's raw data in both versions."""

from pathlib import Path
from typing import Any

import pytest

from mets3d.config import Data
from mets3d.data import DataError
from mets3d.data.cases import find_cases
from tests.builders.layouts import described, filled, first_labels, first_values, names_in, touched

NAMES = {"0": "T1", "1": "T1CE", "2": "T2", "3": "FLAIR"}
CHANNELS = [f"_000{number}.nii.gz" for number in range(4)]
REGIONS = {
    "background": 0,
    "whole tumor": [1, 2, 3, 5],
    "tumor core": [2, 3],
    "enhancing tumor": [3],
    "resection cavity": 4,
    "ignore": 6,
}


def raw(data: Path, **changes: Any) -> Path:
    v2 = {"channel_names": NAMES, "labels": {"background": 0, "ET": 1}, "file_ending": ".nii.gz", "numTraining": 1}
    touched(data, *(f"imagesTr/A{channel}" for channel in CHANNELS), "labelsTr/A.nii.gz")
    return described(data, **{**v2, **changes})


def test_version_1(tmp_path: Path) -> None:
    listed = [{"image": "./imagesTr/A.nii.gz", "label": "./labelsTr/A.nii.gz"}]
    labels = {"0": "background", "1": "edema", "2": "NCR", "3": "ET"}
    task = described(tmp_path / "Task082_X", modality=NAMES, labels=labels, training=listed, test=[])
    filled(task, {f"imagesTr/A{channel}": number for number, channel in enumerate(CHANNELS)})
    filled(task, {f"imagesTs/B{channel}": number for number, channel in enumerate(CHANNELS)})
    filled(task, {"labelsTr/A.nii.gz": [1, 2, 3]})
    learned, tested = found = find_cases(tmp_path)
    assert found.layout == "nnU-Net raw v1 (labels 1 edema, 2 NCR, 3 ET)"
    assert first_values(learned) == first_values(tested) == {"t1n": 0, "t1c": 1, "t2w": 2, "t2f": 3}
    assert first_labels(learned, 3) == [2, 1, 3]
    assert (tested.name, tested.labels, found.findings) == ("B", None, [])


def test_version_2_with_regions_and_ignore_label(tmp_path: Path) -> None:
    data = described(
        tmp_path / "Dataset137_X", channel_names=NAMES, labels=REGIONS, regions_class_order=[1, 2, 3, 4],
        numTraining=1, file_ending=".nii",
    )  # fmt: skip
    filled(data, {f"imagesTr/A_000{number}.nii": number for number in range(4)})
    filled(data, {"labelsTr/A.nii": [1, 2, 3, 4, 5, 6]})
    touched(data, "imagesTr/A_0000.nii.gz", "labelsTs/B.nii")
    (case,) = found = find_cases(tmp_path)
    assert first_values(case) == {"t1n": 0, "t1c": 1, "t2w": 2, "t2f": 3}
    assert first_labels(case, 6) == [2, 1, 3, 4, 2, 0]
    (ignored,) = found.findings
    assert (ignored.severity, ignored.what) == ("warning", "ignore label")
    assert found.layout.startswith("nnU-Net raw v2 (labels 1 whole tumor, 2 tumor core, 3 enhancing tumor, 4 resection")


def test_version_2_with_files_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANS", "scans")
    files = {"images": ["$SCANS/a.nii.gz", "scans/b.nii.gz"], "label": "scans/l.nii.gz"}
    names = {"0": "T1c", "1": "ADC"}
    data = described(tmp_path, channel_names=names, labels={"background": 0, "ET": 1}, dataset={"P1": files})
    (case,) = found = find_cases(touched(data, "scans/a.nii.gz", "scans/b.nii.gz", "scans/l.nii.gz"))
    assert names_in(case, tmp_path) == {"t1c": "scans/a.nii.gz", "seg": "scans/l.nii.gz"}
    assert [finding.what for finding in found.findings] == ["folder is not a case"]  # of the ADC map


def test_a_file_of_no_channel_is_told(tmp_path: Path) -> None:
    found = find_cases(touched(raw(tmp_path), "imagesTr/A_0004.nii.gz", "imagesTr/readme.nii.gz"))
    assert len(found) == 1
    (finding,) = found.findings
    assert "2 files not named CASE_0000.nii.gz to CASE_0003" in finding.detail


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channel_names": ["T1"]}, "channel_names: expected an object"),
        ({"channel_names": {"0": "X", "1": "ADC"}}, "expected names of different sequences.*'X', 'ADC'"),
        ({"channel_names": {"0": "T1", "1": "t1w"}}, "expected names of different sequences"),
        ({"channel_names": {"zero": "T1"}}, "expected numbers and names"),
        (
            {"labels": {"background": 0, "grey": 1, "white": 2}},
            "found 1 grey, 2 white; say .* data.labels",
        ),
        ({"labels": {"background": 0, "ET": "1"}}, "expected whole numbers from 0 for 'ET'"),
        ({"file_ending": 3}, "file_ending: expected an ending"),
        ({"dataset": {"A": {"images": ["a"]}}}, "dataset: A: expected .* with 4 images"),
    ],
)
def test_a_broken_dataset_json_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"dataset.json: .*{message}"):
        find_cases(raw(tmp_path, **changes))


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    (raw(tmp_path) / "dataset.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="expected JSON"):
        find_cases(tmp_path)


def test_a_dataset_json_of_something_else_describes_nothing(tmp_path: Path) -> None:
    touched(tmp_path, "A/A-t1n.nii.gz")
    for content in ('{"dataset": "x", "labels": ["a"]}', "[1]", "no JSON", '{"modality": {"0": "MR"}}'):
        (tmp_path / "dataset.json").write_text(content, encoding="utf-8")
        assert [case.name for case in find_cases(tmp_path)] == ["A"]


def test_labels_of_any_name_are_what_the_settings_say(tmp_path: Path) -> None:
    data = raw(tmp_path, labels={"background": 0, "grey": 1, "white": 2})
    (case,) = find_cases(data, Data(labels={1: 3, 2: 0}))
    assert case.label_map == {1: 3, 2: 0}
