"""Logs a run's numbers to metrics.jsonl and the terminal, and has W&B, TensorBoard, trackio and the page read along."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tqdm import tqdm

from mets3d.config import Config
from mets3d.log_names import (
    ALL_CASES,
    CASES,
    LEARNING_RATE,
    LOSS,
    SAMPLES_PER_SECOND,
    SCORES,
    SECONDS,
    TRAIN,
    VALIDATION,
    score_name,
)
from mets3d.rundir import RunDir
from mets3d.training.shown import Details
from mets3d.training.track.other_link import OtherLink
from mets3d.training.track.page_link import PageLink
from mets3d.training.track.validation_files import forget_validations_after, write_validation
from mets3d.training.track.wandb_link import WandbLink
from mets3d.training.track.wandb_orders import wandb_is_wanted
from mets3d.wording import counted

if TYPE_CHECKING:
    from accelerate import Accelerator

MEANS = [score_name(score) for score in SCORES]


class Tracker:
    """The log of a run. Rank 0 writes; on the other ranks, and with `silent` on all, every call does nothing."""

    def __init__(self, config: Config, accelerator: Accelerator, run: RunDir, *, step: int, silent: bool = False):
        self.config, self.run = config, run
        self.steps = config.train.steps
        self.console_every = config.track.console_every
        self.wandb: WandbLink | None = None
        self.others: list[OtherLink] = []
        self.page: PageLink | None = None
        self.file: IO[str] | None = None
        self.bar: tqdm[Any] | None = None
        if accelerator.is_main_process and not silent:
            run.forget_metrics_after(step)
            forget_validations_after(run, step)
            self.file = run.metrics.open("a", encoding="utf-8")
            if sys.stderr.isatty():
                self.bar = tqdm(total=self.steps, initial=step, unit="step", dynamic_ncols=True)

    def connect(self, stop: Callable[[], None]) -> None:
        """Has W&B read along, where it is wanted, the loggers of `track.also`, and the page of `track.page`.

        `stop` is called from a thread when W&B's page asks the run to stop.
        """
        if self.file is None:
            return
        if wandb_is_wanted(self.config.track):
            self.wandb = WandbLink(self.config, self.run, say=self.say, stop=stop)
        self.others = [OtherLink(name, self.config, self.run, say=self.say) for name in self.config.track.also]
        if self.config.track.page:
            self.page = PageLink(self.run, say=self.say)

    def train(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the numbers of optimizer step `step` (counted from 1)."""
        self._write(step, TRAIN, values)
        if self.bar is not None:
            self.bar.update(step - self.bar.n)
            self.bar.set_postfix_str(_line(values))
        elif self.file is not None and (step % self.console_every == 0 or step == self.steps):
            print(f"step {step}/{self.steps}  {_line(values)}", flush=True)

    def validation(self, step: int, values: Mapping[str, float], details: Details | None = None) -> None:
        """Logs the scores of held-out cases after optimizer step `step`; the terminal shows means over the regions.

        Those over all cases, where others are over some, have a line of their own with their number.
        details: what the loggers show of the cases; it is written before the line that makes them look for it.
        """
        if self.file is not None and details is not None and details.cases:
            write_validation(self.run, step, details)
        self._write(step, VALIDATION, values)
        of_all = {name.removeprefix(ALL_CASES): value for name, value in values.items() if name.startswith(ALL_CASES)}
        lines = [f"validation on {_means(values)}"] + ([f"validation on all {_means(of_all)}"] if of_all else [])
        for line in lines[:-1]:
            self.say(f"step {step}  {line}")
        self.say(f"step {step}  {lines[-1]}  {values[SECONDS]:.1f} s")
        if self.page is not None:
            self.page.renew()

    def say(self, text: str) -> None:
        """Prints a line, above the progress bar where there is one."""
        if self.bar is not None:
            self.bar.write(text)
        elif self.file is not None:
            print(text, flush=True)

    def close(self, exit_code: int, reason: str | None = None) -> None:
        """Ends the log of a run that leaves with `exit_code`: closes bar and file, and lets the loggers send the rest.

        reason: why the run failed, for an alert.
        """
        # A run that a signal ended is to go on later.
        if self.wandb is not None:
            weights = self._weights() if exit_code == 0 and self.config.track.weights else {}
            self.wandb.close(exit_code, stopped=exit_code > 128, reason=reason, weights=weights)
            self.wandb = None
        for other in self.others:
            other.close(exit_code, reason=reason)
        self.others = []
        if self.page is not None:
            self.page.close()
            self.page = None
        if self.bar is not None:
            self.bar.close()
        if self.file is not None:
            with suppress(OSError):  # a row that the disk did not take, which `_write` has raised
                self.file.close()
            self.file = None

    def _weights(self) -> dict[str, Path]:
        """Returns the weights to send by alias: those of the best and of the last checkpoint."""
        found = {alias: self.run.pointed_weights(alias) for alias in ("best", "last")}
        return {alias: file for alias, file in found.items() if file is not None}

    def _write(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        if self.file is not None:
            # JSON has no NaN: a value that is not finite is null.
            plain = {name: value if math.isfinite(value) else None for name, value in values.items()}
            self.file.write(json.dumps({"step": step, "kind": kind, **plain}) + "\n")
            self.file.flush()


def _means(values: Mapping[str, float]) -> str:
    shown = [f"{name} {value:.3f}" for name, value in values.items() if name in MEANS]
    return "  ".join([counted(int(values[CASES]), "held-out case"), *shown])


def _line(values: Mapping[str, float]) -> str:
    return f"loss {values[LOSS]:.4f}  lr {values[LEARNING_RATE]:.2e}  {values[SAMPLES_PER_SECOND]:.2f} samples/s"
