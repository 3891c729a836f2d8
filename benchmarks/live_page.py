"""What `track.page` costs the training: CPU seconds of its process, and with --pairs the wall time of steps and runs.

    .venv/bin/python benchmarks/live_page.py [--store runs/quickstart-data/store] [--steps 20 --every 5]
    .venv/bin/python benchmarks/live_page.py --pairs 3 --steps 30 --every 10 [--section.key=value ...]

A short quickstart trains with the page. CPU seconds of this process, all threads, are counted in what the page alone
asks of it at each validation, and in all the rest; the page's own process, which Linux gives what others leave
(SCHED_IDLE), is not counted. The share is that of the quickstart, which validates every 200 steps.

With --pairs it trains so many times with the page and without, in turn, so that both see the same machine: median wall
time of a step in each, of the whole training, and of the wait for the last page behind it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from harness import print_table, save

ROOT = Path(__file__).parents[1]
EVERY = 200  # steps between the quickstart's validations
Clock = Callable[[], float]
Spent = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="runs/quickstart-data/store")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=0, help="measure wall time, so often with and without the page")
    options, overrides = parser.parse_known_args()
    sys.path.insert(0, str(ROOT))
    words = ["--config", str(ROOT / "configs/quickstart.yaml"), f"--data.store={options.store}"]
    words += [f"--train.steps={options.steps}", f"--validate.every={options.every}", "--optim.warmup_steps=2"]
    words += ["--track.wandb=disabled", *overrides]
    if options.pairs:
        _in_pairs(words, options.pairs, f"wall, {options.steps} steps, validation every {options.every}")
    else:
        _cpu_seconds(words, f"{options.steps} steps")


# ---------------------------------------------------------------- CPU seconds


def _cpu_seconds(words: Sequence[str], name: str) -> None:
    spent = _train([*words, "--track.page=true"], time.process_time)
    validations = len(spent["validation"])
    page = sum(spent["page"]) / validations
    step, validating = statistics.median(spent["step"]), statistics.median(spent["validation"])
    share = page / (EVERY * step + validating)
    result = {"page_cpu_s": page, "step_cpu_s": step, "validation_cpu_s": validating, "share": share}
    rows = [["page, a validation", f"{page:.3f}"], ["a validation", f"{validating:.2f}"], ["a step", f"{step:.2f}"]]
    print_table(f"share of the training's CPU seconds {100 * share:.3f} %", ["", "CPU s"], rows)
    save("live_page", f"{name}, {validations} validations", result, torch.device("cpu"))


# ---------------------------------------------------------------- wall time, in pairs


def _in_pairs(words: Sequence[str], pairs: int, name: str) -> None:
    """Trains without and with the page in turn; which of both is first changes from pair to pair."""
    runs: dict[bool, list[Spent]] = {False: [], True: []}
    for pair in range(pairs):
        for page in (pair % 2 == 1, pair % 2 == 0):
            runs[page].append(_train([*words, f"--track.page={str(page).lower()}"], time.perf_counter))
    steps = {page: [statistics.median(spent["step"]) for spent in found] for page, found in runs.items()}
    loops = {page: [spent["loop"][0] for spent in found] for page, found in runs.items()}
    waits = [spent["wait"][0] for spent in runs[True]]
    ratios = {
        kind: [with_page / without for without, with_page in zip(values[False], values[True], strict=True)]
        for kind, values in (("step", steps), ("loop", loops))
    }
    rows = [
        [kind, *(_spread(values[page]) for page in (False, True)), _spread(ratios[kind])]
        for kind, values in (("step", steps), ("loop", loops))
    ]
    print_table(
        f"wall seconds over {pairs} pairs, median (least - largest); the wait for the last page {_spread(waits)}",
        ["", "without", "with the page", "ratio of a pair"],
        rows,
    )
    result = {"step_s": _named(steps), "loop_s": _named(loops), "wait_s": waits, "ratio": ratios}
    save("live_page", name, result, torch.device("cpu"))


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} - {max(values):.3f})"


def _named(values: dict[bool, list[float]]) -> dict[str, list[float]]:
    return {"without": values[False], "with": values[True]}


# ---------------------------------------------------------------- a training that is timed


def _train(words: Sequence[str], clock: Clock) -> Spent:
    """Trains once, and returns by kind what the clock says of each call."""
    import train
    from mets3d.training import loop, validation
    from mets3d.training.track import tracker
    from mets3d.training.track.page_link import PageLink

    spent: Spent = {"page": [], "step": [], "validation": [], "loop": [], "wait": []}

    def timed(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **named: Any) -> Any:
            before = clock()
            try:
                return function(*words, **named)
            finally:
                spent[kind].append(clock() - before)

        return call

    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()  # one a process, and this one trains several times
    parts = [
        (tracker, "write_validation", "page"),
        (validation, "views_of", "page"),
        (PageLink, "renew", "page"),
        (PageLink, "close", "wait"),
        (loop, "train_step", "step"),
        (loop, "_validate", "validation"),
        (loop, "_make_steps", "loop"),
    ]
    with tempfile.TemporaryDirectory(prefix="live-page-") as folder, ExitStack() as patches:
        for owner, name, kind in parts:
            patches.enter_context(mock.patch.object(owner, name, timed(kind, getattr(owner, name))))
        patches.enter_context(mock.patch.object(sys, "argv", ["train.py", *words, f"--output={folder}"]))
        if train.main():
            raise SystemExit("the training failed")
    return spent


if __name__ == "__main__":
    main()
