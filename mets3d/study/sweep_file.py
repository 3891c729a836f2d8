"""Reads a W&B sweep file and says all that is wrong with it at once."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import yaml

from mets3d.config import ConfigError
from mets3d.config.bounded_yaml import read_bounded
from mets3d.shipped import CONFIGS, shipped
from mets3d.study.command import DEFAULT, faults_of_command
from mets3d.study.parameters import ON_A_GRID, Parameter, read_parameters

Method = Literal["grid", "random", "bayes"]
METHODS: tuple[Method, ...] = get_args(Method)
SWEEPS = "sweeps"  # a folder of CONFIGS
# Keys of W&B that say nothing about the runs themselves.
FOR_THE_SERVER = (
    *("name", "description", "project", "entity", "controller", "settings", "job", "image_uri", "queue", "launch"),
    "scheduler",
)
USED = ("method", "parameters", "metric", "early_terminate", "run_cap", "program", "command")


@dataclass(frozen=True)
class Metric:
    """The number that a sweep is about, by its name at W&B: validation/dice/mean is `dice/mean` of a validation."""

    name: str
    maximise: bool

    @property
    def kind(self) -> str:
        """Returns which lines of metrics.jsonl hold it."""
        return self.name.partition("/")[0]

    @property
    def column(self) -> str:
        """Returns its name in those lines."""
        return self.name.partition("/")[2]


@dataclass(frozen=True)
class Hyperband:
    """Early termination: a run is looked at after `first`, first x eta ... values of the metric."""

    first: int
    eta: float


@dataclass(frozen=True)
class Sweep:
    """A sweep file that can be run."""

    file: Path
    method: Method
    parameters: tuple[Parameter, ...]
    command: tuple[str, ...]
    run_cap: int | None
    metric: Metric | None
    early: Hyperband | None


def read_sweep(word: str) -> Sweep:
    """Reads the sweep file that a word means: a path, or the name of one that comes with mets3d, such as `smoke`.

    As with W&B it is YAML 1.1. Raises FileNotFoundError, and ConfigError with every fault.
    """
    file = _file(word)
    tree = _tree(file)
    faults = [f"{file}: {fault}" for fault in _faults_of_keys(tree)]
    found: list[str] = []
    parameters = tuple(read_parameters(tree.get("parameters"), found))
    method = tree.get("method")
    found += _faults_of_method(method, parameters, tree.get("run_cap"))
    metric, early = _metric(tree, found), _early(tree, found)
    command = tree.get("command", DEFAULT)
    found += faults_of_command(command, tree.get("program"))
    faults += [f"{file}: {fault}" for fault in found]
    if faults:
        raise ConfigError(faults)
    words = tuple(str(word) for word in command)
    return Sweep(file, cast("Method", method), parameters, words, tree.get("run_cap"), metric, early)


def sweep_names() -> list[str]:
    """Lists the names of the sweep files that come with mets3d."""
    return sorted(file.stem for file in (shipped(CONFIGS) / SWEEPS).glob("*.yaml"))


def _file(word: str) -> Path:
    path = Path(word)
    if path.exists() or path.suffix or len(path.parts) > 1:
        if not path.is_file():
            raise FileNotFoundError(f"{word}: no such sweep file; expected a file or one of {', '.join(sweep_names())}")
        return path
    if word not in sweep_names():
        raise FileNotFoundError(f"{word}: no such file or name; expected a file or one of {', '.join(sweep_names())}")
    return shipped(CONFIGS) / SWEEPS / f"{word}.yaml"


def _tree(file: Path) -> dict[str, Any]:
    try:
        tree = read_bounded(file.read_text(encoding="utf-8"), yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"{file}: cannot be read as YAML: {' '.join(str(error).split())}"]) from None
    if not isinstance(tree, dict):
        raise ConfigError([f"{file}: expected a mapping with method: and parameters:, found {type(tree).__name__}"])
    return tree


# ---------------------------------------------------------------- faults


def _faults_of_keys(tree: dict[str, Any]) -> list[str]:
    known = [*USED, *FOR_THE_SERVER]
    faults = []
    for key in tree:
        if key not in known:
            nearest = difflib.get_close_matches(str(key), known, n=1)
            faults.append(f"{key}: unknown key of a sweep" + (f"; did you mean {nearest[0]}?" if nearest else ""))
    return faults


def _faults_of_method(method: Any, parameters: Sequence[Parameter], cap: Any) -> list[str]:
    faults = []
    if method not in METHODS:
        faults.append(f"method: expected {', '.join(METHODS[:-1])} or {METHODS[-1]}, found {method!r}")
    if cap is not None and (type(cap) is not int or cap < 1):
        faults.append(f"run_cap: expected a whole number from 1, found {cap!r}")
    elif cap is None and method in ("random", "bayes"):
        faults.append(f"run_cap: method {method} goes on without end; say how many runs, such as run_cap: 20")
    if method == "grid":
        faults += [
            f"{parameter.key}: distribution {parameter.kind} has no grid; expected {', '.join(ON_A_GRID)}, or method "
            "random"
            for parameter in parameters
            if parameter.kind not in ON_A_GRID
        ]
    return faults


def _metric(tree: dict[str, Any], faults: list[str]) -> Metric | None:
    content = tree.get("metric")
    if content is None:
        if tree.get("method") == "bayes" or "early_terminate" in tree:
            faults.append("metric: expected name: and goal:, by which runs are chosen, found none")
        return None
    if not isinstance(content, dict) or not isinstance(content.get("name"), str) or "/" not in content["name"]:
        faults.append(
            f"metric: expected a name such as validation/lesion_wise_dice/mean and a goal, found {content!r:.60}"
        )
        return None
    goal = content.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        faults.append(f"metric: goal: expected minimize or maximize, found {goal!r}")
    return Metric(content["name"], goal == "maximize")


def _early(tree: dict[str, Any], faults: list[str]) -> Hyperband | None:
    content = tree.get("early_terminate")
    if content is None:
        return None
    if not isinstance(content, dict) or content.get("type") != "hyperband":
        faults.append(f"early_terminate: expected type: hyperband, found {content!r:.60}")
        return None
    eta, first, last, brackets = (content.get(key) for key in ("eta", "min_iter", "max_iter", "s"))
    eta = 3 if eta is None else eta
    wrong = {"eta": type(eta) not in (int, float) or eta <= 1} | {
        key: content.get(key) is not None and (type(content[key]) is not int or content[key] < 1)
        for key in ("min_iter", "max_iter", "s")
    }
    found = [f"early_terminate: {key}: {content[key]!r} is too small or no number" for key in wrong if wrong[key]]
    if first is None and (last is None or brackets is None):
        found.append("early_terminate: expected min_iter:, or max_iter: and s:")
    faults += found
    if found:
        return None
    return Hyperband(max(1, int((last or 1) / eta ** (brackets or 0))) if first is None else first, eta)
