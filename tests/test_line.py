"""The whole line through the command line, and the question it is there for, at toy size."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mets3d.__main__ import main
from mets3d.data.nifti import write_image
from mets3d.rundir import RunDir
from tests.builders.runs import forget_accelerator, train, write_config

COLUMNS = "case,region,rules,lesion_wise_dice,lesion_wise_hd95,dice,hd95,lesions_found,lesions_missed,lesions_false"


def mets3d(*arguments: object) -> int:
    forget_accelerator()
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as leaving:
        return int(leaving.code or 0)
    finally:
        forget_accelerator()


@pytest.mark.slow
def test_base_against_base_plus_hausdorff_from_cases_to_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, store = tmp_path / "cases", tmp_path / "store"
    assert mets3d("synth", data, "--cases", 6, "--seed", 3, "--shape", 40, 48, 36, "--spacing", 4) == 0
    assert mets3d("check", data, "--json", tmp_path / "check.json") == 0
    assert json.loads((tmp_path / "check.json").read_text())["unusable"] == []
    config = write_config(tmp_path, store, model={"mode": "decoder"}, train={"steps": 6})
    assert mets3d("preprocess", data, store, "--config", config, "--jobs", 2) == 0
    runs = []
    for name, term in (("base", "none"), ("hausdorff", "hausdorff_distance")):
        overrides = [f"--name={name}", f"--loss.boundary={term}", "--loss.boundary_ramp=[0.0, 0.1]"]
        assert train(config, *overrides) == 0
        run = RunDir(tmp_path / "runs" / name)
        assert mets3d("predict", run.path, data, "--held-out") == 0
        assert mets3d("evaluate", run.predictions, data, "--out", run.scores) == 0
        runs.append(run)
    # The same samples and draws: before the ramp leaves 0 the two runs are one.
    first, second = (run.read_metrics()[0] for run in runs)
    assert first["loss"] == second["loss"]
    third, fourth = (run.read_metrics()[3] for run in runs)
    assert third["loss"] != fourth["loss"]
    assert Path(runs[0].split).read_text(encoding="utf-8") == Path(runs[1].split).read_text(encoding="utf-8")
    for run in runs:
        rows = list(csv.DictReader(Path(run.scores).read_text(encoding="utf-8").splitlines()))
        assert Path(run.scores).read_text(encoding="utf-8").splitlines()[0].startswith(COLUMNS)
        cases = json.loads(Path(run.split).read_text(encoding="utf-8"))["validation"]
        regions = ("WT", "TC", "ET", "RC")  # of the run's rule set
        assert [(row["case"], row["region"]) for row in rows] == [(c, r) for c in cases for r in regions]
        assert Path(run.lesions).exists()
    capsys.readouterr()
    assert mets3d("report", runs[0].path, runs[1].path, "--out", tmp_path / "page") == 0
    page = Path(capsys.readouterr().out.splitlines()[-1])
    text = page.read_text(encoding="utf-8")
    assert page == tmp_path / "page" / "index.html"
    for word in ("base", "hausdorff", "loss.boundary", "WT", "TC", "ET"):
        assert word in text


def test_the_reference_itself_scores_one(phantom_data: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for folder in phantom_data.iterdir():
        shutil.copy(folder / f"{folder.name}-seg.nii.gz", flat / f"{folder.name}.nii.gz")
    assert mets3d("evaluate", flat, phantom_data, "--out", tmp_path / "scores.csv") == 0
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    assert len(rows) == 18
    assert {float(row["lesion_wise_dice"]) for row in rows} == {1.0}
    assert {float(row["hd95"]) for row in rows} == {0.0}


def test_the_first_steps_of_make_train_can_be_repeated(tmp_path: Path) -> None:
    data, store = tmp_path / "cases", tmp_path / "store"
    config = write_config(tmp_path, store)
    for _ in range(2):
        assert mets3d("synth", data, "--cases", 3, "--shape", 40, 48, 36, "--spacing", 4) == 0
        assert mets3d("preprocess", data, store, "--config", config) == 0


def test_scans_on_different_grids_are_refused_for_that_even_without_a_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cases" / "P1"
    for number, sequence in enumerate(("t1n", "t1c", "t2w", "t2f")):
        write_image(folder / f"P1-{sequence}.nii.gz", np.ones((8, 8 + number, 6), np.int16), np.eye(4))
    assert mets3d("check", tmp_path / "cases") == 1
    assert mets3d("preprocess", tmp_path / "cases", tmp_path / "store") == 2
    printed = capsys.readouterr()
    for text in (printed.out, printed.err):
        assert "shapes differ" in text
        assert "P1" in text


def test_synth_is_the_same_however_many_cases_are_made(tmp_path: Path) -> None:
    for count, name in ((1, "one"), (2, "two")):
        assert mets3d("synth", tmp_path / name, "--cases", count, "--shape", 40, 48, 36, "--spacing", 4) == 0
    files = sorted(file.relative_to(tmp_path / "one") for file in (tmp_path / "one").rglob("*.nii.gz"))
    assert len(files) == 5
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "EMPTY"], "found no NIfTI file"),
        (["check", "nowhere"], "nowhere: no such folder"),
        (["preprocess", "EMPTY", "s"], "found no NIfTI file"),
        (["predict", "EMPTY", "EMPTY"], "not a complete run directory"),
        (["report", "EMPTY", "--out", "x"], "not a complete run directory"),
        (["evaluate", "EMPTY", "EMPTY", "--out", "x.csv"], "EMPTY"),
        (["evaluate", "EMPTY", "EMPTY", "--out", "lesions.csv"], "name another file"),
        (["synth", "x", "--spacing", "1", "2"], "--spacing: expected one or three numbers"),
        (["synth", "x", "--spacing", "0"], "positive voxel counts and sizes"),
        (["synth", "x", "--spacing", "nan"], "positive voxel counts and sizes"),
        (["synth", "x", "--seed", "-1"], "seed: expected 0 or more"),
        (["evaluate", "EMPTY", "EMPTY", "--out", "EMPTY"], "is a folder"),
        (["import-weights", "nowhere.model", "--patch", "64", "64", "64", "--out", "x"], "nowhere.model"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "EMPTY").mkdir()
    assert mets3d(*arguments) == 2
    error = capsys.readouterr().err
    assert message.lower() in error.lower()
    assert "Traceback" not in error
    assert [entry.name for entry in tmp_path.iterdir()] == ["EMPTY"], "nothing half-written"


def test_an_unusable_case_is_exit_code_1_with_every_finding(
    phantom_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "cases"
    shutil.copytree(phantom_data, data)
    one, two, *_ = sorted(folder.name for folder in data.iterdir())
    (data / one / f"{one}-t2f.nii.gz").unlink()
    scan = data / two / f"{two}-t1n.nii.gz"
    scan.write_bytes(scan.read_bytes()[:-500])
    assert mets3d("check", data) == 1
    table = capsys.readouterr().out
    assert one in table
    assert two in table
    assert mets3d("preprocess", data, tmp_path / "store") == 2
    message = capsys.readouterr().err
    assert one in message
    assert two in message
    assert not list((tmp_path / "store").glob("**/*.safetensors"))
