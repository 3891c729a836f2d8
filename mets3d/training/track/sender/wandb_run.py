"""Sends what a training writes to W&B: the program that `wandb_link.py` starts beside it.

It gets JSON lines on its standard input: first what to send and how, at last how the training ended. It answers with
JSON lines on its standard output:

    {"event": "ready", "folder": ...}        W&B has started; its files lie in this folder
    {"event": "failed", "reason": ...}       it has not, or has broken; the program ends
    {"event": "silent", "reason": ...}       the server has stopped answering
    {"event": "answers"}                     it answers again, to a log that is offline for its silence
    {"event": "lost", "what": ..., ...}      something beside the numbers could not be sent, for a `reason`
    {"event": "stop"}                        somebody asks on the server that the run stops
    {"event": "finished", "complete": ...}   the end; whether all was sent

Beside a reason stands `may_return`: whether the trouble may pass.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mets3d.training.track.sender.pipes import Event, Inbox, TroubleError, answer, as_program, ending, one_line
from mets3d.training.track.sender.rows import Best, Row, Shown, Skips, best_is, follow, numbers, shown
from mets3d.training.track.sender.wandb_watch import trouble_of, watch_server

STEP = "step"  # the x axis: the optimizer step, counted from 1


def send(start: Mapping[str, Any], inbox: Inbox, say: Event) -> bool:
    """Starts W&B, follows metrics.jsonl until the training ends, and returns whether all was sent."""
    as_program(start)
    import wandb

    settings = wandb.Settings(
        **start["settings"],
        stop_fn=lambda: say(event="stop"),
        silent=True,
        console="off",
        program=start["argv"][0],
        x_stats_pid=os.getppid(),
        finish_timeout_raises=True,
    )
    run = _begin(wandb, start, settings)
    run.config.update(start["config"], allow_val_change=True)
    say(event="ready", folder=run.settings.sync_dir)
    watch_server(run.settings, start["init"]["mode"], start["watch"], say)
    log = Log(wandb, run, start["validations"], say)
    lines = follow(Path(start["metrics"]))
    while True:
        end = ending(inbox, start["poll"])
        for row in next(lines):
            log.row(row)
        if end is not None:
            break
    log.weights(end["weights"], start["weights_name"])
    if end["reason"]:
        log.alert("The training failed", end["reason"], "ERROR")
    if end["preempted"]:
        run.mark_preempting()
    try:
        run.finish(exit_code=end["exit_code"])
    except TimeoutError:
        return False
    return True


def _begin(wandb: Any, start: Mapping[str, Any], settings: Any) -> Any:
    """Starts a W&B run. Raises TroubleError where the server is why it cannot."""
    try:
        return wandb.init(**start["init"], settings=settings)
    except Exception as error:
        if start["init"]["mode"] == "offline":
            raise
        # Of most troubles the client says no more than that its deadline has passed.
        trouble = trouble_of(wandb.setup().settings, start["watch"]["timeout"] / 2)
        raise trouble or TroubleError(one_line(error), may_return=False) from None


class Log:
    """A W&B run that gets a training's lines.

    A resumed run goes on behind the last step that the server has; one that starts is sent from the first line. The
    summary has the best value of a score or loss as a plain number under the name itself, which is what a sweep ranks
    by, and of anything else the last value. (`define_metric` alone would put it a level deeper, under `max`.)
    """

    def __init__(self, wandb: Any, run: Any, validations: Mapping[str, str], say: Event):
        self.wandb, self.run, self.validations, self.say = wandb, run, validations, say
        self.first: int = run.starting_step
        self.best, self.skips = Best(), Skips()
        self.defined: set[str] = set()
        run.define_metric(STEP, hidden=True, summary="none")

    def row(self, row: Row) -> None:
        """Sends a line, with what its validation wrote; counts one that the server has for the best values alone."""
        values = numbers(row)
        better, skipped = self.best.note(values), self.skips.note(row)
        self._define(values)
        if row["step"] >= self.first:
            self.run.log({STEP: row["step"], **values}, step=row["step"])
            what = shown(self.validations, row)
            if what is not None:
                with self._kept("pictures and tables of a validation"):
                    self.run.log(media(self.wandb, what), step=row["step"])
            if skipped:
                self.alert("A step was skipped", skipped, "WARN")
        if better:
            self.run.summary.update(better)

    def alert(self, title: str, text: str, level: str) -> None:
        """Sends an alert, of which the server makes a mail or a message as its user likes."""
        with self._kept("an alert"):
            self.run.alert(title=title, text=text, level=level)

    def weights(self, files: Mapping[str, str], name: str) -> None:
        """Sends weights as versions of one artefact, by alias (best, last); one version where both are one file.

        name: of the file in the artefact.
        """
        by_file: dict[str, list[str]] = {}
        for alias, file in files.items():
            by_file.setdefault(file, []).append(alias)
        for file, aliases in by_file.items():
            with self._kept("weights"):
                artefact = self.wandb.Artifact(f"weights-{self.run.id}", type="model")
                artefact.add_file(file, name=name)
                self.run.log_artifact(artefact, aliases=aliases)

    def _define(self, names: Mapping[str, float]) -> None:
        for name in names.keys() - self.defined:
            self.run.define_metric(name, step_metric=STEP, summary="none" if best_is(name) else None)
            self.defined.add(name)

    @contextmanager
    def _kept(self, what: str) -> Iterator[None]:
        """Says that something beside the numbers could not be sent; the numbers go on."""
        try:
            yield
        except Exception as error:
            self.say(event="lost", what=what, reason=one_line(error))


def media(wandb: Any, what: Shown) -> dict[str, Any]:
    """Makes W&B's pictures with masks and its tables of what a validation wrote."""
    import numpy as np
    from PIL import Image

    found: dict[str, Any] = {}
    pictures = []
    for caption, image, *masks in what.slices:
        drawn = {
            name: {"mask_data": np.asarray(Image.open(file)), "class_labels": what.class_names}
            for name, file in zip(("prediction", "reference"), masks, strict=True)
        }
        pictures.append(wandb.Image(Image.open(image), masks=drawn, caption=caption))
    if pictures:
        found["validation/slices"] = pictures
    for name, (columns, rows) in what.tables.items():
        found[f"tables/{name}"] = wandb.Table(columns=columns, data=rows)
    return found


if __name__ == "__main__":
    answer(send)
