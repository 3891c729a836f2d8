"""Logs a run's numbers to metrics.jsonl and the terminal, and has W&B read along."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from tqdm import tqdm

from mets3d.config import Config
from mets3d.log_names import ALL_CASES, CASES, MEAN
from mets3d.rundir import RunDir
from mets3d.training.track.wandb_link import WandbLink
from mets3d.training.track.wandb_orders import wandb_is_wanted

if TYPE_CHECKING:
    from accelerate import Accelerator


class Tracker:
    """The log of a run. Rank 0 writes; on the other ranks, and with `silent` on all, every call does nothing."""

    def __init__(self, config: Config, accelerator: Accelerator, run: RunDir, *, step: int, silent: bool = False):
        self.config, self.run = config, run
        self.steps = config.train.steps
        self.console_every = config.track.console_every
        self.wandb: WandbLink | None = None
        self.file: IO[str] | None = None
        self.bar: tqdm[Any] | None = None
        if accelerator.is_main_process and not silent:
            run.forget_metrics_after(step)
            self.file = run.metrics.open("a", encoding="utf-8")
            if sys.stderr.isatty():
                self.bar = tqdm(total=self.steps, initial=step, unit="step", dynamic_ncols=True)

    def connect(self, stop: Callable[[], None]) -> None:
        """Has W&B read along, where it is wanted. `stop` is called from a thread when its page asks the run to stop."""
        if self.file is not None and wandb_is_wanted(self.config.track):
            self.wandb = WandbLink(self.config, self.run, say=self.say, stop=stop)

    def train(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the numbers of optimizer step `step` (counted from 1)."""
        self._write(step, "train", values)
        if self.bar is not None:
            self.bar.update(step - self.bar.n)
            self.bar.set_postfix_str(_line(values))
        elif self.file is not None and (step % self.console_every == 0 or step == self.steps):
            print(f"step {step}/{self.steps}  {_line(values)}", flush=True)

    def validation(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the scores of held-out cases after optimizer step `step`; the terminal shows means over the regions."""
        self._write(step, "validation", values)
        shown = (f"{name} {value:.3f}" for name, value in values.items() if name.endswith(f"/{MEAN}"))
        where = f"validation on {values.get(f'{ALL_CASES}{CASES}', values[CASES])} held-out cases"
        self.say(f"step {step}  {where}  {'  '.join(shown)}  {values['seconds']:.1f} s")

    def say(self, text: str) -> None:
        """Prints a line, above the progress bar where there is one."""
        if self.bar is not None:
            self.bar.write(text)
        elif self.file is not None:
            print(text, flush=True)

    def close(self, exit_code: int) -> None:
        """Ends the log of a run that leaves with `exit_code`: closes bar and file, and lets W&B send what it has."""
        if self.wandb is not None:
            # A run that a signal ended is to go on later.
            self.wandb.close(exit_code, stopped=exit_code > 128)
            self.wandb = None
        if self.bar is not None:
            self.bar.close()
        if self.file is not None:
            with suppress(OSError):  # a row that the disk did not take, which `_write` has raised
                self.file.close()
            self.file = None

    def _write(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        if self.file is not None:
            # JSON has no NaN: a value that is not finite is null.
            plain = {name: value if math.isfinite(value) else None for name, value in values.items()}
            self.file.write(json.dumps({"step": step, "kind": kind, **plain}) + "\n")
            self.file.flush()


def _line(values: Mapping[str, float]) -> str:
    return f"loss {values['loss']:.4f}  lr {values['lr']:.2e}  {values['samples_per_second']:.2f} samples/s"
