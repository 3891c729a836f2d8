"""Training on a CUDA device: mixed precision, and a step that does not wait for the device."""

import math
import os
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mets3d.files import read_json
from mets3d.rundir import RunDir
from tests.builders.runs import LAUNCH, ROOT, train, write_config

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCELERATE_USE_CPU")


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
@pytest.mark.parametrize("mode", ["cnn", "encoder", "decoder", "both"])
def test_every_mode_trains_in_every_precision(tmp_path: Path, phantom_store: Path, mode: str, precision: str) -> None:
    config = write_config(
        tmp_path,
        phantom_store,
        precision=precision,
        model={"mode": mode},
        loss={"boundary": "hausdorff_distance", "boundary_ramp": [0.0, 0.1]},
    )
    assert train(config) == 0
    run = RunDir(tmp_path / "runs" / "run")
    assert torch.cuda.get_device_name() == read_json(run.environment)["device"]
    losses = [row["loss"] for row in run.read_metrics() if row["kind"] == "train"]
    assert len(losses) == 4
    assert all(loss is not None and math.isfinite(loss) for loss in losses)


@pytest.mark.parametrize(
    "loss",
    [
        {},
        {"boundary": "hausdorff_distance"},
        {"boundary": "hausdorff_log", "boundary_cap_mm": 9.0, "boundary_sides": "directed"},
        {"boundary": "hausdorff_distance", "boundary_class_balanced": True, "boundary_absent": "skip"},
        {"boundary": "hausdorff_erosion"},
        {"boundary": "hausdorff_conditioned"},
        {"boundary": "generalized_surface"},
        {"boundary": "region_wise"},
        {"boundary": "hausdorff_convolution"},
        {"boundary": "signed_distance"},
    ],
)
def test_a_step_without_queries_never_waits_for_the_device(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch, loss: dict[str, Any]
) -> None:
    from mets3d.training import loop

    original = loop.train_step

    def watched(*arguments: object) -> object:
        torch.cuda.set_sync_debug_mode("error")
        try:
            return original(*arguments)  # type: ignore[arg-type]
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(loop, "train_step", watched)
    loss = loss | {"boundary_ramp": [0.0, 0.1]}
    assert train(write_config(tmp_path, phantom_store, precision="bf16", loss=loss)) == 0


@pytest.mark.parametrize(
    "loss", [{}, {"query_points": 64}, {"boundary": "hausdorff_distance"}, {"batch_dice": True}, {"boundary": "blob"}]
)
@pytest.mark.parametrize("mode", ["decoder", "both"])
def test_a_step_with_queries_waits_once_a_micro_batch(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch, mode: str, loss: dict[str, Any]
) -> None:
    from mets3d.training import loop

    original, synchronize = loop.train_step, torch.cuda.Event.synchronize
    waits: list[list[str]] = []
    inside: list[bool] = []

    def watched(*arguments: object) -> object:
        waits.append([])
        inside.append(True)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                return original(*arguments)  # type: ignore[arg-type]
        finally:
            torch.cuda.set_sync_debug_mode("default")
            inside.clear()
            where = [f"{one.filename}:{one.lineno}" for one in caught if "synchronizing CUDA" in str(one.message)]
            waits[-1] += where

    def counted(event: torch.cuda.Event) -> None:
        if inside:  # the numbers of a step are read after it, by an event too
            waits[-1].append("an event")
            torch.cuda.set_sync_debug_mode("default")  # counted already
        synchronize(event)
        if inside:
            torch.cuda.set_sync_debug_mode("warn")

    monkeypatch.setattr(loop, "train_step", watched)
    monkeypatch.setattr(torch.cuda.Event, "synchronize", counted)
    config = write_config(
        tmp_path,
        phantom_store,
        precision="bf16",
        model={"mode": mode, "deep_heads": 1},
        loss=loss | {"boundary_ramp": [0.0, 0.1]},
        train={"steps": 4, "batch_size": 4, "accumulation": 2, "checkpoint_every": 9},
    )
    assert train(config) == 0
    assert [len(step) for step in waits[1:]] == [2] * 3, waits  # the first step compiles kernels


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize(
    ("model", "loss"),
    [
        ({"mode": "cnn"}, {"boundary": "blob", "batch_dice": True}),
        ({"mode": "both", "vit_dropout": 0.2}, {"boundary": "hausdorff_distance", "query_points": 64}),
        ({"mode": "decoder", "memory_fpn": 2}, {"boundary": "hausdorff_convolution"}),
        ({"mode": "decoder"}, {"boundary": "hausdorff_erosion"}),
        ({"mode": "encoder", "dropout": 0.1}, {"boundary": "signed_distance"}),
    ],
)
def test_two_deterministic_runs_are_equal_bit_for_bit(
    tmp_path: Path, phantom_store: Path, model: dict[str, Any], loss: dict[str, Any], precision: str
) -> None:
    config = write_config(
        tmp_path,
        phantom_store,
        precision=precision,
        model=model,
        loss=loss | {"boundary_ramp": [0.0, 0.1]},
        train={"steps": 6, "batch_size": 4, "checkpoint_every": 6, "deterministic": True},
    )
    runs = []
    for name in ("one", "two"):
        assert train(config, f"--name={name}") == 0
        run = RunDir(tmp_path / "runs" / name)
        runs.append(
            (load_file(run.checkpoint(6) / "model.safetensors"), [row.get("loss") for row in run.read_metrics()])
        )
    assert runs[0][1] == runs[1][1]
    assert all(torch.equal(tensor, runs[1][0][name]) for name, tensor in runs[0][0].items())


def test_memory_that_runs_out_leaves_a_checkpoint_and_the_search_finds_what_fits(
    tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(
        tmp_path,
        phantom_store,
        data={"patch": [32, 32, 32]},
        model={"mode": "decoder", "features": 64, "max_features": 128},
        train={"batch_size": 8, "checkpoint_every": 100},
        validate={"every": 100},
    )
    assert train(config, "--find-accumulation") == 0
    *tries, override = capsys.readouterr().out.splitlines()
    assert override == "--train.accumulation=1"
    needs = [float(line.split("fits, ")[1].split(" GB")[0]) for line in tries]
    assert needs == sorted(needs)
    # What the process may take lies between the need of half the batch and that of all of it.
    total = torch.cuda.get_device_properties(0).total_memory / 1e9
    torch.cuda.empty_cache()
    try:
        torch.cuda.set_per_process_memory_fraction((needs[-2] + needs[-1]) / 2 / total)
        assert train(config, "--find-accumulation") == 0
        assert capsys.readouterr().out.splitlines()[-1] == "--train.accumulation=2"
        assert train(config) == 1
        assert capsys.readouterr().err.startswith("train.py: the device's memory ran out (CUDA out of memory")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_a_sharded_network_trains_in_bf16_and_resumes(tmp_path: Path, phantom_store: Path) -> None:
    words = ["--config_file", str(ROOT / "accelerate_configs" / "fsdp2.yaml"), "--num_processes", "1"]
    config = write_config(tmp_path, phantom_store, model={"mode": "both"})
    for steps in ("2", "4"):
        done = subprocess.run(
            [
                *LAUNCH,
                *words,
                "train.py",
                "--config",
                str(config),
                f"--train.steps={steps}",
                "--train.schedule_steps=4",
            ],
            cwd=ROOT,
            env={**os.environ, "WANDB_MODE": "disabled"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    run = RunDir(tmp_path / "runs" / "run")
    assert read_json(run.environment)["precision"] == "bf16"
    assert [row["step"] for row in run.read_metrics() if row["kind"] == "train"] == [1, 2, 3, 4]
