"""The only module that knows the layout of a run directory, and how a file comes to be whole or absent.

runs/NAME/
    config.yaml        complete configuration, loadable by --config
    plan.json          what preprocessing did: spacing, sequences, normalisation; a copied run can predict
    split.json         training and held-out cases
    environment.json   versions, devices, command
    baseline.json      what the best single threshold on t2f reaches on the held-out cases
    metrics.jsonl      one JSON object a line, `step` in each
    checkpoints/       step_00000500/ ..., and the pointers `last` and `best`
    model.safetensors  weights for prediction: the best validated ones
    decoding.json      thresholds and component limits that `mets3d tune` chose; predictions are made with them
    predictions/       CASE.nii.gz, predict.json, and what `mets3d.inference.outputs` lists
    scores.csv, lesions.csv, froc.csv, cohort.csv
"""

from __future__ import annotations

import filecmp
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mets3d.config import Config, ConfigError, load_file

LEFT_BEHIND_S = 24 * 3600  # nobody writes one file for a day


class WeightsError(Exception):
    """A run's weights are not there or not its network's: a finding about the run, not a wrong word of the command."""

    exit_code = 1


class MissingWeightsError(WeightsError, FileNotFoundError):
    """A run directory that is whole but for its weights."""


class WrongWeightsError(WeightsError, ValueError):
    """Weights that are broken or another network's."""


PREDICTION_NOTE = "predict.json"  # in a folder of predictions: whose they are, and which cases were asked for


@dataclass(frozen=True)
class RunDir:
    """Paths inside one run directory; nothing is created by naming it."""

    path: Path

    config = property(lambda self: self.path / "config.yaml")
    plan = property(lambda self: self.path / "plan.json")
    split = property(lambda self: self.path / "split.json")
    environment = property(lambda self: self.path / "environment.json")
    baseline = property(lambda self: self.path / "baseline.json")
    metrics = property(lambda self: self.path / "metrics.jsonl")
    weights = property(lambda self: self.path / "model.safetensors")
    checkpoints = property(lambda self: self.path / "checkpoints")
    decoding = property(lambda self: self.path / "decoding.json")
    predictions = property(lambda self: self.path / "predictions")
    scores = property(lambda self: self.path / "scores.csv")
    lesions = property(lambda self: self.path / "lesions.csv")
    froc = property(lambda self: self.path / "froc.csv")
    cohort = property(lambda self: self.path / "cohort.csv")

    @property
    def name(self) -> str:
        return self.path.resolve().name

    def checkpoint(self, step: int) -> Path:
        return Path(self.checkpoints) / f"step_{step:08d}"

    def checkpoint_steps(self) -> list[int]:
        """Steps of the checkpoints that are whole, ascending."""
        return sorted(int(folder.name.removeprefix("step_")) for folder in Path(self.checkpoints).glob("step_*[0-9]"))

    def pointer(self, name: str) -> int | None:
        """The step that `last` or `best` points at, or None."""
        file = Path(self.checkpoints) / name
        return int(file.read_text()) if file.exists() else None

    def point(self, name: str, step: int) -> None:
        write_text(Path(self.checkpoints) / name, f"{step}\n")

    def load_config(self) -> Config:
        return load_file(self.config)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Every whole line of metrics.jsonl, a later line for the same step and kind replacing an earlier one."""
        if not Path(self.metrics).exists():
            return []
        rows: dict[tuple[int, str], dict[str, Any]] = {}
        for line in Path(self.metrics).read_text().splitlines(keepends=True):
            if not line.endswith("\n"):
                continue  # the run is writing it right now, or died while it did
            row = json.loads(line)
            rows[row["step"], row.get("kind", "")] = row
        return list(rows.values())


def open_run(path: Path, *, needs: tuple[str, ...] = ("config", "plan")) -> RunDir:
    """An existing run directory. Raises FileNotFoundError naming what is missing of `needs` (attributes of RunDir).

    Where the weights alone are missing it is a MissingWeightsError.
    """
    run = RunDir(path)
    if not path.is_dir():
        raise FileNotFoundError(
            f"{path}: no such run directory; expected a folder that train.py or import-weights wrote"
        )
    missing = [getattr(run, name).name for name in needs if not getattr(run, name).exists()]
    if missing:
        found = ", ".join(sorted(entry.name for entry in path.iterdir())[:8]) or "nothing"
        kind = MissingWeightsError if missing == [run.weights.name] else FileNotFoundError
        raise kind(
            f"{path} is not a complete run directory: {', '.join(missing)} missing (found {found}); "
            "name a folder that train.py or import-weights wrote"
        )
    try:
        run.load_config()
    except ConfigError as error:
        raise FileNotFoundError(f"{run.config}: not a configuration of this version: {error}") from None
    return run


# ---------------------------------------------------------------- whole or absent


@contextmanager
def replacing(target: Path, *, keep_equal: bool = False) -> Iterator[Path]:
    """A temporary path beside `target`, same suffixes, that becomes `target` when the block ends well, else vanishes.

    Works for a file and for a folder; a reader of `target` sees the old content or the new, never a part. With
    `keep_equal` a file that already has the new content is left as it is, its time of change included.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{os.getpid()}.tmp.{target.name}"
    try:
        yield temporary
        if temporary.is_dir() and target.is_dir():
            shutil.rmtree(target)
        if not (keep_equal and target.is_file() and filecmp.cmp(temporary, target, shallow=False)):
            temporary.replace(target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def leftovers(folder: Path) -> list[Path]:
    """Temporary paths of `replacing` in a folder whose process is not alive on this host, or that are a day old."""
    found = []
    for path in folder.glob(".*.tmp.*"):
        process = re.match(r"\.(\d+)\.tmp\.", path.name)
        try:
            age_s = time.time() - path.stat().st_mtime
        except FileNotFoundError:  # its process has just finished it
            continue
        if process and (age_s > LEFT_BEHIND_S or not _is_alive(int(process[1]))):
            found.append(path)
    return found


def _is_alive(process: int) -> bool:
    if os.name != "posix":
        return True  # elsewhere signal 0 would end it
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=1, sort_keys=False) + "\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


@dataclass(frozen=True)
class Kind:
    """What a value of a small JSON file has to be: in words, and as a test."""

    words: str
    fits: Callable[[Any], bool]


TEXT = Kind("text", lambda value: isinstance(value, str))
OBJECT = Kind("an object in braces", lambda value: isinstance(value, dict))
OBJECTS = Kind("a list of objects", lambda value: isinstance(value, list) and all(map(OBJECT.fits, value)))
NAMES = Kind("a list of names", lambda value: isinstance(value, list) and all(map(TEXT.fits, value)))
NUMBER = Kind("a number", lambda value: type(value) in (int, float))
COUNT = Kind("a whole number from 0", lambda value: type(value) is int and value >= 0)
SPACING_MM = Kind(
    "three numbers above 0, in mm, along X, Y, Z",
    lambda value: (
        isinstance(value, list)
        and len(value) == 3
        and all(NUMBER.fits(side) and side > 0 and math.isfinite(side) for side in value)
    ),
)


def read_object(
    path: Path, needs: Mapping[str, Kind] | None = None, may: Mapping[str, Kind] | None = None, *, advice: str = ""
) -> dict[str, Any]:
    """A JSON file that holds an object with the keys `needs`, of their kinds, and those of `may` where they are there.

    Raises FileNotFoundError, and ValueError naming the file, the key and what is expected; `advice` is what to do.
    """
    needs, may = needs or {}, may or {}
    rest = f"; {advice}" if advice else ""
    try:
        content = read_json(path)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, found something else ({error}){rest}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected {OBJECT.words}, found {_shown(content)}{rest}")
    missing = [key for key in needs if key not in content]
    if missing:
        raise ValueError(f"{path}: {', '.join(missing)} missing{rest}")
    for key, kind in {**needs, **may}.items():
        if key in content and not kind.fits(content[key]):
            raise ValueError(f"{path}: {key}: expected {kind.words}, found {_shown(content[key])}{rest}")
    return content


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def write_with(path: Path, writer: Callable[[Path], object]) -> None:
    """Runs `writer` on a temporary path, then renames."""
    with replacing(path) as temporary:
        writer(temporary)
