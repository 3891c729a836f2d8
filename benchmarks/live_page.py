"""What `track.page` costs the training process, in CPU seconds: slices, their files, the start of the page's process.

    .venv/bin/python benchmarks/live_page.py [--store runs/quickstart-data/store] [--steps 20 --every 5]

A short quickstart trains with the page. CPU seconds of this process, all threads, are counted in what the page alone
asks of it at each validation, and in all the rest; the page's own process, which Linux gives what others leave
(SCHED_IDLE), is not counted. The share is that of the quickstart, which validates every 200 steps.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from harness import print_table, save

ROOT = Path(__file__).parents[1]
EVERY = 200  # steps between the quickstart's validations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="runs/quickstart-data/store")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--every", type=int, default=5)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    import train
    from mets3d.training import loop, validation
    from mets3d.training.track import tracker
    from mets3d.training.track.page_link import PageLink

    spent: dict[str, list[float]] = {"page": [], "step": [], "validation": []}

    def timed(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **named: Any) -> Any:
            before = time.process_time()
            try:
                return function(*words, **named)
            finally:
                spent[kind].append(time.process_time() - before)

        return call

    with (
        tempfile.TemporaryDirectory(prefix="live-page-") as folder,
        mock.patch.multiple(tracker, write_validation=timed("page", tracker.write_validation)),
        mock.patch.multiple(validation, views_of=timed("page", validation.views_of)),
        mock.patch.object(PageLink, "renew", timed("page", PageLink.renew)),
        mock.patch.object(loop, "train_step", timed("step", loop.train_step)),
        mock.patch.object(loop, "_validate", timed("validation", loop._validate)),
    ):
        words = ["--config", str(ROOT / "configs/quickstart.yaml"), f"--data.store={options.store}"]
        words += [f"--output={folder}", f"--train.steps={options.steps}", f"--validate.every={options.every}"]
        words += ["--optim.warmup_steps=2", "--track.page=true", "--track.wandb=disabled"]
        with mock.patch.object(sys, "argv", ["train.py", *words]):
            if train.main():
                raise SystemExit("the training failed")
    validations = len(spent["validation"])
    page = sum(spent["page"]) / validations
    step, validating = statistics.median(spent["step"]), statistics.median(spent["validation"])
    share = page / (EVERY * step + validating)
    result = {"page_cpu_s": page, "step_cpu_s": step, "validation_cpu_s": validating, "share": share}
    rows = [["page, a validation", f"{page:.3f}"], ["a validation", f"{validating:.2f}"], ["a step", f"{step:.2f}"]]
    print_table(f"share of the training's CPU seconds {100 * share:.3f} %", ["", "CPU s"], rows)
    save("live_page", f"{options.steps} steps, {validations} validations", result, torch.device("cpu"))


if __name__ == "__main__":
    main()
