"""Logs a run's numbers to metrics.jsonl, the terminal and, through Accelerate's tracker, W&B."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import IO, Any

from accelerate import Accelerator
from tqdm import tqdm

from mets3d.config import Config, Track, as_dict, flatten
from mets3d.rundir import RunDir


def wandb_is_wanted(settings: Track) -> bool:
    """Returns whether W&B logs: unless it is disabled, in the settings or by WANDB_MODE, or not installed."""
    if settings.wandb == "disabled" or os.environ.get("WANDB_MODE") == "disabled":
        return False
    return find_spec("wandb") is not None


class Tracker:
    """The log of a run. Rank 0 writes; on the other ranks every call does nothing."""

    def __init__(self, config: Config, accelerator: Accelerator, run: RunDir, *, step: int):
        self.accelerator, self.steps = accelerator, config.train.steps
        self.console_every = config.track.console_every
        self.file: IO[str] | None = None
        self.bar: tqdm[Any] | None = None
        if accelerator.log_with:
            accelerator.init_trackers(
                config.track.project,
                config=flatten(as_dict(config)),
                init_kwargs={"wandb": _wandb_arguments(config, run)},
            )
        if accelerator.is_main_process:
            run.forget_metrics_after(step)
            self.file = run.metrics.open("a", encoding="utf-8")
            if sys.stderr.isatty():
                self.bar = tqdm(total=self.steps, initial=step, unit="step", dynamic_ncols=True)

    def train(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the numbers of optimizer step `step` (counted from 1)."""
        self._write(step, "train", values)
        if self.bar is not None:
            self.bar.update(step - self.bar.n)
            self.bar.set_postfix_str(_line(values))
        elif self.file is not None and (step % self.console_every == 0 or step == self.steps):
            print(f"step {step}/{self.steps}  {_line(values)}", flush=True)

    def validation(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the scores of the held-out cases after optimizer step `step`."""
        self._write(step, "validation", values)
        self.say(f"step {step}  validation  " + "  ".join(f"{name} {value:.3f}" for name, value in values.items()))

    def say(self, text: str) -> None:
        """Prints a line, above the progress bar where there is one."""
        if self.bar is not None:
            self.bar.write(text)
        elif self.file is not None:
            print(text, flush=True)

    def close(self) -> None:
        """Closes the bar and the file."""
        if self.bar is not None:
            self.bar.close()
        if self.file is not None:
            self.file.close()
            self.file = None

    def _write(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        if self.file is not None:
            # JSON has no NaN: a value that is not finite is null.
            plain = {name: value if math.isfinite(value) else None for name, value in values.items()}
            self.file.write(json.dumps({"step": step, "kind": kind, **plain}) + "\n")
            self.file.flush()
        if self.accelerator.log_with:
            self.accelerator.log({f"{kind}/{name}": value for name, value in values.items()}, step=step)


def _wandb_arguments(config: Config, run: RunDir) -> dict[str, Any]:
    arguments: dict[str, Any] = {"name": config.name, "dir": str(run.path)}
    if "WANDB_MODE" not in os.environ:
        online = config.track.wandb == "auto" and bool(os.environ.get("WANDB_API_KEY"))
        arguments["mode"] = "online" if online else "offline"
    if "WANDB_SWEEP_ID" not in os.environ:
        # The same id at every start, so that a resumed run goes on as one; inside a sweep the agent names the run.
        arguments |= {"id": f"{config.name}-{_fingerprint(run)}", "resume": "allow"}
    return arguments


def _fingerprint(run: RunDir) -> str:
    import hashlib

    return hashlib.sha256(str(run.path.resolve()).encode()).hexdigest()[:8]


def _line(values: Mapping[str, float]) -> str:
    return f"loss {values['loss']:.4f}  lr {values['lr']:.2e}  {values['samples_per_second']:.2f} samples/s"
