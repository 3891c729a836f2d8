"""A skipped step changes nothing."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

from mets3d.config import Optim
from mets3d.training.optim import build, step_unless
from tests.training.test_groups import network

DECAY = 0.01


def plain_optimizer(name: str, layer: nn.Module) -> torch.optim.Optimizer:
    parameters = layer.parameters()
    match name:
        case "adamw":
            return AdamW(parameters, lr=0.1, weight_decay=DECAY, betas=(0.8, 0.95))
        case "adam":
            return Adam(parameters, lr=0.1, weight_decay=DECAY, betas=(0.8, 0.95))
        case _:
            return SGD(parameters, lr=0.1, weight_decay=DECAY, momentum=0.9, nesterov=True)


def weights(name: str, skips: list[bool]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ours with the given steps skipped, and torch's plain optimizer doing only the others."""
    results = []
    settings: dict[str, Any] = {"name": name, "betas": (0.8, 0.95), "momentum": 0.9, "weight_decay_on": "all"}
    for ours in (True, False):
        torch.manual_seed(0)
        layer = nn.Linear(3, 2)
        optimizer = (
            build(layer, Optim(lr=9.0, weight_decay=DECAY, **settings)) if ours else plain_optimizer(name, layer)
        )
        for step, skip in enumerate(skips):
            image = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
            layer.zero_grad()
            (layer(image) ** 2).sum().backward()
            if ours:
                if skip:
                    for parameter in layer.parameters():
                        parameter.grad.fill_(math.nan)  # type: ignore[union-attr]
                step_unless(optimizer, torch.tensor(skip), lr=0.1)
            elif not skip:
                optimizer.step()
        results.append(layer.weight.detach().clone())
    return results[0], results[1]


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("skips", [[False] * 4, [True, False, False], [False, True, True, False]])
def test_a_skipped_step_is_as_if_it_had_not_been(name: str, skips: list[bool]) -> None:
    ours, plain = weights(name, skips)
    assert ours.isfinite().all()
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)


def test_frozen_parameters_are_left_out() -> None:
    layer = nn.Linear(3, 2)
    layer.bias.requires_grad_(False)
    optimizer = build(layer, Optim(name="adamw", lr=0.1, weight_decay=0.0))
    assert [len(group["params"]) for group in optimizer.param_groups] == [1]


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_each_parameter_moves_by_the_rate_of_its_layer_and_only_weights_decay(name: Any) -> None:
    torch.manual_seed(0)
    net = network("both")
    before = copy.deepcopy(net.state_dict())
    optimizer = build(net, Optim(name=name, layer_decay=0.5, weight_decay=0.1, momentum=0.0))
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    step_unless(optimizer, torch.tensor(False), lr=0.01)
    after = net.state_dict()
    moved = {name: before[name] - after[name] for name in before}
    # Adam's first step is the sign of the gradient; SGD's is the gradient, which is 1.
    for place, rate in (
        ("encoder.stages.0.0.conv.bias", 0.01),
        ("vit.norm.bias", 0.01),
        ("vit.blocks.0.attention.query.bias", 0.01 / 8),
        ("vit.position", 0.01 / 16),
        ("query_decoder.layers.1.mlp_scale", 0.01 / 2),
        ("query_decoder.query_content", 0.01 / 8),
    ):
        torch.testing.assert_close(moved[place], torch.full_like(moved[place], rate), rtol=1e-3, atol=1e-6)
    place, rate = "vit.blocks.1.mlp_in.weight", 0.01 / 4
    l2 = {"adamw": 0.0, "adam": 0.0, "sgd": 0.1}[name]  # which Adam divides away in its first step
    decoupled = 0.1 if name == "adamw" else 0.0
    expected = rate * (1 + l2 * before[place]) + rate * decoupled * before[place]
    torch.testing.assert_close(moved[place], expected, rtol=1e-3, atol=1e-6)
