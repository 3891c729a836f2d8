"""Predicts the cases of a data set with one trained run or an average of several.

`accelerate launch` shares the cases over its processes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list, gather_object

from mets3d.config import Config, Data
from mets3d.data import Progress, quiet
from mets3d.data.cases import Case, find_cases
from mets3d.data.check import check_headers
from mets3d.data.not_usable import OnError, reason_of, stops, write_not_usable
from mets3d.files import NAMES, read_object
from mets3d.inference import outputs
from mets3d.inference.colour_tables import write_colour_tables
from mets3d.inference.decoding_settings import settings_of
from mets3d.inference.decoding_words import plan_in_words, plan_remarks
from mets3d.inference.ensemble import Ensemble
from mets3d.inference.pipeline import Pipeline
from mets3d.inference.setup import Choices, Setup, set_up
from mets3d.rundir import PredictionsDir, RunDir, open_run
from mets3d.settings.channels import sequences_of
from mets3d.wording import counted

FORMAT = 2  # raised when the same recipe gives other files
# A change of these makes no other prediction, so a rerun need not start anew.
FOR_SPEED = ("window_batch", "compile", "threshold")  # the threshold is in the decoding


@dataclass
class Prediction:
    """The folder that was written to, and the cases that could not be predicted with the reason."""

    folder: Path
    cases: list[str] = field(default_factory=list)  # whose files are there, those of an earlier call included
    skipped: list[str] = field(default_factory=list)  # of them: already there, from the same files by the same recipe
    failures: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    decoded_by: str = ""  # in a line: the file and how many cases how, or that it was the default


def predict(
    run_path: Path,
    data: Path,
    out: Path | None = None,
    choices: Choices | None = None,
    *,
    probabilities: bool = False,
    held_out: bool = False,
    on_error: OnError | None = None,
    progress: Progress = quiet,
) -> Prediction:
    """Predicts every case of a data set, or the held-out ones, into OUT (default RUN/predictions).

    Writes what `mets3d.rundir.PredictionsDir` lists. A case that is there already, from the same files by the same
    recipe (weights, plan, settings, decoding), is skipped. Cases are shared over the processes of the launch, whose
    number changes no byte of the files.

    choices: more runs to average with, for which OUT is required, and changed settings. The settings are the first
    run's; held-out cases are those that no member was trained on.

    on_error: with `skip` cases whose headers show that they cannot be predicted, as one that lacks a sequence, are
    named in the result, with `stop` all are refused for them; None: `skip` from 20 cases on. A case that fails later is
    named in the result in either way.

    Raises FileNotFoundError or ValueError before the first case, as `set_up` does and for cases as said.
    """
    choices = choices or Choices()
    if choices.also and out is None:
        raise ValueError("with --also the predictions belong to no single run; name a folder OUT for them")
    runs = [open_run(path, needs=("config", "plan", "weights")) for path in (run_path, *choices.also)]
    setup = set_up(run_path, choices)
    cases, faults = _chosen(runs, data, setup.reading, held_out, on_error)
    accelerator = _accelerator(setup.config)
    precision = accelerator.mixed_precision
    ensemble = _ensemble(setup, accelerator)
    recipe = outputs.recipe_hash(_recipe(setup, precision, ensemble.shares.tolist()))
    folder = PredictionsDir(runs[0].predictions if out is None else out)
    names = [case.name for case in cases]
    provenance, decoded = _provenance(setup, data, precision, held_out), _decoded_otherwise(setup, cases)
    note = partial(outputs.note_cases, folder, provenance, recipe, intended=names, decoded=decoded)

    skipped: list[str] = []
    if accelerator.is_main_process:  # looks before any process writes
        sound = [case for case in cases if case.name not in faults]
        skipped = _already_there(folder, sound, recipe, probabilities)
        write_colour_tables(folder, setup.target)
        note(cases=skipped, failures=faults)  # so that a kill does not lose which cases are to come
    skipped, faults = broadcast_object_list([skipped, faults])
    to_do = [case for case in cases if case.name not in skipped and case.name not in faults]
    pipeline = Pipeline(ensemble, setup.plan, folder, recipe, probabilities)
    result = _gathered(folder, skipped, faults, pipeline.run(_share(to_do, accelerator), progress))
    how = Counter(setup.plan.of(case.name, case.patient).how for case in cases)
    result.decoded_by = plan_in_words(setup.plan, setup.tuned, setup.target, how)
    result.remarks = [*_remarks(folder, names, recipe, result.failures), *_incomplete(cases, setup.reading, faults)]
    result.remarks += plan_remarks(setup.plan, setup.tuned, how, setup.config.validate_.rules)
    if accelerator.is_main_process:
        note(cases=result.cases, failures=result.failures)
        write_not_usable(folder.not_usable, result.failures)
    return result


# ---------------------------------------------------------------- before the first case


def _chosen(
    runs: Sequence[RunDir], data: Path, reading: Data, held_out: bool, on_error: OnError | None
) -> tuple[list[Case], dict[str, str]]:
    """Finds the cases to predict, and what is wrong with some of them by layout and headers.

    Raises ValueError with all that is wrong where that stops the others.
    """
    cases = find_cases(data, reading)
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
    found = [finding for case in chosen for finding in check_headers(case, reading)]
    found += [finding for finding in cases.findings if finding.case in {case.name for case in chosen}]
    errors = [finding for finding in found if finding.severity == "error"]
    if errors and stops(on_error, len(chosen)):
        told = "\n  ".join(str(error) for error in errors)
        raise ValueError(f"{data}: cases that cannot be predicted; --on-error skip predicts the others\n  {told}")
    faulty = dict.fromkeys(error.case for error in errors)
    return chosen, {name: reason_of(error for error in errors if error.case == name) for name in faulty}


def _held_out(runs: Sequence[RunDir]) -> set[str]:
    """Returns the cases that every run was validated on and none was trained on."""
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
    """Starts this process. Raises ValueError where the launcher started others that Accelerate does not see."""
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


def _ensemble(setup: Setup, accelerator: Accelerator) -> Ensemble:
    """Puts the networks on this process's device."""
    device, autocast = accelerator.device, accelerator.autocast
    return Ensemble(setup.members, setup.config.predict, setup.weights, device, autocast, reading=setup.reading)


def _recipe(setup: Setup, precision: str, shares: list[list[float]]) -> dict[str, Any]:
    """Returns all that decides what is in a case's files, but the case."""
    return {
        "format": FORMAT,
        "members": [
            {
                "weights_sha256": member.weights_sha256,
                "plan": member.plan.preparation,
                "patch": member.config.data.patch,
                "model": member.config.model.model_dump(mode="json"),
                "target": asdict(member.target),
            }
            for member in setup.members
        ],
        "shares": shares,
        "predict": setup.config.predict.model_dump(mode="json", exclude=set(FOR_SPEED)),
        "precision": precision,
        "grids": setup.config.data.grids,
        "decoding": settings_of(setup.plan.new),
        **setup.plan.recipe(),
    }


def _provenance(setup: Setup, data: Path, precision: str, held_out: bool) -> dict[str, Any]:
    """Returns what predict.json says of how the label maps were made."""
    members, settings = setup.members, setup.config.predict
    runs = [{"run": str(member.run.path.resolve()), "weights_sha256": member.weights_sha256} for member in members]
    weights = setup.weights.tolist()
    return {
        "run": runs[0]["run"],
        "data": str(data.resolve()),
        "weights_sha256": runs[0]["weights_sha256"],
        "overlap": settings.overlap,
        "threshold": settings.threshold,
        "mirror": list(settings.mirror),
        "query_classes": settings.query_classes,
        "precision": precision,
        "channels": list(setup.target.names),
        "members": runs,
        "region_weights": {name: [row[i] for row in weights] for i, name in enumerate(setup.target.names)},
        "decoding": settings_of(setup.plan.new),
        "decoding_from": "default" if setup.tuned is None else str(setup.tuned.resolve()),
        "decoding_rules": setup.plan.rules,
        "decoding_forced": list(setup.plan.forced),
        "held_out": held_out,
    }


def _decoded_otherwise(setup: Setup, cases: Sequence[Case]) -> dict[str, Any]:
    """Returns, by case, how it is decoded where that is not as `decoding` in predict.json says of new cases."""
    plan = setup.plan
    own = {case.name: plan.of(case.name, case.patient) for case in cases} if plan.tuned else {}
    return {
        name: {"decoding": found.how, "regions": settings_of(found.decoding)}
        for name, found in own.items()
        if found.decoding is not plan.new or found.how != plan.how
    }


def _already_there(folder: PredictionsDir, cases: Sequence[Case], recipe: str, probabilities: bool) -> list[str]:
    """Makes the folder ready and lists the cases that are finished there."""
    folder.path.mkdir(parents=True, exist_ok=True)
    outputs.remove_leftovers(folder)
    return [case.name for case in cases if outputs.is_finished(folder, case, recipe, probabilities=probabilities)]


def _share(cases: Sequence[Case], accelerator: Accelerator) -> Sequence[Case]:
    """Returns this process's cases."""
    return cases[accelerator.process_index :: accelerator.num_processes]


# ---------------------------------------------------------------- after the last case


def _gathered(
    folder: PredictionsDir, skipped: Sequence[str], faults: dict[str, str], mine: tuple[list[str], dict[str, str]]
) -> Prediction:
    """Joins what the processes have written, and what failed, then or before."""
    everyone = gather_object([mine])
    written = [name for names, _ in everyone for name in names]
    failures = faults | {name: reason for _, failures in everyone for name, reason in failures.items()}
    return Prediction(folder.path, sorted([*written, *skipped]), sorted(skipped), dict(sorted(failures.items())))


def _remarks(folder: PredictionsDir, names: Sequence[str], recipe: str, failures: dict[str, str]) -> list[str]:
    """Names the label maps in the folder that are not of this prediction."""
    remarks = []
    kept = [name for name in failures if folder.label_map(name).exists()]
    if kept:
        remarks.append(
            f"{folder.path} keeps the earlier label map of {counted(len(kept), 'case')} that failed now: {_some(kept)}"
        )
    others = outputs.other_predictions(folder, names, recipe)
    if others:
        remarks.append(f"{folder.path} also holds {counted(len(others), 'label map')} made otherwise: {_some(others)}")
    return remarks


def _incomplete(cases: Sequence[Case], reading: Data, faults: Mapping[str, str]) -> list[str]:
    """Names the cases that are predicted although they lack a sequence."""
    wanted = sequences_of(reading.sequences)
    lacking = [case.name for case in cases if case.without(wanted) and case.name not in faults]
    if not lacking:
        return []
    return [f"zeros stand for a missing sequence in {counted(len(lacking), 'case')}: {_some(lacking)}"]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
