"""The benchmarks' plain form of network and loss, with which speed is compared: the same numbers."""

import importlib.util
from types import ModuleType

import pytest
import torch

from mets3d.losses.total import base_loss
from mets3d.models.transunet import TransUNet
from tests.builders.runs import ROOT


@pytest.fixture
def naive() -> ModuleType:
    spec = importlib.util.spec_from_file_location("naive", ROOT / "benchmarks" / "naive.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("mode", ["decoder", "both"])
def test_loss_and_gradient_are_those_of_the_plain_form(naive: ModuleType, mode: str) -> None:
    torch.manual_seed(0)
    sizes = {"features": 4, "max_features": 16, "width": 24, "queries": 5, "decoder_heads": 2}
    vit = {"vit_depth": 1, "vit_width": 24, "vit_mlp": 24, "vit_heads": 2, "vit_dropout": 0.0}
    net = TransUNet(mode, patch=(16, 16, 16), strides=((2, 2, 2),) * 3, **sizes, **vit).double()
    image = torch.randn(2, 4, 16, 16, 16, dtype=torch.float64)
    target = torch.rand(2, 3, 16, 16, 16) > 0.8
    target[0, 2] = False
    ours = torch.stack(list(base_loss(net(image), target).values())).sum()
    plain = naive.naive_loss(net, image, target)
    assert plain.dtype == torch.float64
    gradients = []
    for loss in (ours, plain):
        parts = torch.autograd.grad(loss, list(net.parameters()))
        gradients.append(torch.cat([part.flatten() for part in parts]))
    assert abs(ours - plain) < 1e-14
    assert (gradients[0] - gradients[1]).norm() < 1e-13 * gradients[1].norm()
