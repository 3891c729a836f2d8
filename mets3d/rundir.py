"""Defines the layout of a run directory and its outputs: the only module that knows these file names.

runs/NAME/
    config.yaml        complete configuration, loadable by --config
    plan.json          what preprocessing did: spacing, sequences, normalisation; a copied run can predict
    split.json         training and held-out cases, and the patient of each
    splits.json        all folds, in the form of nnU-Net's splits_final.json; can be edited and given as data.split
    environment.json   versions, devices, command
    baseline.json      what the best single threshold on t2f reaches on the held-out cases
    metrics.jsonl      one JSON object a line, `step` in each
    tracking.json      under which id W&B knows the run
    validation/        step_00001000/ ...: slices with masks and tables of that validation, for W&B and the like
    wandb/, tensorboard/, trackio.json   written by these loggers
    checkpoints/       step_00000500/ ..., and the pointers `last` and `best`
    train.lock         while a training runs: by which process
    model.safetensors  weights for prediction: the best validated ones
    decoding.json      thresholds and component limits that `mets3d tune` chose; predictions are made with them
    predictions/       CASE.nii.gz, predict.json, and what `PredictionsDir` lists
    scores.csv, lesions.csv, froc.csv, cohort.csv
    report/            the page, index.html, and its figures
    profile/           trace.json.gz and table.txt of a run with track.profile
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mets3d.config import Config, ConfigError, load_file
from mets3d.files import MissingWeightsError, parse_json, read_json, read_text, write_text, write_with

SCORE_TABLE = "scores.csv"
PREDICTION_NOTE = "predict.json"  # in a folder of predictions: the run and the cases they belong to
NOT_USABLE = "not_usable.csv"  # in a store or a folder of predictions: cases that could not be used, and why
WEIGHTS = "model.safetensors"
# Keys of a case's record and columns of scores.csv: how a case was decoded, and the rule set of that tuning.
DECODED_BY, TUNED_BY = "decoding", "decoding_rules"
LABEL_MAP_SHA256 = "label_map_sha256"  # key of a case's record: of which file it tells
DEFAULT_DECODING = "default"
PERHAPS_TUNED_ON = "tuned (perhaps on this case)"  # which cases the tuning knew is not known
SLICER_TABLE, ITK_SNAP_TABLE = "labels_3d_slicer.ctbl", "labels_itk_snap.txt"  # names and colours of the labels
LEDGER = "ledger.json"  # in the folder of a study: every use of test cases
OF_STEP = "step_{:08d}"  # a checkpoint, a validation


class Inside:
    """A descriptor that joins a fixed name to the object's `path`: `RunDir(path).config` is path/config.yaml."""

    def __init__(self, name: str):
        self.name = name

    def __get__(self, folder: Any, owner: type) -> Path:
        path: Path = folder.path
        return path / self.name


@dataclass(frozen=True)
class RunDir:
    """Paths inside one run directory; nothing is created by naming it."""

    path: Path

    config = Inside("config.yaml")
    plan = Inside("plan.json")
    split = Inside("split.json")
    splits = Inside("splits.json")
    environment = Inside("environment.json")
    baseline = Inside("baseline.json")
    metrics = Inside("metrics.jsonl")
    tracking = Inside("tracking.json")
    validations = Inside("validation")
    tensorboard = Inside("tensorboard")
    trackio = Inside("trackio.json")
    weights = Inside(WEIGHTS)
    checkpoints = Inside("checkpoints")
    lock = Inside("train.lock")
    decoding = Inside("decoding.json")
    predictions = Inside("predictions")
    scores = Inside(SCORE_TABLE)
    lesions = Inside("lesions.csv")
    froc = Inside("froc.csv")
    cohort = Inside("cohort.csv")
    report = Inside("report")
    profile = Inside("profile")

    @property
    def name(self) -> str:
        """Returns the folder's own name, also where the path is `.`."""
        return self.path.resolve().name

    def of_training(self) -> tuple[Path, ...]:
        """Returns the files beside the checkpoints that only a training writes."""
        records = (self.config, self.plan, self.split, self.splits, self.environment, self.baseline)
        return (*records, self.metrics, self.weights, self.tracking, self.lock)

    def checkpoint(self, step: int) -> Path:
        """Returns the folder of the checkpoint at a step, whether it exists or not."""
        return self.checkpoints / OF_STEP.format(step)

    def validation(self, step: int) -> ValidationDir:
        """Returns the folder of the validation after a step, whether it exists or not."""
        return ValidationDir(self.validations / OF_STEP.format(step))

    def checkpoint_steps(self) -> list[int]:
        """Lists the steps of the checkpoints, ascending, whole or damaged; a copy under another name does not count."""
        return _steps_in(self.checkpoints)

    def validation_steps(self) -> list[int]:
        """Lists the steps, ascending, after which a validation wrote pictures and tables."""
        return _steps_in(self.validations)

    def pointer(self, name: str) -> int | None:
        """Reads the step that `last` or `best` points at; None without such a pointer, or one that is no number."""
        try:
            return int(read_text(self.checkpoints / name))
        except (FileNotFoundError, ValueError):
            return None

    def point(self, name: str, step: int | None) -> None:
        """Makes `last` or `best` point at a step, or at none."""
        file = self.checkpoints / name
        if step is None:
            file.unlink(missing_ok=True)
        else:
            write_text(file, f"{step}\n")

    def pointed_weights(self, name: str) -> Path | None:
        """Returns the weights that `last` or `best` points at, averaged where the run averages; None without any."""
        step = self.pointer(name)
        if step is None:
            return None
        folder = CheckpointDir(self.checkpoint(step))
        return next((file for file in (folder.averaged, folder.weights) if file.is_file()), None)

    def load_config(self) -> Config:
        """Reads config.yaml. Raises FileNotFoundError, and ConfigError for one of another version."""
        return load_file(self.config)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Reads metrics.jsonl, a later line for one step and kind replacing an earlier one.

        Lines that are torn or damaged are left out: the run is writing them right now, or died while it did.
        """
        rows = {(row["step"], row.get("kind", "")): row for _, row in self._metric_lines()}
        return list(rows.values())

    def forget_metrics_after(self, step: int) -> None:
        """Drops the lines of metrics.jsonl beyond `step`, which a resumed run makes again, and damaged ones."""
        if not self.metrics.exists():
            return
        kept = b"".join(line + b"\n" for line, row in self._metric_lines() if row["step"] <= step)
        if kept != self.metrics.read_bytes():
            write_with(self.metrics, lambda path: path.write_bytes(kept))

    def _metric_lines(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """Yields the lines of metrics.jsonl that hold a row, each with its row."""
        if not self.metrics.exists():
            return
        *lines, _unfinished = self.metrics.read_bytes().split(b"\n")
        for whole_line in lines:
            line = whole_line.strip(b"\0")  # a power cut leaves blocks of zeros before what was written later
            try:
                row = parse_json(line)
            except ValueError:  # UnicodeDecodeError is one too
                continue
            if isinstance(row, dict) and type(row.get("step")) is int and isinstance(row.get("kind", ""), str):
                yield line, row


def _steps_in(folder: Path) -> list[int]:
    names = [entry.name for entry in folder.glob("step_*")]
    numbers = [int(name.removeprefix("step_")) for name in names if re.fullmatch("step_[0-9]+", name)]
    return sorted(step for step in numbers if OF_STEP.format(step) in names)


def open_run(path: Path, *, needs: tuple[str, ...] = ("config", "plan")) -> RunDir:
    """Opens an existing run directory that holds `needs`, which are attributes of RunDir.

    Raises FileNotFoundError naming what is missing of them; where the weights alone are, it is a MissingWeightsError.
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


@dataclass(frozen=True)
class CheckpointDir:
    """Paths inside one checkpoint."""

    path: Path

    weights = Inside(WEIGHTS)
    averaged = Inside("averaged.safetensors")  # the averages of optim.ema as weights, what a run exports
    optimizer = Inside("optimizer.bin")
    progress = Inside("progress.json")  # step, best score, precision
    manifest = Inside("manifest.json")  # size and SHA-256 of the others


@dataclass(frozen=True)
class ValidationDir:
    """Paths inside what one validation writes for W&B and the like: whole or absent, for the folder is renamed."""

    path: Path

    index = Inside("index.json")  # captions and files of the slices, tables of cases and lesions

    def picture(self, part: str, number: int) -> Path:
        """Returns the path of a slice's `image`, or of its mask, `prediction` or `reference`."""
        return self.path / f"{part}_{number}.png"


@dataclass(frozen=True)
class PredictionsDir:
    """Paths inside a folder of predictions.

    predict.json                from which run, weights and settings the label maps are made, and of which cases
    CASE.nii.gz                 label map, on the case's own grid
    uncertainty/CASE.nii.gz     bits, 0 certain to 1 undecided
    lesions/CASE.csv            one line per predicted lesion
    probabilities/CASE.nii.gz   on request: one channel per region or label
    records/CASE.json           written last: how and from which files the others were made
    not_usable.csv              cases that could not be predicted, with the reason; not there where all could
    labels_3d_slicer.ctbl, labels_itk_snap.txt   names and colours of the labels, for these two viewers
    """

    path: Path

    note = Inside(PREDICTION_NOTE)
    uncertainties = Inside("uncertainty")
    lesions = Inside("lesions")
    probabilities = Inside("probabilities")
    records = Inside("records")
    not_usable = Inside(NOT_USABLE)
    slicer_table = Inside(SLICER_TABLE)
    itk_snap_table = Inside(ITK_SNAP_TABLE)

    def label_map(self, case: str) -> Path:
        """Returns the path of a case's label map, whether it exists or not."""
        return self.path / scan_name(case)

    def uncertainty_map(self, case: str) -> Path:
        """Returns the path of a case's uncertainty map."""
        return self.uncertainties / scan_name(case)

    def lesion_table(self, case: str) -> Path:
        """Returns the path of the table of a case's predicted lesions."""
        return self.lesions / f"{case}.csv"

    def probability_map(self, case: str) -> Path:
        """Returns the path of a case's probabilities."""
        return self.probabilities / scan_name(case)

    def record(self, case: str) -> Path:
        """Returns the path of the record that is written when a case is finished."""
        return self.records / f"{case}.json"

    def files_of(self, case: str) -> tuple[Path, ...]:
        """Returns the paths of all files of a case but its record, whether they exist or not."""
        return self.label_map(case), self.uncertainty_map(case), self.lesion_table(case), self.probability_map(case)


def runs_of_predictions(predictions: Path) -> list[RunDir]:
    """Returns the runs that a folder of predictions may be of: the one it lies in, then those that its note names.

    None of them need be there any more. A note that cannot be read names none.
    """
    runs = [RunDir(predictions.parent)]
    try:
        note = read_json(predictions / PREDICTION_NOTE)
        members = [member["run"] for member in note.get("members", ())]
        runs += [RunDir(Path(name)) for name in dict.fromkeys([note["run"], *members])]
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        pass
    return runs


def scan_name(case: str) -> str:
    """Returns the name of a case's map, of labels or of probabilities."""
    return f"{case}.nii.gz"


def mapped_cases(folder: Path) -> set[str]:
    """Returns the cases of which a folder holds a map; none where there is no such folder."""
    return {file.name.removesuffix(scan_name("")) for file in folder.glob(f"[!.]*{scan_name('')}")}


@dataclass(frozen=True)
class ExportDir(RunDir):
    """Paths inside an exported folder: a run directory with the weights, and what introduces it to others."""

    card = Inside("README.md")
    onnx = Inside("model.onnx")
    bundle = Inside("configs")
    bundle_metadata = Inside("configs/metadata.json")
    bundle_inference = Inside("configs/inference.json")
    licence = Inside("LICENSE")
    slicer_table = Inside(SLICER_TABLE)
    itk_snap_table = Inside(ITK_SNAP_TABLE)

    @classmethod
    def needed_names(cls) -> list[str]:
        """Lists the names of the files that prediction reads."""
        folder = cls(Path())
        return [file.name for file in (folder.config, folder.plan, folder.weights, folder.decoding)]


@dataclass(frozen=True)
class ReportDir:
    """Paths inside a report.

    index.html                           the page
    figures/*.svg                        its figures
    cases/CASE.html                      a page per case, see `reporting.case_pages`
    viewer/                              NiiVue, which those pages load, and its licence; not there without it
    scores.csv, lesions.csv, config.yaml copies of a single run's
    arms/ARM/                            copies of these of each arm where there are several, a folder per run of it
    """

    path: Path

    page = Inside("index.html")
    figures = Inside("figures")
    cases = Inside("cases")
    viewer = Inside("viewer")
    scores = Inside(SCORE_TABLE)
    lesions = Inside("lesions.csv")
    config = Inside("config.yaml")
    arms = Inside("arms")

    @classmethod
    def entries(cls) -> set[str]:
        """Lists the names of all that a report may hold."""
        folder = cls(Path())
        files = (folder.page, folder.scores, folder.lesions, folder.config)
        return {path.name for path in (*files, folder.figures, folder.cases, folder.viewer, folder.arms)}


@dataclass(frozen=True)
class ExploreDir:
    """Paths of the page about a data set and the numbers behind it."""

    path: Path

    page = Inside("index.html")
    cases = Inside("cases.csv")
    lesions = Inside("lesions.csv")
