"""Decides whether and how W&B logs, and writes the first order to the process that does it."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from mets3d.config import Config, Track, as_dict, flatten
from mets3d.rundir import OF_STEP, WEIGHTS, RunDir, ValidationDir
from mets3d.training.track.installed import is_installed
from mets3d.training.track.labels import labels_of
from mets3d.training.track.run_id import keep_id, run_id

Mode = Literal["online", "offline", "shared"]


@dataclass(frozen=True)
class Watch:
    """How often the server is asked whether it is there, in seconds.

    interval: while it answers. again: after a first failure. timeout: for one answer. back: while a run logs offline
    because the server is away; doubled each time that it has come back and gone again.
    """

    interval: float = 8.0
    again: float = 2.0
    timeout: float = 6.0
    back: float = 60.0


@dataclass(frozen=True)
class Limits:
    """How many seconds W&B gets before training, and the end of a run, go on without it.

    init: for the client to reach the server. start: until the process is ready, the import included. finish: to send
    the rest at the end; the last `flush` of them are kept for an offline log where not all could be sent. weights: more
    of them at the end, where weights are sent.
    """

    init: float = 15.0
    start: float = 25.0
    finish: float = 60.0
    flush: float = 12.0
    weights: float = 600.0
    poll: float = 1.0
    watch: Watch = field(default_factory=Watch)


def wandb_is_wanted(settings: Track) -> bool:
    """Returns whether W&B logs: unless it is disabled, in the settings or by WANDB_MODE, or not installed."""
    if settings.wandb == "disabled" or os.environ.get("WANDB_MODE") == "disabled":
        return False
    return is_installed("wandb")


def is_read(settings: Track) -> bool:
    """Returns whether any logger, or the page, reads what a run writes."""
    return wandb_is_wanted(settings) or bool(settings.also) or settings.page


def wandb_mode(settings: Track) -> Mode:
    """Returns how W&B logs: as WANDB_MODE says, else online where the settings allow it and there is a key."""
    match os.environ.get("WANDB_MODE"):
        case None | "":
            return "online" if settings.wandb == "auto" and os.environ.get("WANDB_API_KEY") else "offline"
        case "offline" | "dryrun":
            return "offline"
        case "shared":
            return "shared"
        case _:
            return "online"


def limits_of(settings: Track, limits: Limits) -> Limits:
    """Returns the limits of a run, with more time at its end where it sends weights."""
    return replace(limits, finish=limits.finish + limits.weights) if settings.weights else limits


def first_order(config: Config, run: RunDir, limits: Limits) -> dict[str, Any]:
    """Returns what the process is to send and how, all but the mode."""
    return {
        "argv": sys.argv,
        "init": _init(config, run),
        "settings": {
            "init_timeout": float(os.environ.get("WANDB_INIT_TIMEOUT", limits.init)),
            "finish_timeout": limits.finish - 1.25 * limits.flush,
        },
        "config": flatten(as_dict(config)),
        "weights_name": WEIGHTS,
        "poll": limits.poll,
        "watch": asdict(limits.watch),
        **what_to_read(run),
    }


def _init(config: Config, run: RunDir) -> dict[str, Any]:
    """Returns what names the run in W&B; where its own variables say it otherwise, these are left to speak."""
    labels = labels_of(config)
    variables = {"group": "WANDB_RUN_GROUP", "job_type": "WANDB_JOB_TYPE", "tags": "WANDB_TAGS"}
    init = {key: value for key, value in asdict(labels).items() if not os.environ.get(variables[key])}
    init |= {"name": config.name, "dir": str(run.path)}
    own = os.environ.get("WANDB_RUN_ID")
    if "WANDB_SWEEP_ID" not in os.environ:  # inside a sweep the agent names project and run
        return init | {"project": config.track.project, "id": own or run_id(run)}
    if own:
        keep_id(run, own)  # of a run that is continued by hand, which goes on with its curve
    return init


def what_to_read(run: RunDir) -> dict[str, Any]:
    """Returns the part of an order that says where the numbers lie, and what each validation writes."""
    folder = {"folder": str(run.validations), "name": OF_STEP, "index": ValidationDir(run.path).index.name}
    return {"metrics": str(run.metrics), "validations": folder}


def order_for(mode: Mode, first: dict[str, Any], *, back: float | None) -> dict[str, Any]:
    """Completes the first order for one process.

    back: seconds between two questions whether the server has come back; None: it is not asked.

    A run that goes on online continues behind the last step that the server has. An offline log begins with the first
    step and says nothing of a continuation, for `wandb sync` would move its steps behind those that the server has.
    """
    resume = "allow" if mode != "offline" and "id" in first["init"] else None
    init = {**first["init"], "mode": mode, "resume": resume}
    return {**first, "init": init, "watch": {**first["watch"], "back": back}}
