"""The quickstart's loss curve: the same as recorded on any processor, and bit-equal between two runs."""

from __future__ import annotations

import csv
import json
import re
import shlex
import signal
import statistics
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from mets3d.__main__ import main
from mets3d.data.loader import Samples
from mets3d.files import read_json
from mets3d.rundir import RunDir
from tests.builders.runs import ROOT, train

GOLDEN = ROOT / "tests" / "golden" / "quickstart.json"

# The overrides of a curve, and how far it may be from the recorded one. Instruction sets round differently: between
# AVX-512, AVX2 and SSE4.1 the losses differ by at most 0.02 % over 20 steps in mode cnn, and by 0.12 % over 12 steps
# with the query decoder. Later its runs drift apart, until a query is matched to another lesion: 1.6 % at step 19.
# The curves were recorded with these held out; by which rule folds are made is another matter.
HELD_OUT = ("BraTS-MET-90002-000", "BraTS-MET-90004-000", "BraTS-MET-90008-000", "BraTS-MET-90018-000")
CURVES = {"cnn": (("--model.mode=cnn", "--data.patch=[32, 32, 24]"), 0.005), "decoder": ((), 0.02)}


def makefile_words(verb: str) -> list[str]:
    """The arguments of a verb in the Makefile's `train` target."""
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")
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


def first_losses(steps: int, *overrides: str) -> list[float]:
    """The losses of the first steps of the quickstart, with the schedule of the whole run.

    The first sample of the step after them sends the signal, and the run stops before that step.
    """

    def read(samples: Samples, key: tuple[int, int]) -> Any:
        if key == (steps, 0):
            signal.raise_signal(signal.SIGTERM)
        return load(samples, key)

    load = Samples.__getitem__
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(Samples, "__getitem__", read)
        split = Path(folder) / "held_out.txt"
        split.write_text("\n".join(HELD_OUT), encoding="utf-8")
        words = [f"--output={folder}", "--name=golden", "--track.wandb=disabled", f"--data.split={split}", *overrides]
        assert train(ROOT / "configs" / "quickstart.yaml", *words) == 128 + signal.SIGTERM
        return [row["loss"] for row in RunDir(Path(folder) / "golden").read_metrics() if row["kind"] == "train"]


@pytest.mark.slow
@pytest.mark.parametrize("name", CURVES)
def test_loss_curve_is_the_recorded_one_and_repeats_bit_for_bit(name: str, store: Path) -> None:
    assert torch.get_num_threads() == 1, "another number of threads sums in another order"
    recorded = json.loads(GOLDEN.read_text(encoding="utf-8"))[name]
    overrides, tolerance = CURVES[name]
    losses = first_losses(len(recorded), f"--data.store={store}", *overrides)
    assert first_losses(4, f"--data.store={store}", *overrides) == losses[:4]
    assert losses[0] == pytest.approx(recorded[0], rel=1e-4)
    assert losses == pytest.approx(recorded, rel=tolerance)


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
    assert len(held_out) >= 12
    assert mean >= 0.8
    assert mean >= baseline["validation_dice"] + 0.1
    assert (run.path / "report" / "index.html").exists()
