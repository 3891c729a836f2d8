"""The settings of preprocessing: a file, overrides over it, and faults of both."""

from __future__ import annotations

from pathlib import Path

import pytest

from mets3d.__main__ import main
from mets3d.config import Data, Preprocess
from mets3d.data.store import open_store


def test_overrides_win_over_the_file(phantom_data: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("preprocess: {spacing_mm: [4, 4, 4], margin_voxels: 3}\n", encoding="utf-8")
    words = ["preprocess", str(phantom_data), str(tmp_path / "store"), "--config", str(config)]
    assert main([*words, "--preprocess.spacing_mm=[6, 6, 6]", "--data.cavity=true"]) == 0
    expected = Preprocess(spacing_mm=(6, 6, 6), margin_voxels=3)
    assert len(open_store(tmp_path / "store", expected=(expected, Data(cavity=True))).cases) == 6  # refuses another


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preprocess.margin=1"], "preprocess.margin: unknown key; did you mean preprocess.margin_voxels?"),
        (["--preprocess.margin_voxels=-1"], "preprocess.margin_voxels: input should be greater than or equal to 0"),
        (["--optim.lr=1"], "belongs to the training; only preprocess and data.sequences"),
        (["--data.patch=[32, 32, 32]"], "belongs to the training; only preprocess and data.sequences"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: no such configuration file"),
        (["--config", "."], ".: is a folder; name a YAML file"),
        (["--config", ""], ".: is a folder; name a YAML file"),
    ],
)
def test_faults_are_named_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["preprocess", str(tmp_path), str(tmp_path / "store"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("mets3d preprocess: ")
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "store").exists()


def test_every_fault_of_a_file_names_it_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("optim: {lr: fast}\nbase: nowhere.yaml\n", encoding="utf-8")
    words = ["preprocess", str(tmp_path), str(tmp_path / "store"), "--config"]
    assert main([*words, str(config)]) == 2
    base = tmp_path / "nowhere.yaml"
    assert capsys.readouterr().err == f"mets3d preprocess: {config}: {base}: no such configuration file\n"
    assert main([*words, str(base)]) == 2
    assert capsys.readouterr().err == f"mets3d preprocess: {base}: no such configuration file\n"
