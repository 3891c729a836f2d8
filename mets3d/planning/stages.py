"""Defines a training step as a row of stages, and finds the moment at which it holds most memory. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FP32, MASK = 4, 1  # bytes of a number, and of a voxel of a boolean mask


@dataclass(frozen=True)
class Stage:
    """A part of a step, in bytes. The forward pass visits the stages in order, the backward pass in reverse.

    kept: held from its forward pass until its backward pass. lent: held until the forward pass of the last stage ends.
    forward, backward: what its own pass needs beside all that at the worst moment.
    gradient: what its backward pass leaves for the stages before it, less what it takes from those behind it.
    parameters: numbers that are trained, of which the backward pass leaves a gradient in fp32.
    """

    name: str
    kept: float = 0.0
    lent: float = 0.0
    forward: float = 0.0
    backward: float = 0.0
    gradient: float = 0.0
    parameters: int = 0


@dataclass(frozen=True)
class Moment:
    """The moment of a step at which most memory is held: bytes, and where that is in words."""

    bytes: float
    where: str


def worst_moment(stages: Sequence[Stage], *, gradients_kept: bool) -> Moment:
    """Returns the worst moment of a step, beside what is held throughout.

    gradients_kept: whether those of the parameters are there from the start, as from the second micro-batch on.
    """
    moments, held = [Moment(0.0, "between two steps")], 0.0
    for stage in stages:
        held += stage.kept + stage.lent
        moments.append(Moment(held + stage.forward, f"forward pass, {stage.name}"))
    held -= sum(stage.lent for stage in stages)
    for stage in reversed(stages):
        moments.append(Moment(held + stage.backward, f"backward pass, {stage.name}"))
        held += stage.gradient - stage.kept + (0 if gradients_kept else FP32 * stage.parameters)
    moments.append(Moment(held, "update of the weights"))
    return max(moments, key=lambda moment: moment.bytes)
