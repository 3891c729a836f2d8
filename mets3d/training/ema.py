"""Averages the weights over the steps of a training. The averages are what is validated, exported and predicted with.

An average moves by (1 - d) of the way to the new weight after each step, with d the smaller of the decay and
(1 + n) / (10 + n) after n steps, so that the random weights of the start are soon forgotten. A step that was skipped
counts as none. Averages and number of steps stay on the device, and the host waits for neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from mets3d.training.job import Job
from mets3d.training.sharding import as_part

# Numbers whose differences are in memory at once during an update.
PIECE = 2**24


def in_place(ema: Ema | None) -> AbstractContextManager[None]:
    """Has a network hold the averages of its weights in this block, where there are any."""
    return nullcontext() if ema is None else ema.in_place()


def averages(job: Job) -> Ema | None:
    """Returns the averages that optim.ema asks for of a network on its device, None without."""
    decay = job.config.optim.ema
    return None if decay is None else Ema(job.network, decay)


class Ema:
    """Exponential averages of the parameters that are not frozen, in this process and in fp32, as they are.

    network: on its device, not wrapped. Of a sharded one each process averages its part. Frozen parameters are equal to
    their average, so nothing is kept for them.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.decay = decay
        named = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
        self._parameters = dict(named)
        self._averages = [_here(parameter).clone() for _, parameter in named]
        self._pieces = _in_pieces(self._averages)
        self.steps = torch.zeros((), dtype=torch.int64, device=self._averages[0].device)

    @torch.no_grad()
    def update(self, skipped: Tensor) -> None:
        """Moves the averages after a step, unless the 0-d flag on the device says that it was skipped."""
        made = (~skipped).to(self.steps.dtype)
        # 1 - (1 + n) / (10 + n) is 9 / (10 + n).
        share = (9 / (10 + self.steps)).clamp_min(1 - self.decay) * made
        weights = [_here(parameter) for parameter in self._parameters.values()]
        for piece in self._pieces:
            averages = self._averages[piece]
            ways = torch._foreach_sub(weights[piece], averages)
            torch._foreach_mul_(ways, share)
            torch._foreach_add_(averages, ways)
        self.steps += made

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Puts the averages into the network in this block; it then has its own weights again, bit by bit."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def load(self, weights: Mapping[str, Tensor], steps: int) -> None:
        """Restores the averages of a checkpoint: whole tensors, by the names of the network, in every process."""
        for (name, parameter), average in zip(self._parameters.items(), self._averages, strict=True):
            average.copy_(_here(as_part(weights[name], parameter)))
        self.steps.fill_(steps)

    @torch.no_grad()
    def _exchange(self) -> None:
        # Values and not tensors: what shards a network reads its parameters at the addresses they had.
        for parameter, average in zip(self._parameters.values(), self._averages, strict=True):
            weight = _here(parameter)
            own = weight.clone()
            weight.copy_(average)
            average.copy_(own)


def _here(tensor: Tensor) -> Tensor:
    """Returns what this process holds of a parameter."""
    held = tensor.detach()
    return held.to_local() if isinstance(held, DTensor) else held


def _in_pieces(tensors: list[Tensor]) -> list[slice]:
    """Returns consecutive slices of a list of tensors of at most PIECE numbers each, or of one larger tensor."""
    pieces, begin, size = [], 0, 0
    for place, tensor in enumerate(tensors):
        if size and size + tensor.numel() > PIECE:
            pieces.append(slice(begin, place))
            begin, size = place, 0
        size += tensor.numel()
    return [*pieces, slice(begin, len(tensors))]
