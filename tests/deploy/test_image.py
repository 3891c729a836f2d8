"""What the image is made of, without building it: `make image` builds and tries it."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from mets3d.config import load
from mets3d.shipped import CONFIGS, JOBS, LAUNCH_FILES, TRAIN
from tests.builders.runs import ROOT

DEPLOY = ROOT / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def entered(folder: Path, *words: str) -> str:
    """Returns what the image's entry would run, with stand-ins that say their name and words."""
    for name in ("mets3d", "python", "wandb", "accelerate"):
        program = folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho {name} "$@"\n')
        program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "TMPDIR": str(folder)}
    done = subprocess.run(
        [str(DEPLOY / "entrypoint.sh"), *words],
        env=environment, capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    assert (folder / "home").is_dir(), "HOME must be writable for caches"
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("words", "run"),
    [
        ("--help", "mets3d --help"),
        ("train --config brats_mets", "mets3d train --config brats_mets"),
        ("predict runs/a data/b", "mets3d predict runs/a data/b"),
        ("mets3d check data", "mets3d check data"),
        ("accelerate launch train.py --config x", "python -m mets3d.launch train.py --config x"),
        ("accelerate env", "accelerate env"),
        ("wandb agent e/p/s", "wandb agent e/p/s"),
        ("python -m mets3d check", "python -m mets3d check"),
    ],
)
def test_the_entry_takes_verbs_and_the_readme_s_other_commands(tmp_path: Path, words: str, run: str) -> None:
    assert entered(tmp_path, *words.split()) == run


def test_an_argument_with_spaces_stays_one(tmp_path: Path) -> None:
    assert entered(tmp_path, "sh", "-c", 'echo "$#"', "name", "a b") == "1"


@pytest.mark.parametrize(
    ("age", "code"), [(None, 0), (10, 0), (3000, 1)], ids=["no training", "a step just now", "no step for long"]
)
def test_the_health_check_looks_at_the_heartbeat(tmp_path: Path, age: int | None, code: int) -> None:
    file = tmp_path / "heartbeat"
    if age is not None:
        file.touch()
        os.utime(file, (time.time() - age,) * 2)
    done = subprocess.run(
        [str(DEPLOY / "healthcheck.sh")], env={**os.environ, "METS3D_HEARTBEAT": str(file)}, timeout=20, check=False
    )
    assert done.returncode == code


def test_the_base_s_python_and_torch_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    fault_of = runpy.run_path(str(DEPLOY / "check_base.py"))["fault_of"]
    version = __import__("torch").__version__.split("+")[0]
    assert fault_of(">=3.11,<3.14", version) is None
    assert fault_of(">=3.11,<3.14", "1.0.0").startswith("expected torch 1.0.0, found ")
    assert fault_of(">=3.98,<3.99", version).startswith("expected Python >=3.98,<3.99, found 3.")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert fault_of(">=3.11,<3.14", version) == f"expected torch {version}, found none"


def test_all_but_torch_is_installed_beside_the_base() -> None:
    done = subprocess.run(
        [sys.executable, str(DEPLOY / "check_base.py")], capture_output=True, text=True, timeout=100, check=True
    )
    names = [re.split(r"[>=<]", line)[0] for line in done.stdout.splitlines()]
    assert "monai" in names
    assert "torch" not in names


def test_the_image_keeps_no_secret_runs_as_a_user_and_starts_under_tini() -> None:
    assert re.search(r"^USER 10001$", DOCKERFILE, re.M)
    assert re.search(r'^ENTRYPOINT \["tini", "--", "/opt/mets3d/entrypoint.sh"\]$', DOCKERFILE, re.M)
    assert re.search(r"^CMD \[\"--help\"\]$", DOCKERFILE, re.M)
    assert not re.search(r"WANDB_API_KEY|TOKEN|PASSWORD", DOCKERFILE)
    for copied in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M):
        for name in copied.split():
            assert (ROOT / name).exists(), name


def test_compose_trains_by_words_that_the_command_line_takes() -> None:
    service: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]["train"]
    verb, *words = service["command"]
    assert verb == "train"
    assert load(words).data.store == "/data/stores/brats_mets"
    assert service["read_only"]
    assert [mount.rpartition(":")[2] for mount in service["volumes"]] == ["/data", "/runs"]
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert shlex.split(service["stop_grace_period"]) == ["10m"]


def test_what_the_package_ships_is_there_when_the_image_installs_it() -> None:
    built = DOCKERFILE.partition("pip install --no-cache-dir --no-deps .")[0]
    copied = {word.rstrip("/") for words in re.findall(r"^COPY (?!--)(.+) \S+$", built, re.M) for word in words.split()}
    assert "mets3d" in copied
    assert "train.py" in copied
    for name in (CONFIGS, LAUNCH_FILES, TRAIN, *JOBS):
        assert {name, *(str(parent) for parent in Path(name).parents)} & copied, name
