"""MSD Task01: all sequences in one 4-D file, labels in another order."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from mets3d.data.cases import find_cases
from tests.builders.cases import RAS
from tests.builders.layouts import TINY, described, filled, first_labels, first_values, touched

BRAIN: dict[str, Any] = {
    "name": "BRATS",
    "tensorImageSize": "4D",
    "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
    "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
    "training": [{"image": "./imagesTr/BRATS_001.nii.gz", "label": "./labelsTr/BRATS_001.nii.gz"}],
    "test": ["./imagesTs/BRATS_485.nii.gz"],
}


def test_volumes_and_labels_of_task01(tmp_path: Path) -> None:
    task = described(tmp_path / "Task01_BrainTumour", **BRAIN)
    volumes = np.broadcast_to(np.arange(4, dtype=np.float32), (*TINY, 4))
    for image in ("imagesTr/BRATS_001.nii.gz", "imagesTs/BRATS_485.nii.gz"):
        (task / image).parent.mkdir()
        nibabel.save(nibabel.Nifti1Image(volumes, RAS), task / image)
    filled(task, {"labelsTr/BRATS_001.nii.gz": [1, 2, 3, 0]})
    touched(task, "imagesTr/._BRATS_001.nii.gz", "labelsTr/._BRATS_001.nii.gz")
    learned, tested = found = find_cases(tmp_path)
    assert found.layout == "MSD Task01 (4-D, labels 1 edema, 2 non-enhancing tumor, 3 enhancing tumour)"
    assert first_values(learned) == {"t1n": 1, "t1c": 2, "t2w": 3, "t2f": 0}
    assert [*learned.sequences] == ["t1n", "t1c", "t2w", "t2f"]
    assert first_labels(learned, 4) == [2, 1, 3, 0]
    assert (tested.name, tested.labels, learned.files) == (
        "BRATS_485",
        None,
        (task / "imagesTr" / "BRATS_001.nii.gz", task / "labelsTr" / "BRATS_001.nii.gz"),
    )
    assert (found.where, found.findings) == ({task: 2}, [])


def test_one_channel_is_3d(tmp_path: Path) -> None:
    described(tmp_path, modality={"0": "T1gd"}, labels={"0": "background", "1": "lesion"})
    filled(tmp_path, {"imagesTr/A_1.nii.gz": 7, "labelsTr/A_1.nii.gz": [0, 1]})
    (case,) = found = find_cases(tmp_path)
    assert first_values(case) == {"t1c": 7}
    assert first_labels(case, 2) == [0, 3]
    assert found.layout == "MSD (labels 1 lesion)"
