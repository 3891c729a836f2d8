"""What is chosen for speed or memory changes the arithmetic's order at most."""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

import train as script
from mets3d.config import load_file
from mets3d.models.transunet import TransUNet
from mets3d.rundir import RunDir
from mets3d.training.tuned import in_layout, tuned
from tests.builders.runs import forget_accelerator, train, write_config
from tests.builders.warm import python


def network(**different: Any) -> TransUNet:
    torch.manual_seed(0)
    arguments = {
        "patch": (16, 16, 16),
        "strides": ((2, 2, 2),) * 2,
        "features": 4,
        "max_features": 16,
        "width": 24,
        "queries": 5,
        "decoder_heads": 2,
        "vit_depth": 1,
        "vit_width": 24,
        "vit_mlp": 24,
        "vit_heads": 2,
    }
    return TransUNet("both", dropout=0.3, vit_dropout=0.3, **(arguments | different)).double()


def gradients(net: TransUNet, keys: torch.Tensor | None) -> torch.Tensor:
    image = torch.randn(2, 4, 16, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.manual_seed(5)  # of the dropout without keys
    output = net(image, keys)
    loss = output.probabilities.square().mean() + sum(deep.square().mean() for deep in output.deep)
    return torch.cat(
        [
            grad.flatten()
            for grad in torch.autograd.grad(loss, list(net.parameters()), allow_unused=True)
            if grad is not None
        ]
    )


@pytest.mark.parametrize("levels", [1, 2, 9])
@pytest.mark.parametrize("keyed", [True, False])
def test_recomputing_levels_changes_no_gradient(levels: int, keyed: bool) -> None:
    keys = torch.tensor([3, 2**40 + 1]) if keyed else None
    net = network()
    plain = gradients(net, keys)
    seen = []
    net.encoder.stages[0][0].conv.register_forward_hook(lambda *_: seen.append(1))
    net.recompute(levels)
    torch.testing.assert_close(gradients(net, keys), plain, atol=1e-14, rtol=1e-12)
    assert len(seen) == 2  # forward, and once more for the gradient
    net.eval()
    with torch.no_grad():
        net(torch.zeros(1, 4, 16, 16, 16, dtype=torch.float64))
    assert len(seen) == 3


def test_every_setting_arrives_where_it_acts(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparisons below would hold for settings that do nothing."""
    compiled: list[object] = []
    monkeypatch.setattr(torch, "compile", lambda what: compiled.append(what) or what)
    values = {"channels_last": True, "recompute": 2, "compile": True, "compile_loss": True}
    forget_accelerator()
    job = script.compose(load_file(write_config(tmp_path, phantom_store, train=values)), Accelerator(cpu=True))
    forget_accelerator()
    tuned(job)
    assert compiled == [job.loss.base, job.network]
    assert job.network.encoder.recompute == job.network.decoder.recompute == 2
    last = torch.channels_last_3d
    assert job.network.encoder.stages[0][1].conv.weight.is_contiguous(memory_format=last)
    assert in_layout(job, torch.zeros(1, 4, 8, 8, 8)).is_contiguous(memory_format=last)


def losses_of(run: RunDir) -> list[float]:
    return [row["loss"] for row in run.read_metrics() if row["kind"] == "train"]


def test_channels_last_trains_the_same_network(tmp_path: Path, phantom_store: Path) -> None:
    losses = []
    for name, value in (("plain", "false"), ("last", "true")):
        config = write_config(tmp_path, phantom_store, name=name)
        assert train(config, f"--train.channels_last={value}", "--train.recompute=1") == 0
        losses.append(losses_of(RunDir(tmp_path / "runs" / name)))
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.slow
def test_a_compiled_run_trains_the_same_network(tmp_path: Path, phantom_store: Path) -> None:
    """In a process of its own: the compiler cannot trace the runtime shape checks of the tests."""
    model = {"features": 2, "deep_supervision": False, "strides": [[2, 2, 2]]}
    words = ["--config", str(write_config(tmp_path, phantom_store, model=model)), "--train.steps=2"]
    words += ["--validate.every=9"]
    assert train(Path(words[1]), *words[2:], "--name=plain") == 0
    run = python("train.py", *words, "--name=compiled", "--train.compile=true", "--train.compile_loss=true")
    assert run.returncode == 0, run.stderr
    plain, compiled = (losses_of(RunDir(tmp_path / "runs" / name)) for name in ("plain", "compiled"))
    assert compiled == pytest.approx(plain, rel=1e-3)
