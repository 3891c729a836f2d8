"""The words of a run against those that W&B's own agent makes of the same command."""

from __future__ import annotations

from typing import Any

import pytest

from mets3d.study.command import DEFAULT, faults_of_command, training_words

VALUES: dict[str, Any] = {
    "loss.boundary": "blob",
    "optim.lr": 1e-05,
    "model.deep_supervision": False,
    "train.compile": True,
    "weights": None,
    "data.patch": [96, 96, 64],
    "loss": {"boundary_weight": 0.1, "boundary_sides": "both"},
}
MACROS = ["args", "args_no_hyphens", "args_no_equals", "args_no_boolean_flags", "args_json", "args_append_hydra"]


@pytest.mark.parametrize("macro", [*MACROS, "args_override_hydra"])
def test_macros_are_replaced_as_by_the_agent(macro: str) -> None:
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    theirs = utils.create_sweep_command_args({"args": {key: {"value": value} for key, value in VALUES.items()}})
    command = ["${env}", "${interpreter}", "${program}", "--seed=1", f"${{{macro}}}", "--seed=2"]
    assert training_words(command, VALUES) == ["--seed=1", *theirs[macro], "--seed=2"]


def test_what_stands_before_the_program_is_the_launchers(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [
        "${env}",
        "accelerate",
        "launch",
        "--config_file",
        "x.yaml",
        "sub/train.py",
        "--config",
        "a.yaml",
        "${args}",
    ]
    assert training_words(command, {"seed": 3}) == ["--config", "a.yaml", "--seed=3"]
    assert training_words(DEFAULT, {"seed": 3}) == ["--seed=3"]


def test_variables_of_the_environment_are_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE", "there")
    monkeypatch.delenv("NOWHERE", raising=False)
    command = ["train.py", "--data.store=${envvar:STORE}/x", "${envvar:NOWHERE}", "${args}"]
    assert training_words(command, {}) == ["--data.store=there/x", "NOWHERE"]


def test_a_packaged_configuration_is_found_by_its_path_in_a_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["train.py", "--config", "configs/recipes/short.yaml", "--config", "configs/mine.yaml"]
    assert training_words(command, {}) == ["--config", "recipes/short", "--config", "configs/mine.yaml"]
    (tmp_path / "configs" / "recipes").mkdir(parents=True)
    (tmp_path / "configs" / "recipes" / "short.yaml").touch()
    assert training_words(command, {})[1] == "configs/recipes/short.yaml"


@pytest.mark.parametrize(
    ("command", "program", "said"),
    [
        (DEFAULT, None, "program: expected train.py, found None"),
        (DEFAULT, "other.py", "program: expected train.py, found 'other.py'"),
        ("train.py ${args}", "train.py", "command: expected a list of words"),
        (["python", "x.py", "${args}"], "train.py", "command: expected train.py or ${program} among its words"),
        (["train.py", "--seed=1"], None, "command: expected ${args} among its words"),
        (["train.py", "${arguments}"], None, "command: ${arguments}: no macro behind train.py; expected ${args}"),
        (["${args}", "train.py"], None, "command: expected ${args} among its words"),
    ],
)
def test_a_command_that_cannot_train_is_one_line(command: Any, program: Any, said: str) -> None:
    [line] = faults_of_command(command, program)
    assert said in line


def test_the_commands_that_work_have_no_fault() -> None:
    assert faults_of_command(DEFAULT, "train.py") == []
    assert faults_of_command(["accelerate", "launch", "train.py", "${args_no_hyphens}"], None) == []
