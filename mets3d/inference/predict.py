"""A trained run, or several averaged, meet a data set: label maps and what goes beside them, case after case.

While one case is computed, the next is read and prepared and the one before is decoded and written. So three cases are
in memory at once, and no more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list, gather_object

from mets3d.config import Config
from mets3d.data import Progress, quiet
from mets3d.data.cases import Case, find_cases
from mets3d.data.check import check_headers
from mets3d.files import NAMES, read_object
from mets3d.inference import outputs
from mets3d.inference.decoding import Decoding, decode
from mets3d.inference.ensemble import Channels, Ensemble, Member, load_members, member_weights
from mets3d.inference.predictor import Loaded, chosen_decoding, read_case, settings_of
from mets3d.regions import Target
from mets3d.rundir import RunDir, open_run

Result = TypeVar("Result")

FORMAT = 1  # raised when the same recipe gives other files
# A change of these makes no other prediction, so a rerun need not start anew.
FOR_SPEED = ("window_batch", "compile", "threshold")  # the threshold is in the decoding


@dataclass
class Prediction:
    """What was written where, and the cases that could not be predicted with the reason."""

    folder: Path
    cases: list[str] = field(default_factory=list)  # whose files are there, those of an earlier call included
    skipped: list[str] = field(default_factory=list)  # of them: already there, from the same files by the same recipe
    failures: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    decoded_by: str = ""  # the file, or that it was the default


def predict(
    run_path: Path,
    data: Path,
    out: Path | None = None,
    *,
    also: Sequence[Path] = (),
    region_weights: Sequence[str] = (),
    decoding: str | None = None,
    overrides: Sequence[str] = (),
    probabilities: bool = False,
    held_out: bool = False,
    progress: Progress = quiet,
) -> Prediction:
    """Predicts every case of a data set, or the held-out ones, into OUT (default RUN/predictions).

    Writes what `mets3d.inference.outputs` lists, and predict.json. A case that is there already, from the same files by
    the same recipe (weights, plan, settings, decoding), is skipped. Cases are shared over the processes of the launch,
    whose number changes no byte of the files.

    also: more runs, whose probabilities are averaged with the run's; OUT is then required. region_weights: words like
    `WT=1,2`, see `mets3d.inference.ensemble.member_weights`. decoding: `default`, a file, or None for the run's own
    decoding.json where it has one and is alone. overrides: words like `--predict.overlap=0.75`. The settings are the
    first run's; held-out cases are those that no member was trained on.

    Raises FileNotFoundError or ValueError before the first case if a run is not whole, its weights are another
    network's, members answer other regions, the decoding was tuned for other weights or overrules a threshold that is
    asked for, or a case lacks a sequence; a case that fails later is named in the result.
    """
    if also and out is None:
        raise ValueError("with --also the predictions belong to no single run; name a folder OUT for them")
    runs = [open_run(path, needs=("config", "plan", "weights")) for path in (run_path, *also)]
    cases = _chosen(runs, data, held_out)
    members = load_members([run_path, *also])
    config = settings_of(members[0], overrides)
    weights = member_weights(region_weights, members)
    decoded_by, tuned = chosen_decoding(members, config, decoding, overrides)
    accelerator = _accelerator(config)
    ensemble = Ensemble(members, config.predict, weights, accelerator.device, accelerator.autocast)
    made_by = _recipe(members, config, accelerator.mixed_precision, ensemble.shares.tolist(), decoded_by)
    recipe = outputs.recipe_hash(made_by)
    folder = Path(runs[0].predictions) if out is None else out
    told = _summary(members, config, data, weights.tolist(), decoded_by, tuned, made_by["precision"], held_out)
    skipped = _already_there(accelerator, folder, cases, recipe, probabilities, told)
    todo = [case for case in cases if case.name not in skipped]
    work = _Work(ensemble, decoded_by, folder, recipe, probabilities)
    mine = todo[accelerator.process_index :: accelerator.num_processes]
    result = _gathered(folder, skipped, work.all(mine, progress))
    result.decoded_by = _in_words(config, target=members[0].target, tuned=tuned)
    kept = [name for name in result.failures if outputs.case_files(folder, name)[0].exists()]
    if kept:
        result.remarks.append(
            f"{folder} keeps the earlier label map of {len(kept)} case{'s' * (len(kept) > 1)} that failed now: "
            f"{_some(kept)}"
        )
    others = outputs.other_predictions(folder, [case.name for case in cases], recipe)
    if others:
        result.remarks.append(f"{folder} also holds {len(others)} label maps made otherwise: {_some(others)}")
    if accelerator.is_main_process:
        asked = [case.name for case in cases]
        outputs.note_cases(folder, told, recipe, asked=asked, cases=result.cases, failures=result.failures)
    return result


# ---------------------------------------------------------------- before the first case


def _chosen(runs: Sequence[RunDir], data: Path, held_out: bool) -> list[Case]:
    cases = find_cases(data)
    chosen: list[Case] = list(cases)
    if held_out:
        names = _held_out(runs)
        chosen = [case for case in cases if case.name in names]
        absent = sorted(names - {case.name for case in chosen})
        if absent:
            raise FileNotFoundError(
                f"{data} lacks {len(absent)} of the run's held-out cases: {', '.join(absent[:6])}; "
                "name the data set the run was trained on, or leave out --held-out"
            )
    faults = [finding for case in chosen for finding in check_headers(case) if finding.severity == "error"]
    if faults:
        raise ValueError(f"{data}: cases that cannot be predicted\n  " + "\n  ".join(str(fault) for fault in faults))
    return chosen


def _held_out(runs: Sequence[RunDir]) -> set[str]:
    """Cases that every run was validated on and none was trained on."""
    held_out: list[set[str]] = []
    for run in runs:
        if not run.split.exists():
            raise FileNotFoundError(f"{run.split} is missing, so the held-out cases are unknown; leave out --held-out")
        held_out.append(set(read_object(run.split, {"validation": NAMES})["validation"]))
    common = set.intersection(*held_out)
    if not common:
        raise ValueError(
            f"no case is held out by all of {', '.join(str(run.path) for run in runs)}: each was trained on what the "
            "others hold out; predict each run's held-out cases by itself, or leave out --held-out"
        )
    return common


def _accelerator(config: Config) -> Accelerator:
    # A rank with large cases must not trip the watchdog of those that wait for it.
    accelerator = Accelerator(
        mixed_precision=config.precision, kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(hours=12))]
    )
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched != accelerator.num_processes:
        raise ValueError(
            f"the launcher started {launched} processes, but Accelerate sees {accelerator.num_processes}: each would "
            "predict every case. On CPUs set ACCELERATE_USE_CPU=true and launch with --multi_gpu"
        )
    return accelerator


def _recipe(
    members: Sequence[Member], config: Config, precision: str, shares: list[list[float]], decoding: Decoding
) -> dict[str, Any]:
    """All that decides what is in a case's files, but the case."""
    return {
        "format": FORMAT,
        "members": [
            {
                "weights_sha256": member.weights_sha256,
                "plan": asdict(member.plan),
                "patch": member.config.data.patch,
                "model": member.config.model.model_dump(mode="json"),
                "target": asdict(member.target),
            }
            for member in members
        ],
        "shares": shares,
        "predict": config.predict.model_dump(mode="json", exclude=set(FOR_SPEED)),
        "precision": precision,
        "decoding": {name: asdict(setting) for name, setting in decoding.items()},
    }


def _already_there(
    accelerator: Accelerator,
    folder: Path,
    cases: Sequence[Case],
    recipe: str,
    probabilities: bool,
    told: Mapping[str, Any],
) -> list[str]:
    """Names of the finished cases, as rank 0 sees them: it looks before any rank writes, and the others are told.

    Rank 0 also notes which cases are asked for, so that a kill does not take that along.
    """
    found: list[list[str]] = [[]]
    if accelerator.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        outputs.remove_leftovers(folder)
        found = [
            [case.name for case in cases if outputs.is_finished(folder, case, recipe, probabilities=probabilities)]
        ]
        asked = [case.name for case in cases]
        outputs.note_cases(folder, told, recipe, asked=asked, cases=found[0], failures={})
    heard: list[list[str]] = broadcast_object_list(found)
    return heard[0]


# ---------------------------------------------------------------- case after case


@dataclass(frozen=True, eq=False)
class _Work:
    """Reading, computing and writing overlap: each has at most one case."""

    ensemble: Ensemble
    decoding: Decoding
    folder: Path
    recipe: str
    probabilities: bool

    def all(self, cases: Sequence[Case], progress: Progress) -> tuple[list[str], dict[str, str]]:
        """Names of the cases that were written, and why the others were not."""
        outcome = _Outcome(len(cases), progress)
        writing: tuple[Case, Future[None]] | None = None
        with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
            coming = [reader.submit(self.read, case) for case in cases[:1]]
            for case, following in zip_longest(cases, cases[1:]):
                loaded = outcome.of(case, coming.pop().result)
                if following is not None:
                    coming.append(reader.submit(self.read, following))
                channels = None if loaded is None else outcome.of(case, self.ensemble.probabilities, loaded.prepared)
                outcome.settle(writing)
                writing = None
                if loaded is not None and channels is not None:
                    writing = case, writer.submit(self.write, case, channels, loaded)
                del loaded, channels  # the writer's alone now
            outcome.settle(writing)
        return outcome.written, outcome.failures

    def read(self, case: Case) -> Loaded:
        loaded = read_case(self.ensemble, case)
        outputs.forget_case(self.folder, case.name)  # not before: what cannot be read costs no earlier prediction
        return loaded

    def write(self, case: Case, channels: Channels, loaded: Loaded) -> None:
        target = self.ensemble.target
        within, inside = channels.inside()
        decoded = decode(inside, target, self.decoding, loaded.spacing_mm, within=within)
        try:
            files = outputs.write_case(
                self.folder, case.name, channels, decoded, loaded.grid, target, probabilities=self.probabilities
            )
            outputs.finish_record(self.folder, case, self.recipe, files)
        except BaseException:
            outputs.forget_case(self.folder, case.name)
            raise


class _Outcome:
    """What became of the cases so far. One case's fault is not the others'."""

    def __init__(self, cases: int, progress: Progress):
        self.cases, self.progress = cases, progress
        self.written: list[str] = []
        self.failures: dict[str, str] = {}

    def of(self, case: Case, step: Callable[..., Result], *arguments: Any) -> Result | None:
        """What the step returns; None where it raises, and the reason is kept."""
        try:
            return step(*arguments)
        except Exception as error:
            self.failures[case.name] = _reason(error)
            self._tell(case)
            return None

    def settle(self, writing: tuple[Case, Future[None]] | None) -> None:
        """Waits until a case is written."""
        if writing is None:
            return
        case, future = writing
        self.of(case, future.result)
        if case.name not in self.failures:
            self.written.append(case.name)
            self._tell(case)

    def _tell(self, case: Case) -> None:
        self.progress(len(self.written) + len(self.failures), self.cases, case.name)


def _reason(error: Exception) -> str:
    if isinstance(error, (ValueError, OSError)):
        return str(error)
    advice = "; lower predict.window_batch" if type(error).__name__ == "OutOfMemoryError" else ""
    return f"{type(error).__name__}: {error}{advice}"


# ---------------------------------------------------------------- after the last case


def _gathered(folder: Path, skipped: Sequence[str], mine: tuple[list[str], dict[str, str]]) -> Prediction:
    everyone = gather_object([mine])
    written = [name for names, _ in everyone for name in names]
    failures = {name: reason for _, failures in everyone for name, reason in failures.items()}
    return Prediction(folder, sorted([*written, *skipped]), sorted(skipped), dict(sorted(failures.items())))


def _summary(
    members: Sequence[Member],
    config: Config,
    data: Path,
    weights: list[list[float]],
    decoding: Decoding,
    tuned: Path | None,
    precision: str,
    held_out: bool,
) -> dict[str, Any]:
    target: Target = members[0].target
    return {
        "run": str(members[0].run.path.resolve()),
        "data": str(data.resolve()),
        "weights_sha256": members[0].weights_sha256,
        "overlap": config.predict.overlap,
        "threshold": config.predict.threshold,
        "mirror": list(config.predict.mirror),
        "query_classes": config.predict.query_classes,
        "precision": precision,
        "channels": list(target.names),
        "members": [
            {"run": str(member.run.path.resolve()), "weights_sha256": member.weights_sha256} for member in members
        ],
        "region_weights": {name: [row[i] for row in weights] for i, name in enumerate(target.names)},
        "decoding": {name: asdict(setting) for name, setting in decoding.items()},
        "decoding_from": "default" if tuned is None else str(tuned.resolve()),
        "held_out": held_out,
    }


def _in_words(config: Config, *, target: Target, tuned: Path | None) -> str:
    if tuned is not None:
        return str(tuned)
    return "default" + (f", threshold {config.predict.threshold:g}" if target.kind == "regions" else "")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
