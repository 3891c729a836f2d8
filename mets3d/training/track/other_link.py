"""Starts the process that sends a run's numbers to TensorBoard or trackio, and says where it fails."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from typing import Any

from mets3d.config import Config, as_dict, flatten
from mets3d.rundir import RunDir
from mets3d.training.track.installed import PACKAGES
from mets3d.training.track.labels import labels_of
from mets3d.training.track.run_id import run_id
from mets3d.training.track.sender_process import spawn, write
from mets3d.training.track.wandb_orders import what_to_read

POLL_S = 1.0  # between two looks at metrics.jsonl
FINISH_S = 30.0  # for the rest, at the end of a run


class OtherLink:
    """The way of a run's numbers to a logger of `track.also`. Where it fails, one line says so, and nothing else."""

    def __init__(self, name: str, config: Config, run: RunDir, *, say: Callable[[str], None]):
        self.name, self.say = name, say
        self._process = spawn(f"{name}_run")
        write(self._process, _order(name, config, run))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self, exit_code: int, *, reason: str | None = None) -> None:
        """Tells the logger how the training ended and waits, at most FINISH_S seconds, until it has all."""
        write(self._process, {"exit_code": exit_code, "preempted": exit_code > 128, "reason": reason, "weights": {}})
        self._thread.join(FINISH_S)
        if self._thread.is_alive():
            self._process.kill()
            self._thread.join()

    def _listen(self) -> None:
        trouble: str | None = "its process was killed"
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            match event["event"]:
                case "failed":
                    trouble = event["reason"]
                case "finished":
                    trouble = None
        with self._process:  # closes its pipes and waits for its end
            pass
        if trouble is not None:
            self.say(f"{PACKAGES[self.name]}: {trouble}. It is off for this run; metrics.jsonl has all numbers")


def _order(name: str, config: Config, run: RunDir) -> dict[str, Any]:
    labels = labels_of(config)
    return {
        "argv": sys.argv,
        "id": run_id(run),
        "project": config.track.project,
        "group": labels.group,
        "config": {**flatten(as_dict(config)), "job_type": labels.job_type, "tags": list(labels.tags)},
        "poll": POLL_S,
        "events": str(run.tensorboard),
        "mark": str(run.tensorboard / "sent.json" if name == "tensorboard" else run.trackio),
        **what_to_read(run),
    }
