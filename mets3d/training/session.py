"""Opens a session: puts a job on its devices, loads the newest checkpoint, and holds all that the loop works on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer

from mets3d.training import launch, optim, state
from mets3d.training.balance import Balance
from mets3d.training.job import Job
from mets3d.training.readback import Readback
from mets3d.training.stop import StopWish, listening
from mets3d.training.track import Tracker


@dataclass
class Session:
    """A run while it trains in this process.

    network, optimizer: as the Accelerator prepared them.
    progress: how far the run is; the checkpoint holds it.
    tracker: logs numbers to metrics.jsonl, the terminal and W&B.
    wish: true from the first SIGTERM or SIGINT of this process on.
    readback: the numbers of steps on their way from the device to the host, where a GPU's arrive one step late.
    balance: the running ratio of base loss and boundary term, None unless the loss needs it.
    """

    job: Job
    accelerator: Accelerator
    network: nn.Module
    optimizer: Optimizer
    progress: state.Progress
    tracker: Tracker
    wish: StopWish
    readback: Readback
    balance: Balance | None

    @property
    def exit_code(self) -> int:
        """Returns the exit code for the shell: 0, or that of a process which the signal ended."""
        return self.wish.exit_code


@contextmanager
def open_session(job: Job, accelerator: Accelerator) -> Iterator[Session]:
    """Prepares the run directory, loads the newest checkpoint, and collects signals until the block ends.

    A directory or checkpoint that does not fit ends the process with one message and exit code 2.
    """
    with launch.one_message(accelerator):
        state.prepare_run(job, accelerator)
    if accelerator.is_main_process:
        launch.note_start(job.run, accelerator, state.count_parameters(job.network))
    optimizer = optim.build(job.network.parameters(), job.config.optim)
    network = torch.compile(job.network) if job.config.train.compile else job.network
    network, optimizer = accelerator.prepare(network, optimizer)
    balance = Balance(accelerator.device) if job.loss.needs_ratio else None
    if balance is not None:
        accelerator.register_for_checkpointing(balance)
    with launch.one_message(accelerator):
        progress = state.resume(job.run, accelerator, network)
    tracker = Tracker(job.config, accelerator, job.run, step=progress.step)
    try:
        if progress.step:
            tracker.say(f"resuming at step {progress.step} of {job.config.train.steps}")
        with listening() as wish:
            # On a GPU the numbers of a step are read while the next one runs; elsewhere at once.
            readback = Readback(lag=1 if accelerator.device.type == "cuda" else 0)
            yield Session(job, accelerator, network, optimizer, progress, tracker, wish, readback, balance)
    finally:
        tracker.close()
    if accelerator.is_main_process:
        launch.note_end(job.run, wish.exit_code)
