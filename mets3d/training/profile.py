"""Traces some steps of a run: a timeline for a trace viewer, and a table of where the time goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from mets3d.files import write_text, write_with
from mets3d.training.session import Session
from mets3d.wording import counted

WARM_UP = 3  # steps before those that are traced: the first ones allocate, choose algorithms and compile
ROWS = 30

# The parts of a step, in their order; `part` names a stretch of code as one of them.
PARTS = ("data", "augmentation", "forward", "loss", "backward", "optimizer")
part = record_function


@contextmanager
def profiled(session: Session) -> Iterator[Callable[[], None]]:
    """Traces `track.profile` steps after three of warm-up on the main process; call what it yields after each step.

    Writes profile/trace.json.gz, which chrome://tracing and ui.perfetto.dev show, and profile/table.txt, and prints the
    parts of a step. Tracing takes time of its own, which the speeds in the log then contain.
    """
    steps = session.job.config.track.profile
    if not steps or not session.accelerator.is_main_process:
        yield lambda: None
        return
    on_gpu = session.accelerator.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    began, seconds = 0.0, 0.0
    done = 0
    plan = schedule(wait=0, warmup=WARM_UP, active=steps, repeat=1)
    with profile(activities=activities, schedule=plan, acc_events=True) as tracer:

        def tick() -> None:
            nonlocal began, seconds, done
            if on_gpu and done in (WARM_UP - 1, WARM_UP + steps - 1):
                torch.cuda.synchronize()  # the limits of the traced stretch are those of the device
            done += 1
            if done == WARM_UP:
                began = time.perf_counter()
            if done == WARM_UP + steps:
                seconds = time.perf_counter() - began
            tracer.step()

        yield tick
    if done < WARM_UP + steps:
        session.tracker.say(f"profile: nothing traced, the run made {counted(done, 'step')} of {WARM_UP + steps}")
        return
    try:
        _write(session, tracer, seconds / steps)
    except OSError as error:  # a trace is no reason to end a training
        session.tracker.say(f"profile: {session.job.run.profile} cannot be written: {error.strerror or error}")


def _write(session: Session, tracer: profile, step_seconds: float) -> None:
    folder = session.job.run.profile
    write_with(folder / "trace.json.gz", lambda path: tracer.export_chrome_trace(str(path)))
    device = session.accelerator.device.type
    table = tracer.key_averages().table(sort_by=f"self_{device}_time_total", row_limit=ROWS)
    write_text(folder / "table.txt", table + "\n")
    session.tracker.say(f"profile: {1000 * step_seconds:.1f} ms a step; {folder} has trace.json.gz and table.txt")
    shares = {event.key: event for event in tracer.key_averages() if event.key in PARTS}
    steps = session.job.config.track.profile
    for name in PARTS:
        if name in shares:
            host = shares[name].cpu_time_total / steps / 1e6
            session.tracker.say(f"  {name:<13}{1000 * host:8.1f} ms on the host, {host / step_seconds:.0%}")
