"""What is sent to W&B, TensorBoard and trackio, and how far each of them is."""

from __future__ import annotations

import json
import math
import queue
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mets3d.config import load
from mets3d.rundir import RunDir
from mets3d.training.shown import Details, View
from mets3d.training.track.labels import labels_of
from mets3d.training.track.sender.following import Mark, send_all
from mets3d.training.track.sender.rows import Best, Skips, numbers
from mets3d.training.track.sender.tensorboard_run import EventFiles
from mets3d.training.track.sender.trackio_run import TrackioRun
from mets3d.training.track.validation_files import write_validation
from mets3d.training.track.wandb_orders import what_to_read
from tests.builders.runs import train, write_config

MASK = np.array([[0, 3], [2, 0]], np.uint8)
DETAILS = Details(
    {0: View("a lesion", MASK * 50, MASK, MASK.T)}, [{"case": "a", "dice": None}], [{"case": "a", "volume_mm3": 8.0}]
)


def test_the_best_of_scores_is_the_largest_and_of_losses_the_smallest() -> None:
    best = Best()
    rows: list[dict[str, Any]] = [
        {"kind": "validation", "step": 1, "dice/mean": 0.4, "all/lesion_f1/ET": 0.1, "seconds": 3.0, "cases": 4},
        {"kind": "train", "step": 2, "loss": 0.9, "loss/dice": None, "lr": 0.1},
        {"kind": "validation", "step": 3, "dice/mean": 0.3, "all/lesion_f1/ET": 0.2, "seconds": 9.0},
        {"kind": "train", "step": 4, "loss": 1.0, "loss/dice": 0.2, "lr": 0.2},
    ]
    news = [best.note(numbers(row)) for row in rows]
    assert best.values == {
        "validation/dice/mean": 0.4, "validation/all/lesion_f1/ET": 0.2, "train/loss": 0.9, "train/loss/dice": 0.2
    }  # fmt: skip
    assert news[2] == {"validation/all/lesion_f1/ET": 0.2}
    assert math.isnan(numbers(rows[1])["train/loss/dice"])


def test_each_skipped_step_is_one_alert() -> None:
    skips = Skips()
    counts = [(1, 0.5, 0), (2, None, 1), (3, 0.5, 1), (4, 0.5, 2)]
    said = [skips.note({"kind": "train", "step": step, "loss": loss, "skipped": n}) for step, loss, n in counts]
    assert said[0] is said[2] is None
    assert said[1] == "Step 2 changed no weight: its loss was not finite. Skipped so far: 1."
    assert said[3] is not None
    assert "a gradient was not finite" in said[3]


def test_a_run_is_filed_by_study_variant_fold_and_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    words = ["--loss.boundary=hausdorff_distance", "--data.fold=2", "--seed=7", "--track.tags=[mine]"]
    found = labels_of(load(words))
    assert found.tags == ("decoder", "hausdorff_distance", "fold-2", "seed-7", "mine")
    assert found.job_type == found.group == "decoder-hausdorff_distance"
    monkeypatch.setenv("WANDB_SWEEP_ID", "ab12")
    assert labels_of(load(words)).group == "sweep-ab12"
    assert labels_of(load([*words, "--track.group=study"])).group == "study"
    assert labels_of(load([])).job_type == "decoder-base"


# ---------------------------------------------------------------- TensorBoard and trackio


class Recorder:
    """Stands for a logger's own library: keeps what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *words, **named: self.calls.append((name, words, named)) or (name, *words)

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [words for called, words, _ in self.calls if called == name]


def follow(run: RunDir, logger: Any, *, id_: str = "a", reason: str | None = None) -> None:
    inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    inbox.put({"exit_code": 0, "reason": reason})
    send_all(logger, Mark(run.trackio, id_), {"poll": 0.01, **what_to_read(run)}, inbox)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Two steps, the second skipped, and a validation."""
    run = RunDir(tmp_path / "run")
    write_validation(run, 2, DETAILS)
    rows = [
        {"step": 1, "kind": "train", "loss": 0.5, "skipped": 0},
        {"step": 2, "kind": "train", "loss": None, "skipped": 1},
        {"step": 2, "kind": "validation", "dice/mean": 0.25},
    ]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


def test_tensorboard_gets_scalars_pictures_and_tables(run: RunDir) -> None:
    writer = Recorder()
    follow(run, EventFiles(writer))
    scalars = writer.of("add_scalar")
    assert ("train/loss", 0.5, 1) in scalars
    assert ("validation/dice/mean", 0.25, 2) in scalars
    [(name, picture, step)] = writer.of("add_image")
    assert (name, step, picture.shape) == ("validation/slice_0", 2, (2, 4, 3))
    assert (picture[0, 0] == 0).all(), "no label, no tint"
    assert picture[0, 3, 2] > picture[0, 3, 0], "ET is blue, at the right where it was predicted"
    texts = {name: text for name, text, _ in writer.of("add_text")}
    assert texts["tables/cases"] == "| case | dice |\n| --- | --- |\n| a |  |"
    assert "Step 2 changed no weight" in texts["alerts"]
    assert writer.calls[-1][0] == "close"


def test_trackio_gets_the_same(run: RunDir) -> None:
    trackio = Recorder()
    follow(run, TrackioRun(trackio), reason="broken")
    logged = [words[0] for words in trackio.of("log")]
    assert logged[0] == {"train/loss": 0.5, "train/skipped": 0}
    assert set(logged[3]) == {"validation/slice_0", "tables/cases", "tables/lesions"}
    assert [named["step"] for name, _, named in trackio.calls if name == "log"] == [1, 2, 2, 2]
    assert [named["data"] for name, _, named in trackio.calls if name == "Table"][1] == [
        {"case": "a", "volume_mm3": 8.0}
    ]
    assert [named["text"] for name, _, named in trackio.calls if name == "alert"][1] == "broken"


def test_a_resumed_run_goes_on_behind_what_a_logger_has_and_a_copy_begins_anew(run: RunDir) -> None:
    follow(run, EventFiles(Recorder()))
    with run.metrics.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"step": 3, "kind": "train", "loss": 0.25}) + "\n")
    resumed, copy = Recorder(), Recorder()
    follow(run, EventFiles(resumed))
    assert resumed.of("add_scalar") == [("train/loss", 0.25, 3)]
    follow(run, EventFiles(copy), id_="b")
    assert len(copy.of("add_scalar")) == 6


@pytest.mark.parametrize("names", [["tensorboard"], ["trackio"], ["tensorboard", "trackio"]])
def test_a_logger_that_is_not_there_is_one_line_before_training(
    names: list[str], tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)
        (tmp_path / name).mkdir()  # a folder is no package
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    config = write_config(tmp_path, phantom_store, track={"also": names})
    assert train(config) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("train.py: track.also names ")
    assert f"pip install 'mets3d[{','.join(names)}]'" in line
    assert not (tmp_path / "runs").exists()


STAND_IN = """
import json, os, pathlib
calls = pathlib.Path(os.environ["CALLS"]).open("a", buffering=1)
def note(name):
    def call(*words, **named):
        if os.environ.get("BROKEN") == name: raise RuntimeError("out of order")
        calls.write(json.dumps([name, *words, sorted(named)], default=str) + "\\n")
    return call
init, log, finish, alert, Image, Table = map(note, ["init", "log", "finish", "alert", "Image", "Table"])
"""


@pytest.mark.parametrize("broken", [None, "log"])
def test_a_training_with_trackio_in_a_process_of_its_own(
    broken: str | None, tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "trackio.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path / "lib")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("BROKEN", broken or "")
    config = write_config(tmp_path, phantom_store, train={"steps": 2}, track={"also": ["trackio"]})
    assert train(config) == 0
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    said = [line for line in capsys.readouterr().out.splitlines() if "trackio" in line]
    if broken:
        assert said == ["trackio: RuntimeError: out of order. It is off for this run; metrics.jsonl has all numbers"]
        return
    assert said == []
    assert [call[0] for call in calls if call[0] in ("init", "finish")] == ["init", "finish"]
    logged = [call[1] for call in calls if call[0] == "log"]
    assert "train/data_wait" in logged[0]
    assert any("validation/slice_0" in one for one in logged), "the slices of the last validation"


def test_tensorboard_itself_reads_what_is_written(run: RunDir) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    follow(run, EventFiles(SummaryWriter(str(run.tensorboard))))
    events = EventAccumulator(str(run.tensorboard))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("validation/dice/mean")] == [(2, 0.25)]
    assert events.Tags()["images"] == ["validation/slice_0"]
    assert Image.open(run.validation(2).picture("image", 0)).size == (2, 2)
