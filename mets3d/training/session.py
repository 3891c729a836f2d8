"""Opens a session: puts a job on its devices, loads the newest checkpoint, and holds all that the loop works on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer

from mets3d.training import launch, optim, sharding, state
from mets3d.training.agree import from_main
from mets3d.training.balance import Balance, balance_of
from mets3d.training.blame import Skipped
from mets3d.training.deterministic import deterministic
from mets3d.training.ema import Ema, averages
from mets3d.training.failure import message_of
from mets3d.training.job import Job
from mets3d.training.launch_kinds import is_sharded
from mets3d.training.lock import held
from mets3d.training.prepare import Start, check_is_run, prepare_run
from mets3d.training.progress import Progress
from mets3d.training.readback import Readback
from mets3d.training.stop import StopWish, exit_code_of, listening
from mets3d.training.together import StepBoundary
from mets3d.training.track.tracker import Tracker
from mets3d.training.tuned import tuned


@dataclass
class Session:
    """A run while it trains in this process.

    network, optimizer: as the Accelerator prepared them.
    progress: how far the run is; the checkpoint holds it.
    tracker: logs numbers to metrics.jsonl, the terminal and W&B.
    wish: true from the first signal or error of this process on.
    boundary: where all processes agree whether to make the next step.
    readback: the numbers of steps on their way from the device to the host, where a GPU's arrive one step late.
    balance: the running ratios of base loss and boundary terms, None unless the loss needs it.
    ema: the averages of the weights, None without optim.ema.
    saved_step: the step of the newest checkpoint.
    updating: whether a step changes the state right now, so that it is neither that before nor after the step.
    stopped_by: the number of the signal that ended the run, the same on every process; 0 if none did.
    skipped_in_a_row: what made the last steps fail, empty after a step that did not.
    waits: seconds for which each step on its way waited for the loader.
    """

    job: Job
    accelerator: Accelerator
    network: nn.Module
    optimizer: Optimizer
    progress: Progress
    tracker: Tracker
    wish: StopWish
    boundary: StepBoundary
    readback: Readback
    balance: Balance | None
    ema: Ema | None = None
    saved_step: int = 0
    updating: bool = False
    stopped_by: int = 0
    skipped_in_a_row: list[Skipped] = field(default_factory=list)
    waits: dict[int, float] = field(default_factory=dict)

    @property
    def state(self) -> state.State:
        """Returns what a checkpoint of this session holds."""
        return state.State(self.accelerator, self.network, self.optimizer, self.balance, self.ema, self.progress)

    @property
    def exit_code(self) -> int:
        """Returns the exit code for the shell: 0, or that of a process which the signal ended.

        A signal that came after the last step ended nothing.
        """
        return exit_code_of(self.stopped_by)


@contextmanager
def open_session(job: Job, accelerator: Accelerator, wish: StopWish | None = None) -> Iterator[Session]:
    """Locks and prepares the run directory, loads the newest whole checkpoint, and collects signals until the end.

    wish: of a script that collects signals already. A directory or checkpoint that does not fit ends the process with
    one message and exit code 2. environment.json gets the exit code of the block: 1 after an error, which is raised.
    """
    with ExitStack() as stack:
        wish = stack.enter_context(listening()) if wish is None else wish
        stack.enter_context(deterministic(job.config.train.deterministic))
        with launch.one_message(accelerator):
            launch.check_loader(job, accelerator)
        with launch.one_message():
            start = from_main(accelerator, lambda: _begin(job, accelerator, stack))
        session = _prepared(job, accelerator, wish, start)
        if accelerator.is_main_process:
            wish.last_words = partial(launch.note_end, job.run)
        exit_code, reason = 1, None  # of whatever raises
        try:
            yield session
            exit_code = session.exit_code
            if accelerator.is_main_process:
                launch.note_end(job.run, exit_code)
        except Exception as error:
            reason = message_of(error)
            if accelerator.is_main_process:
                with suppress(OSError):  # the disk may be what failed
                    launch.note_failure(job.run)
            raise
        finally:
            wish.last_words = None
            session.tracker.close(exit_code, reason)
        # A launcher ends the others when the first one leaves.
        accelerator.wait_for_everyone()


def _begin(job: Job, accelerator: Accelerator, stack: ExitStack) -> Start:
    """Takes the lock of the run directory until the stack unwinds, and prepares the directory. On the main process."""
    check_is_run(job.run)
    stack.enter_context(held(job.run, print))
    return prepare_run(job, accelerator)


def _prepared(job: Job, accelerator: Accelerator, wish: StopWish, start: Start) -> Session:
    """Puts the job on its devices, in the state of the checkpoint that it starts from."""
    if accelerator.is_main_process:
        launch.note_start(job, accelerator, state.count_parameters(job.network))
    if is_sharded():
        sharding.shard(job.network, accelerator)
    optimizer = optim.build(job.network, job.config.optim)
    job, network = tuned(job)
    network, optimizer = sharding.prepared(accelerator, network, optimizer)
    balance = balance_of(job.config.loss, accelerator.device) if job.loss.needs_ratio else None
    ema = averages(job)
    progress = start.progress
    if start.found is not None:
        with launch.one_message():
            state.load(state.State(accelerator, network, optimizer, balance, ema, progress), start.found)
    elif job.origin is not None:
        with launch.one_message():
            state.begin(state.State(accelerator, network, optimizer, balance, ema, progress), job.origin)
    tracker = Tracker(job.config, accelerator, job.run, step=progress.step)
    tracker.connect(wish.ask)
    for remark in start.remarks:
        tracker.say(remark)
    if progress.step:
        tracker.say(f"resuming at step {progress.step} of {job.config.train.steps}")
    # On a GPU the numbers of a step are read while the next one runs; elsewhere at once.
    readback = Readback(lag=1 if accelerator.device.type == "cuda" else 0)
    boundary = StepBoundary(accelerator)
    return Session(
        job, accelerator, network, optimizer, progress, tracker, wish, boundary, readback, balance, ema, progress.step
    )
