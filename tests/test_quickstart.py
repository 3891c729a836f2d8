"""The quickstart's loss curve: the same as recorded, and bit-equal between two runs."""

from __future__ import annotations

import csv
import json
import re
import shlex
import signal
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch

from mets3d.__main__ import main
from mets3d.files import read_json
from mets3d.rundir import RunDir
from tests.builders.runs import ROOT, train

GOLDEN = ROOT / "tests" / "golden" / "quickstart.json"


def makefile_words(verb: str) -> list[str]:
    """The arguments of a verb in the Makefile's `train` target."""
    recipe = (ROOT / "Makefile").read_text()
    line = re.search(rf"^\t\$\(BIN\)/mets3d ({verb} .*)$", recipe, re.M)
    assert line, f"`make train` no longer calls {verb}"
    return shlex.split(line[1])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quickstart")
    for verb in ("synth", "preprocess"):
        words = [word.replace("$(DATA)", str(folder)) for word in makefile_words(verb)]
        assert main([word.replace("configs/", f"{ROOT}/configs/") for word in words]) == 0
    return folder / "store"


def first_losses(store: Path, folder: Path, steps: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Losses of the first steps of the quickstart, stopped there as by a signal."""
    from mets3d.training import loop

    original = loop.train_step

    def stop_after(session: Any, step: int, *arguments: Any) -> Any:
        if step == steps - 1:
            session.wish.signal = signal.SIGTERM
        return original(session, step, *arguments)

    monkeypatch.setattr(loop, "train_step", stop_after)
    overrides = [f"--data.store={store}", f"--output={folder}", "--track.wandb=disabled", "--name=golden"]
    assert train(ROOT / "configs" / "quickstart.yaml", *overrides) == 128 + signal.SIGTERM
    rows = RunDir(folder / "golden").read_metrics()
    return [row["loss"] for row in rows if row["kind"] == "train"]


@pytest.mark.slow
def test_loss_curve_is_the_recorded_one_and_repeats_bit_for_bit(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert torch.get_num_threads() == 1, "another number of threads sums in another order"
    losses = first_losses(store, tmp_path / "one", 20, monkeypatch)
    monkeypatch.undo()
    assert first_losses(store, tmp_path / "two", 4, monkeypatch) == losses[:4]
    recorded = json.loads(GOLDEN.read_text())["losses"]
    assert len(losses) == 20
    assert losses[0] == pytest.approx(recorded[0], rel=1e-4)
    assert losses == pytest.approx(recorded, rel=0.02)


@pytest.mark.skipif(not (ROOT / "runs/quickstart/scores.csv").exists(), reason="`make train` has not run here")
def test_result_of_make_train_beats_the_best_threshold() -> None:
    run = RunDir(ROOT / "runs" / "quickstart")
    held_out = read_json(run.split)["validation"]
    rows = list(csv.DictReader(Path(run.scores).read_text(encoding="utf-8").splitlines()))
    scores = [float(row["dice"]) for row in rows if row["region"] == "WT"]
    assert sorted({row["case"] for row in rows}) == held_out
    baseline = read_json(run.baseline)
    assert sorted(baseline["per_case"]) == held_out
    mean = statistics.fmean(scores)
    assert mean >= 0.7
    assert mean >= baseline["validation_dice"] + 0.1
    assert (run.path / "report" / "index.html").exists()
