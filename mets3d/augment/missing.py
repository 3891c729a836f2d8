"""Defines what a patient's examination may lack: whole sequences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

Parents = tuple[tuple[str, ...], ...]  # of each channel: the sequences that it is made of


@dataclass(frozen=True)
class SequenceDropout:
    """Channels that are zero, as those of a case without the sequence are."""

    dropped: tuple[bool, ...]  # per channel

    @classmethod
    def draw(cls, rng: np.random.Generator, parents: Parents, sequence_dropout: float) -> SequenceDropout | None:
        """Drops each sequence with probability `sequence_dropout`, and with it every channel that is made of it.

        Where no channel would be left, one of them stays, each being equally likely.
        """
        names = sorted({name for own in parents for name in own})
        chances = dict(zip(names, rng.random(len(names)), strict=True))
        kept = int(rng.integers(len(parents)))  # drawn in any case, so that the probability shifts no draw
        lost = {name for name, chance in chances.items() if chance < sequence_dropout}
        if all(not lost.isdisjoint(own) for own in parents):
            lost -= set(parents[kept])
        dropped = tuple(not lost.isdisjoint(own) for own in parents)
        return cls(dropped) if any(dropped) else None

    @classmethod
    def apply(
        cls,
        changes: Mapping[int, SequenceDropout],
        image: Float[Tensor, "B C X Y Z"],
        brain: Bool[Tensor, "B 1 X Y Z"],  # noqa: ARG003 - the signature of a change of intensities
    ) -> Float[Tensor, "B C X Y Z"]:
        """Sets the dropped channels to 0; none where the others are 0 already, as those that the case itself lacks."""
        for sample, change in changes.items():
            dropped = torch.tensor(change.dropped).to(image.device, non_blocking=True)
            least, largest = image[sample].flatten(1).aminmax(dim=1)
            left = ((least != 0) | (largest != 0)) & ~dropped
            image[sample].masked_fill_((dropped & left.any())[:, None, None, None], 0)
        return image


MISSING = {"sequence_dropout": SequenceDropout}
