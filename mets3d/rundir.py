"""The only module that knows the layout of a run directory.

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
    report/            the page, index.html, and its figures
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mets3d.config import Config, ConfigError, load_file
from mets3d.files import MissingWeightsError, read_text, write_text

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
    report = property(lambda self: self.path / "report")

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
        return int(read_text(file)) if file.exists() else None

    def point(self, name: str, step: int) -> None:
        write_text(Path(self.checkpoints) / name, f"{step}\n")

    def load_config(self) -> Config:
        return load_file(self.config)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Every whole line of metrics.jsonl, a later line for the same step and kind replacing an earlier one."""
        if not Path(self.metrics).exists():
            return []
        rows: dict[tuple[int, str], dict[str, Any]] = {}
        for line in read_text(Path(self.metrics)).splitlines(keepends=True):
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
