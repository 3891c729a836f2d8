"""A skipped step changes nothing."""

import math

import pytest
import torch
from torch import nn

from mets3d.config import Optim
from mets3d.training.optim import build, step_unless


def weights(name: str, skips: list[bool]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ours with the given steps skipped, and torch's plain optimizer doing only the others."""
    results = []
    for ours in (True, False):
        torch.manual_seed(0)
        layer = nn.Linear(3, 2)
        optimizer: torch.optim.Optimizer
        if ours:
            optimizer = build(layer.parameters(), Optim(name=name, lr=9.0, weight_decay=0.01, momentum=0.9))  # type: ignore[arg-type]
        elif name == "adamw":
            optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.01)
        else:
            optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, weight_decay=0.01, momentum=0.9, nesterov=True)
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


@pytest.mark.parametrize("name", ["adamw", "sgd"])
@pytest.mark.parametrize("skips", [[False] * 4, [True, False, False], [False, True, True, False]])
def test_a_skipped_step_is_as_if_it_had_not_been(name: str, skips: list[bool]) -> None:
    ours, plain = weights(name, skips)
    assert ours.isfinite().all()
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)


def test_frozen_parameters_are_left_out() -> None:
    layer = nn.Linear(3, 2)
    layer.bias.requires_grad_(False)
    optimizer = build(layer.parameters(), Optim(name="adamw", lr=0.1, weight_decay=0.0))
    assert [len(group["params"]) for group in optimizer.param_groups] == [1]
