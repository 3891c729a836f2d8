"""The long form of the study's tests: `python -m tests.study.killed`, some minutes.

Six short trainings with two jobs, once to the end, and once with the sweep killed by SIGKILL in the middle and started
again. Both must end with the same scores, weights and page.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tests.environment  # noqa: F401 - before anything that reads the environment
from mets3d.study.folder import StudyDir
from tests.builders.runs import ROOT

CONFIG = """
base: base.yaml
data: {store: STORE, patch: [16, 16, 16], workers: 0, folds: 3}
preprocess: {spacing_mm: [4.0, 4.0, 4.0]}
model: {mode: cnn, strides: [[2, 2, 2], [2, 2, 2]], features: 4, max_features: 16}
optim: {lr: 0.01, warmup_steps: 2}
train: {steps: 60, batch_size: 2, checkpoint_every: 5}
validate: {every: 30, cases: 1}
track: {wandb: disabled, console_every: 10}
"""
SWEEP = """
program: train.py
method: grid
parameters:
  loss.boundary: {values: [none, hausdorff_distance, blob]}
  seed: {values: [0, 1]}
command: ["${program}", --config, CONFIG, "--name={loss.boundary}_{seed}", "${args}"]
"""
PATIENCE_S = 1800


def main() -> int:
    """Runs both sweeps; 1 if anything differs."""
    from tests.faults.__main__ import _phantoms

    with tempfile.TemporaryDirectory(prefix="mets3d-killed-") as name:
        folder = Path(name)
        config, sweep = folder / "tiny.yaml", folder / "sweep.yaml"
        config.write_text(CONFIG.replace("STORE", str(_phantoms(folder))), encoding="utf-8")
        sweep.write_text(SWEEP.replace("CONFIG", str(config)), encoding="utf-8")
        whole, cut = StudyDir(folder / "whole"), StudyDir(folder / "cut")
        assert started(sweep, whole).wait(PATIENCE_S) == 0
        kill_in_the_middle(sweep, cut)
        assert started(sweep, cut).wait(PATIENCE_S) == 0
        return compared(whole, cut)


def started(sweep: Path, study: StudyDir) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "mets3d", "sweep", str(sweep), "--jobs", "2", "--out", str(study.path)]
    return subprocess.Popen(words, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})


def kill_in_the_middle(sweep: Path, study: StudyDir) -> None:
    """Kills the sweep when two runs are finished and another has written checkpoints."""
    process, end = started(sweep, study), time.monotonic() + PATIENCE_S
    names = [f"{loss}_{seed}" for loss in ("none", "hausdorff_distance", "blob") for seed in (0, 1)]
    while True:
        states = {name: study.state(name).state for name in names}
        running = [name for name in names if states[name] == "running"]
        begun = [name for name in running if len(study.run(name).checkpoint_steps()) > 0 and not done(study, name)]
        if list(states.values()).count("finished") >= 2 and begun:
            break
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    print(f"killed: {states}, {begun[0]} at step {study.run(begun[0]).checkpoint_steps()[-1]}", flush=True)


def done(study: StudyDir, name: str) -> bool:
    return (study.run(name).pointer("last") or 0) >= 60


def compared(whole: StudyDir, cut: StudyDir) -> int:
    """Prints what differs."""
    from tests.study.test_study import shown

    pages = [shown(study).splitlines() for study in (whole, cut)]
    wrong = ["the page" for _ in range(pages[0] != pages[1])]
    for one, other in zip(*pages, strict=False):
        if one != other:
            place = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
            print(f"{one[max(0, place - 200) : place + 50]}\n    against\n{other[max(0, place - 200) : place + 50]}")
    for run in sorted(Path(whole.runs).iterdir()):
        for file in ("scores.csv", "lesions.csv", "cohort.csv", "model.safetensors"):
            if (run / file).read_bytes() != (cut.run(run.name).path / file).read_bytes():
                wrong.append(f"{run.name}/{file}")
    print("differs: " + ", ".join(wrong) if wrong else "the same scores, weights and page")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
