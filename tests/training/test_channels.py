"""Other channels than the four sequences, from a store to predictions, scores and an exported folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mets3d import Predictor
from mets3d.config import Data, Preprocess
from mets3d.data.nifti import read_image
from mets3d.data.plan import read_plan
from mets3d.data.preprocess import preprocess
from mets3d.files import read_json
from mets3d.inference.predict import predict
from mets3d.release.export import export
from mets3d.rundir import RunDir
from tests.builders.runs import train, write_config

CHANNELS = ("t2f", "t1c", "t1c-t1n")
ONE_STEP = {"train": {"steps": 1, "checkpoint_every": 1}, "validate": {"every": 1, "cases": 1}}


def clinic(phantoms: Path, data: Path) -> Path:
    """The phantoms without t2w, the first one without t2f too, named as a clinic does."""
    for number, folder in enumerate(sorted(phantoms.iterdir())):
        name = f"sub-{number // 2:02d}_ses-{number % 2}"
        for kind in ("t1n", "t1c", "t2f", "seg"):
            if (number, kind) != (0, "t2f"):
                (data / name).mkdir(parents=True, exist_ok=True)
                shutil.copy(folder / f"{folder.name}-{kind}.nii.gz", data / name / f"{name}-{kind}.nii.gz")
    return data


def test_three_channels_of_an_incomplete_data_set(
    phantom_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, store = clinic(phantom_data, tmp_path / "data"), tmp_path / "store"
    reading = Data(sequences=CHANNELS, missing_sequences="zero")
    preprocess(data, store, Preprocess(spacing_mm=(4.0, 4.0, 4.0)), data=reading)
    settings = {"sequences": list(CHANNELS), "missing_sequences": "zero", "folds": 3}
    config = write_config(tmp_path, store, name="clinic", data=settings, augment={"sequence_dropout": 0.3}, **ONE_STEP)
    assert train(config) == 0
    assert "sequence_dropout" not in capsys.readouterr().out
    run = RunDir(tmp_path / "runs" / "clinic")
    assert read_plan(run.plan).sequences == CHANNELS
    assert read_json(run.baseline)["sequence"] == "t2f"
    split = read_json(run.split)
    assert split["patients"] == {name: name[:6] for name in sorted(folder.name for folder in data.iterdir())}
    assert {split["patients"][name] for name in split["training"]}.isdisjoint(
        split["patients"][name] for name in split["validation"]
    )
    assert len(read_json(run.splits)) == 3

    found = predict(run.path, data)
    assert (len(found.cases), found.failures) == (6, {})
    assert any("zeros stand for a missing sequence in 1 case: sub-00_ses-0" in remark for remark in found.remarks)

    export(run.path, tmp_path / "out", with_bundle=True)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "3 co-registered, skull-stripped MR sequences" in card
    assert "t2f (T2-FLAIR), t1c (T1 with contrast), t1n (T1), of which it makes the channels t2f, t1c, t1c-t1n" in card
    predictor = Predictor.from_pretrained(tmp_path / "out", device="cpu")
    assert predictor.sequences == ("t2f", "t1c", "t1n")
    name = "sub-02_ses-1"
    images = np.stack([read_image(data / name / f"{name}-{kind}.nii.gz").data for kind in predictor.sequences])
    label_map = read_image(run.predictions / f"{name}.nii.gz").data
    np.testing.assert_array_equal(predictor(images, (4, 4, 4)).labels, label_map)


def test_two_of_four_stored_channels_train_and_predict(
    phantom_store: Path, phantom_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"sequences": ["t1c", "t2f"], "missing_sequences": "zero"}
    config = write_config(tmp_path, phantom_store, name="two", data=settings, **ONE_STEP)
    assert train(config) == 0
    assert "augment.sequence_dropout 0" in capsys.readouterr().out
    run = RunDir(tmp_path / "runs" / "two")
    assert read_plan(run.plan).sequences == ("t1c", "t2f")
    name = sorted(folder.name for folder in phantom_data.iterdir())[0]
    case = tmp_path / "data" / name
    case.mkdir(parents=True)
    for kind in ("t1c", "t2f"):
        shutil.copy(phantom_data / name / f"{name}-{kind}.nii.gz", case)
    assert predict(run.path, tmp_path / "data").cases == [name]
