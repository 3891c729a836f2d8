"""Averages of the weights against their definition, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from mets3d.training import ema as module
from mets3d.training.ema import Ema, in_place


def small_network() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    network[1].bias.requires_grad_(False)
    return network


def walk(network: nn.Module, step: int) -> None:
    """Moves every trained weight by numbers of this step."""
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator))


def expected(decay: float, skips: Sequence[bool]) -> dict[str, Tensor]:
    """The averages in float64 by their formula; a skipped step changes neither weights nor averages nor their count."""
    network, made = small_network(), 0
    averages = {name: tensor.double() for name, tensor in network.state_dict().items()}
    for step, skip in enumerate(skips):
        if skip:
            continue
        walk(network, step)
        d = min(decay, (1 + made) / (10 + made))
        made += 1
        averages = {name: d * averages[name] + (1 - d) * new.double() for name, new in network.state_dict().items()}
    return averages


@pytest.mark.parametrize("piece", [1, 7, 2**24])
@pytest.mark.parametrize("decay", [0.2, 0.999])
@pytest.mark.parametrize("skips", [[False] * 12, [True, False, True, True, False, False]])
def test_the_averages_are_those_of_the_formula_and_skipped_steps_are_none(
    monkeypatch: pytest.MonkeyPatch, decay: float, skips: list[bool], piece: int
) -> None:
    monkeypatch.setattr(module, "PIECE", piece)
    network = small_network()
    averages = Ema(network, decay)
    for step, skip in enumerate(skips):
        if not skip:
            walk(network, step)
        averages.update(torch.tensor(skip))
    assert int(averages.steps) == skips.count(False)
    own = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with averages.in_place():
        found = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for name, tensor in expected(decay, skips).items():
        torch.testing.assert_close(found[name].double(), tensor, rtol=1e-5, atol=1e-6)
        assert torch.equal(network.state_dict()[name], own[name]), "the network has its own weights again"


def test_a_skipped_step_leaves_every_bit() -> None:
    network = small_network()
    averages = Ema(network, 0.9)
    for step in range(5):
        walk(network, step)
        averages.update(torch.tensor(False))
    before = [average.clone() for average in averages._averages]
    averages.update(torch.tensor(True))
    assert all(torch.equal(one, other) for one, other in zip(before, averages._averages, strict=True))


def test_an_error_inside_leaves_the_network_its_own_weights() -> None:
    network = small_network()
    averages = Ema(network, 0.9)
    walk(network, 0)
    own = network[0].weight.detach().clone()
    with pytest.raises(RuntimeError), in_place(averages):
        assert not torch.equal(network[0].weight, own)
        raise RuntimeError
    assert torch.equal(network[0].weight, own)
    with in_place(None):
        assert torch.equal(network[0].weight, own)


def test_averages_are_loaded_by_name() -> None:
    network = small_network()
    averages = Ema(network, 0.9)
    averages.load({name: torch.full(tensor.shape, 0.5) for name, tensor in network.state_dict().items()}, 7)
    assert int(averages.steps) == 7
    with averages.in_place():
        assert (network[0].weight == 0.5).all()
        assert (network[1].bias == 0).all(), "frozen"
