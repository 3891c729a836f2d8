"""Training runs small enough for a test: in this process, or launched as a user would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from accelerate.state import AcceleratorState, GradientState, PartialState

ROOT = Path(__file__).parents[2]
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch"]

TINY: dict[str, Any] = {
    "data": {"patch": [16, 16, 16], "workers": 0, "folds": 3},
    "preprocess": {"spacing_mm": [4.0, 4.0, 4.0]},
    "model": {
        "mode": "cnn",
        "strides": [[2, 2, 2], [2, 2, 2]],
        "features": 4,
        "max_features": 16,
        "queries": 4,
        "width": 96,
        "decoder_layers": 1,
        "decoder_mlp": 96,
        "vit_depth": 1,
        "vit_width": 24,
        "vit_mlp": 24,
        "vit_heads": 2,
    },
    "optim": {"lr": 0.01, "warmup_steps": 2},
    "train": {"steps": 4, "batch_size": 2, "checkpoint_every": 2},
    "validate": {"every": 4, "cases": 1},
    "track": {"wandb": "disabled", "console_every": 1},
}


def write_config(folder: Path, store: Path, **sections: Any) -> Path:
    """The tiny configuration with some settings replaced, as a file."""
    tree = {key: dict(value) for key, value in TINY.items()}
    tree["data"]["store"] = str(store)
    tree["output"] = str(folder / "runs")
    for name, value in sections.items():
        tree[name] = {**tree.get(name, {}), **value} if isinstance(value, dict) else value
    file = folder / "config.yaml"
    file.write_text(yaml.dump(tree))
    return file


def forget_accelerator() -> None:
    """Accelerate keeps one state a process; a test that trains twice needs a new one."""
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()


def train(config: Path, *overrides: str) -> int:
    """train.py in this process; the exit code."""
    import train as script

    forget_accelerator()
    with mock.patch.object(sys, "argv", ["train.py", "--config", str(config), *overrides]):
        try:
            return script.main()
        except SystemExit as leaving:
            return int(leaving.code or 0)
        finally:
            forget_accelerator()


def launch(*arguments: str, processes: int = 1, **environment: str) -> subprocess.CompletedProcess[str]:
    """`accelerate launch train.py ...` on the CPU, with real gloo processes if more than one."""
    flags = ["--multi_gpu"] if processes > 1 else ["--cpu"]
    return subprocess.run(
        [*LAUNCH, *flags, "--num_processes", str(processes), "--main_process_port", "0", *arguments],
        cwd=ROOT,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "WANDB_MODE": "disabled", **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="session")
def trained_run(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run in decoder mode with the Hausdorff term."""
    folder = tmp_path_factory.mktemp("trained")
    names = [f"BraTS-MET-{number}-000" for number in range(90001, 90007)]
    folds = [[names[place] for place in places] for places in ((1, 4), (2, 3), (0, 5))]
    split = folder / "splits.json"
    split.write_text(json.dumps([{"train": sorted({*names} - {*fold}), "val": fold} for fold in folds]))
    config = write_config(
        folder,
        phantom_store,
        name="tiny",
        data={"split": str(split)},  # after four steps it predicts something, which not every training set does
        model={"mode": "decoder"},
        predict={"overlap": 0.25},  # half the windows of the default
        loss={
            "boundary": "hausdorff_distance",
            "boundary_schedule": "ramp",
            "boundary_weight": 2.0,
            "boundary_ramp": [0.0, 0.5],
        },
    )
    assert train(config) == 0
    return folder / "runs" / "tiny"
