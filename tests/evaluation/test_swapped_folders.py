"""Predictions and references in the wrong order are refused; folders that only look like it are not."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from mets3d.evaluation.swapped_folders import refuse_swapped
from mets3d.files import write_json


def save(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for case in ("P-001", "P-002"):
        for kind in ("t1n", "t1c", "t2w", "t2f", "seg"):
            save(tmp_path / "data" / case / f"{case}-{kind}.nii.gz")
    return tmp_path / "data"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    save(tmp_path / "run" / "predictions" / "P-001.nii.gz")
    (tmp_path / "run" / "config.yaml").write_text("name: run")
    return tmp_path / "run"


def test_a_run_as_references(data: Path, run: Path) -> None:
    for references, why in ((run, "it is a run"), (run / "predictions", f"they lie in the run {run}")):
        with pytest.raises(ValueError, match="found predictions as REFERENCES") as refused:
            refuse_swapped(data, references)
        assert why in str(refused.value)
        assert "exchange the two" in str(refused.value)
        refuse_swapped(references, data)


def test_predictions_with_a_note_as_references(data: Path, tmp_path: Path) -> None:
    save(tmp_path / "flat" / "P-001.nii.gz")
    for note, refused in (({}, False), ({"cases": ["P-001"]}, False), ({"run": "gone", "cases": ["P-001"]}, True)):
        write_json(tmp_path / "flat" / "predict.json", note)
        if refused:
            with pytest.raises(ValueError, match=r"predict.json in it says which run made them"):
                refuse_swapped(tmp_path / "other", tmp_path / "flat")
        else:
            refuse_swapped(tmp_path / "other", tmp_path / "flat")


def test_a_data_set_as_predictions(data: Path, tmp_path: Path) -> None:
    save(tmp_path / "flat" / "P-001.nii.gz")
    with pytest.raises(ValueError, match="found a data set with its scans as PREDICTIONS and label maps alone"):
        refuse_swapped(data, tmp_path / "flat")
    refuse_swapped(tmp_path / "flat", data)
    refuse_swapped(data, data)  # of predictions that lie in a copy of the data set


def test_a_data_set_without_references_as_predictions(data: Path, tmp_path: Path) -> None:
    for file in data.rglob("*-seg.nii.gz"):
        file.unlink()
    save(tmp_path / "flat" / "P-001.nii.gz")
    with pytest.raises(ValueError, match="found a data set with its scans"):
        refuse_swapped(data, tmp_path / "flat")


def test_predictions_laid_out_as_a_data_set_are_none(tmp_path: Path) -> None:
    for case in ("P-001", "P-002"):
        save(tmp_path / "predictions" / case / f"{case}-seg.nii.gz")
        save(tmp_path / "references" / f"{case}.nii.gz")
    save(tmp_path / "predictions" / "P-001" / "P-001-t1c.nii.gz")
    refuse_swapped(tmp_path / "predictions", tmp_path / "references")
    refuse_swapped(tmp_path / "references", tmp_path / "predictions")
