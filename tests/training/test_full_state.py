"""The optimizer's state, whole on the main process, comes back as each parameter lies in memory."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import AdamW

from mets3d.training.full_state import spread_optimizer


def test_moments_have_the_memory_layout_of_their_parameters() -> None:
    def made() -> tuple[nn.Module, AdamW]:
        torch.manual_seed(0)
        convolution = nn.Conv3d(4, 6, 3).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        return convolution, AdamW(convolution.parameters(), fused=True)

    module, optimizer = made()
    module(torch.ones(1, 4, 3, 3, 3)).square().sum().backward()
    optimizer.step()
    saved = optimizer.state_dict()
    # As a checkpoint holds them: one sample's channels after another.
    saved["state"] = {
        index: {name: value.contiguous() for name, value in state.items()} for index, state in saved["state"].items()
    }
    again, other = made()
    again.load_state_dict(module.state_dict())
    spread_optimizer(other, saved)
    for before, after in zip(module.parameters(), again.parameters(), strict=True):
        for name, value in optimizer.state[before].items():
            assert torch.equal(other.state[after][name], value)
        assert other.state[after]["exp_avg"].stride() == after.stride()
