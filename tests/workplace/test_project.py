"""`mets3d init`: a folder that works by itself, made whole or not at all, and nothing overwritten."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from mets3d.__main__ import main, parser_of, verb_table
from mets3d.config import load
from tests.builders.runs import ROOT

# What the pages on Slurm, Kubernetes and two hosts name; the image's own files and SkyPilot's need a checkout.
JOBS = [f"deploy/{name}" for name in ("slurm/folds.sbatch", "slurm/sweep.sbatch", "slurm/nodes.sbatch")]
JOBS += ["deploy/trainjob.yaml", "deploy/two_hosts.sh"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "metastases"
    assert main(["init", str(folder)]) == 0
    return folder


def test_it_holds_what_a_checkout_has_for_its_user(project: Path) -> None:
    for name in ("configs", "accelerate_configs"):
        for file in (ROOT / name).rglob("*.yaml"):
            text = file.read_text(encoding="utf-8").replace("stores/brats_mets", "stores/metastases")
            if file.parent.name == "sweeps":
                text = text.replace("configs/brats_mets.yaml", "configs/metastases.yaml")
            assert (project / file.relative_to(ROOT)).read_text(encoding="utf-8") == text
    for name in ("train.py", *JOBS):
        assert (project / name).read_bytes() == (ROOT / name).read_bytes()
        assert (project / name).stat().st_mode == (ROOT / name).stat().st_mode
    assert {"runs/", "data/", "stores/"} <= set((project / ".gitignore").read_text().split())


def test_the_configuration_lies_over_the_base(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    own, base = load(["--config", "configs/metastases.yaml"]), load(["--config", "brats_mets"])
    assert own.name == "metastases"
    assert own.data.store == "stores/metastases"
    assert own.train == base.train


def test_sweeps_and_recipes_read_the_project_s_store(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    assert load(["--config", "configs/recipes/short.yaml"]).data.store == "stores/metastases"
    sweep = (project / "configs" / "sweeps" / "loss_variants.yaml").read_text(encoding="utf-8")
    assert load(["--config", yaml.safe_load(sweep)["command"][-1 - _words_after_config(sweep)]]).name == "metastases"


def _words_after_config(sweep: str) -> int:
    command = yaml.safe_load(sweep)["command"]
    return len(command) - 2 - command.index("--config")


def test_an_empty_folder_is_filled_and_stays_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert main(["init", "."]) == 0
    assert Path("Makefile").is_file(), "the shell's folder was replaced"
    assert sorted(path.name for path in folder.iterdir()) == [
        ".gitignore", "Makefile", "accelerate_configs", "configs", "deploy", "train.py",
    ]  # fmt: skip


def test_another_base_by_name(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path / "mine"), "--base", "recipes/short"]) == 0
    own = load(["--config", str(tmp_path / "mine" / "configs" / "mine.yaml")])
    assert own.train == load(["--config", "recipes/short"]).train


def test_every_stage_of_the_makefile_is_a_command_that_exists(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    parser, stages = parser_of(verb_table()), 0
    listed = subprocess.run(["make"], capture_output=True, text=True, timeout=20, check=True).stdout
    for stage in re.findall(r"^(\w+) ", listed, re.M):
        told = subprocess.run(
            ["make", "--dry-run", stage, "DATA=cases", "FOLD=3"],
            capture_output=True, text=True, timeout=20, check=True,
        ).stdout  # fmt: skip
        for line in told.splitlines():
            program, *words = shlex.split(line)
            if program == "mets3d":
                options = parser.parse_args(words)
                stages += 1
                if options.verb == "train":
                    config = load(["--config", options.config[0], *options.overrides])
                    assert (config.name, config.data.fold) == ("metastases-fold3", 3)
    assert stages >= 14


@pytest.mark.parametrize(
    ("name", "made", "message"),
    [
        ("there", "there/file", "is there and not empty; expected a new folder"),
        ("a name", None, "expected a folder name of letters, digits"),
        ("quickstart", None, "a configuration that comes with mets3d has this name"),
    ],
)
def test_what_cannot_be_made_is_said_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, made: str | None, message: str
) -> None:
    if made:
        (tmp_path / made).parent.mkdir()
        (tmp_path / made).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert main(["init", str(tmp_path / name)]) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unknown_base_names_those_that_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "mine"), "--base", "brats"]) == 2
    assert "expected one of base, brats_mets, " in capsys.readouterr().err
