"""Decides whether a training may go on under the settings it is started with: what may change, and what may not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mets3d.config import Config, ConfigError, as_dict, differing_keys, flatten, load_file
from mets3d.losses.boundary import BoundaryWeight
from mets3d.rundir import RunDir
from mets3d.training.progress import Record
from mets3d.training.schedule import learning_rate
from mets3d.training.selection import all_choose
from mets3d.wording import counted

# Settings under which held-out cases are scored. They decide which weights are the best, but change no weight.
SCORED = (
    *("validate.cases", "validate.rules", "validate.best_by", "validate.mirror"),
    *("predict.overlap", "predict.threshold", "predict.query_classes"),
)
# Settings that may change between a start and its resumption, since no weight depends on them; of accumulation alone
# the rounding does. Where the store lies may change, not what is in it; where the files lie that say who is a patient
# and who is held out may change, not what follows from them in split.json; `precision` is compared as launched.
MAY_CHANGE = (
    *("name", "output", "resume", "precision", "track", "validate", "predict"),
    *("data.store", "data.cache", "data.workers", "data.patients", "data.split"),
    *("train.accumulation", "train.checkpoint_every", "train.keep_checkpoints", "train.max_skipped"),
    *("train.debug_non_finite", "train.deterministic"),
    *("train.compile", "train.compile_loss", "train.channels_last", "train.recompute"),
)
CURVES = ("train.steps", "train.schedule_steps")  # may change where the curves of the steps done stay the same


@dataclass(frozen=True)
class Launch:
    """What a start brings besides its settings: precision and number of processes, and a digest of the store."""

    precision: str
    processes: int
    store: str


def scored_under(config: Config) -> dict[str, Any]:
    """Returns the settings under which the best score is made, as JSON has them.

    Where all cases choose the best, not those of `validate.cases`, these are no such setting and count as none.
    """
    flat = flatten(as_dict(config)) | ({"validate.cases": None} if all_choose(config) else {})
    return {key: flat[key] for key in SCORED}


def check_same_run(run: RunDir, config: Config, launch: Launch, record: Record | None) -> list[str]:
    """Compares a start with the run directory and its newest whole checkpoint, if there is one.

    Returns remarks on what has changed and may. Raises ValueError with all that has changed and may not.
    """
    before = _settings_before(run)
    if before is None:
        return []
    was, now = flatten(as_dict(before)), flatten(as_dict(config))
    changed = [key for key in differing_keys(before, config, ignored=()) if key not in ("resume", "precision")]
    refused = differing_keys(before, config, ignored=(*MAY_CHANGE, *CURVES))
    lines = [f"{key}: {was[key]!r} there, {now[key]!r} now" for key in refused]
    remarks: list[str] = []
    if record is not None:
        lines += _length(before, config, record.progress.step, remarks)
        if record.precision != launch.precision:
            lines.append(f"precision, as launched: {record.precision!r} there, {launch.precision!r} now")
        if record.store != launch.store:
            lines.append(f"data.store: its content is another one ({was['data.store']} there, {now['data.store']} now)")
    if lines:
        listed = "\n  ".join(lines)
        raise ValueError(
            f"{run.path} holds a run with other settings; use another --name or the same settings:\n  {listed}"
        )
    words = [f"{key} {was[key]} -> {now[key]}" for key in changed]
    if record is not None and record.processes != launch.processes:
        words.append(f"processes {record.processes} -> {launch.processes}")
    if words:
        remarks.insert(0, f"changed since the last start, and may: {', '.join(words)}")
    return remarks


def _settings_before(run: RunDir) -> Config | None:
    """Returns the settings of the last start, None before the first."""
    file: Path = run.config
    if not file.exists():
        return None
    try:
        return load_file(file)
    except ConfigError as error:
        raise ValueError(f"{file} cannot be read by this version: {error}; use another --name") from None


# ---------------------------------------------------------------- the length of a run


def _length(before: Config, config: Config, done: int, remarks: list[str]) -> list[str]:
    """Returns what speaks against the new length, for the list of refusals; adds a remark where a curve jumps."""
    if all(getattr(before.train, name) == getattr(config.train, name) for name in ("steps", "schedule_steps")):
        return []
    was, now = before.train.steps, config.train.steps
    if now < done:
        return [f"train.steps: {was} there, {now} now, fewer than the {done} done"]
    old, new = _curves(before), _curves(config)
    differing = next((step for step in range(done) if old(step) != new(step)), None)
    if differing is None:
        return []
    if config.train.schedule_steps is None:
        refusal = (
            f"train.steps: {was} there, {now} now: the learning rate or the boundary weight of the "
            f"{counted(done, 'step')} done would have been another one. Say how they go on: "
            f"--train.schedule_steps={before.train.curve_steps} keeps the curves and holds their end, "
            f"--train.schedule_steps={now} goes over to those of {now} steps"
        )
        return [refusal]
    last = max(0, done - 1)
    remarks.append(
        f"from step {done} on the curves are those of {config.train.curve_steps} steps instead of "
        f"{before.train.curve_steps}: the learning rate goes from {old(last)[0]:.3g} to {new(done)[0]:.3g}"
    )
    return []


def _curves(config: Config) -> Callable[[int], tuple[float, float]]:
    """Returns the function of a step that gives learning rate and share of the boundary weight."""
    length, loss = config.train.curve_steps, config.loss
    ramp = None if loss.boundary == "none" or loss.boundary_schedule == "constant" else loss.boundary_ramp
    weight = BoundaryWeight(1.0, length, ramp)
    return lambda step: (learning_rate(step, length, config.optim), weight.share(step))


# ---------------------------------------------------------------- the best score


def other_scores(config: Config, record: Record) -> str | None:
    """Returns a remark if the best score was made under settings that score otherwise than these."""
    now: Mapping[str, Any] = scored_under(config)
    differing = [key for key in now if record.scored.get(key) != now[key]]
    if not differing or record.progress.best < 0:  # nothing is compared anyway
        return None
    words = ", ".join(f"{key} {record.scored.get(key)} -> {now[key]}" for key in differing)
    return (
        f"the best score, {record.progress.best:.3f} at step {record.progress.best_step}, was made under other "
        f"settings ({words}): it is not compared, and the next validation counts as the best"
    )
