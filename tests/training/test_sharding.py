"""A network spread over two gloo processes by fsdp2.yaml: the same run as on one process."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mets3d.config import load
from mets3d.files import read_json
from mets3d.models.weights import load_weights
from mets3d.rundir import CheckpointDir, RunDir
from mets3d.training.launch_kinds import check_file, check_launch
from tests.builders.runs import ROOT, train, write_config
from tests.builders.warm import launch

FSDP2 = ROOT / "accelerate_configs" / "fsdp2.yaml"


def sharded(*words: str) -> None:
    """Trains on two gloo processes as the launch file says."""
    done = launch(*words, launch_file="fsdp2")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "warn" not in done.stderr.lower(), done.stderr


def weights(run: RunDir, step: int = 4) -> dict[str, Tensor]:
    return load_file(CheckpointDir(run.checkpoint(step)).weights)


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Norm of the difference of two sets of weights, relative to the first's norm."""
    assert one.keys() == other.keys()
    flat = [torch.cat([part[name].double().flatten() for name in one]) for part in (one, other)]
    return float((flat[0] - flat[1]).norm() / flat[0].norm())


def rewound(run: RunDir, name: str) -> RunDir:
    """A copy of a finished run as it was after its checkpoint of step 2."""
    copy = RunDir(shutil.copytree(run.path, run.path.with_name(name)))
    shutil.rmtree(copy.checkpoint(4))
    copy.weights.unlink()
    return copy


@pytest.mark.slow
def test_a_sharded_run_equals_that_of_one_process_and_each_resumes_the_other(
    tmp_path: Path, phantom_store: Path
) -> None:
    config = write_config(
        tmp_path,
        phantom_store,
        model={"mode": "both"},
        # Small steps: AdamW divides by the gradient, which makes rounding of the parameters' size where it is nothing.
        optim={"lr": 1e-3, "clip_norm": 0.5, "layer_decay": 0.8, "ema": 0.5},
        loss={"boundary": "hausdorff_distance", "boundary_ramp": [0.0, 0.1]},
        train={"batch_size": 4, "accumulation": 2, "recompute": 1},
        validate={"every": 2, "cases": 2},
        predict={"threshold": 0.1},
    )
    assert train(config, "--name=one") == 0
    sharded("train.py", "--config", str(config), "--name=two")
    one, two = RunDir(tmp_path / "runs" / "one"), RunDir(tmp_path / "runs" / "two")
    assert read_json(two.environment)["processes"] == 2
    assert distance(weights(one), weights(two)) < 1e-4
    for row, other in zip(one.read_metrics(), two.read_metrics(), strict=True):
        assert (row["step"], row["kind"]) == (other["step"], other["kind"])
        for number in ("loss", "grad_norm", "dice/mean"):
            assert row.get(number, 0) == pytest.approx(other.get(number, 0), rel=1e-3, abs=1e-3)
    for file in ("weights", "averaged"):
        found = [load_file(getattr(CheckpointDir(run.checkpoint(4)), file)) for run in (one, two)]
        assert distance(*found) < 1e-4
    assert distance(weights(two), load_file(CheckpointDir(two.checkpoint(4)).averaged)) > 1e-4
    plain = train_script_network(config)
    load_weights(plain, two.weights)

    of_one = rewound(two, "of_one")
    assert train(config, "--name=of_one") == 0
    assert distance(weights(two), weights(of_one)) < 1e-4
    assert distance(load_file(two.weights), load_file(of_one.weights)) < 1e-4
    of_two = rewound(one, "of_two")
    sharded("train.py", "--config", str(config), "--name=of_two")
    assert distance(weights(one), weights(of_two)) < 1e-4
    assert distance(load_file(one.weights), load_file(of_two.weights)) < 1e-4


def train_script_network(config: Path) -> torch.nn.Module:
    from mets3d import models
    from mets3d.regions import Target

    settings = load(["--config", str(config)])
    return models.build(settings.model, in_channels=4, target=Target("regions", False), patch=settings.data.patch)


@pytest.mark.parametrize(
    ("environment", "words", "message"),
    [
        ({"ACCELERATE_USE_FSDP": "true"}, [], "FSDP version 1; expected fsdp_version: 2"),
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "true"}, [], "no effect here"),
        (
            {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "ACCELERATE_MIXED_PRECISION": "fp16"},
            ["--optim.name=sgd", "--train.compile=true", "--train.channels_last=true"],
            r"fp16.*optim.name sgd.*channels_last.*train.compile",
        ),
    ],
)
def test_a_launch_that_the_loop_does_not_run_under_is_refused(
    environment: dict[str, str], words: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_launch(load(words), environment)


def test_other_launches_pass() -> None:
    check_launch(load(["--optim.name=sgd", "--train.compile=true"]), {"ACCELERATE_USE_FSDP": "false"})
    check_launch(load(["--precision=bf16"]), {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"})
    check_file("FSDP", {"fsdp_version": 2})
    check_file("MULTI_GPU", {})
    for kind, name in {"MULTI_NEURON": "Neuron", "DEEPSPEED": "DeepSpeed", "MEGATRON_LM": "Megatron-LM"}.items():
        with pytest.raises(ValueError, match=f"{name}, which clips and steps by itself"):
            check_file(kind, {})


def test_a_launcher_refuses_a_launch_file_of_deepspeed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from mets3d.training import launcher

    file = tmp_path / "deepspeed.yaml"
    file.write_text(FSDP2.read_text().replace("FSDP", "DEEPSPEED").replace("fsdp_config:", "deepspeed_config:"))
    assert launcher.launch(["--config_file", str(file), "train.py"], program="mets3d train") == 2
    assert capfd.readouterr().err.count("\n") == 1
