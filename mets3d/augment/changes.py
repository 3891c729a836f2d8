"""Draws the changes of a sample, each by its name, and applies them to a batch in their order.

A change is a class in the file of its family. Its fields are the numbers that were drawn, `draw` draws them, `apply`
applies them. The arguments of `draw` after the generator are named like keys of the settings' section `augment`, or
`sequences` or `parents`; another name is an error. To add a change, write the class, give it a name in the
family's table, and add its settings.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from mets3d.augment.artefacts import ARTEFACTS
from mets3d.augment.intensity import INTENSITY
from mets3d.augment.missing import MISSING
from mets3d.augment.spatial import SPATIAL
from mets3d.ops.voxels import Spacing

Stream = Callable[[str], np.random.Generator]  # a name to the generator of that name in one sample
Draws = Mapping[str, Callable[[np.random.Generator], Any]]


@runtime_checkable
class MovesVoxels(Protocol):
    """A change of image and labels alike."""

    def apply(self, image: Tensor, labels: Tensor, spacing_mm: tuple[float, float, float]) -> tuple[Tensor, Tensor]:
        """Returns image [C, X, Y, Z] and labels [..., X, Y, Z] of one sample, moved."""
        ...


@runtime_checkable
class ChangesIntensity(Protocol):
    """A change of the image alone. Voxels outside `brain` are set to 0 after the last one."""

    def apply(self, image: Tensor, brain: Tensor) -> Tensor:
        """Returns the image [C, X, Y, Z] of one sample, changed; `brain` [X, Y, Z] is where any sequence is not 0."""
        ...


@dataclass(frozen=True)
class Drawn:
    """The changes of one sample in the order in which they are applied."""

    spatial: tuple[MovesVoxels, ...] = ()
    intensity: tuple[ChangesIntensity, ...] = ()


def bind(settings: Mapping[str, Any]) -> tuple[Draws, Draws]:
    """Returns the draw of every spatial and of every other change by name, with its settings bound to it.

    Settings are matched to the parameters of `draw` by name. Raises TypeError, naming change and parameter, if there is
    no setting of that name.
    """
    return _bound(SPATIAL, settings), _bound(INTENSITY | ARTEFACTS | MISSING, settings)


def draw(draws: tuple[Draws, Draws], stream: Stream) -> Drawn:
    """Draws the changes of the sample that `stream` belongs to.

    Each reads the stream of its own name alone, so that adding or changing one leaves the draws of the others alone.
    """
    spatial, intensity = ([one(stream(name)) for name, one in family.items()] for family in draws)
    return Drawn(
        spatial=tuple(change for change in spatial if change is not None),
        intensity=tuple(change for change in intensity if change is not None),
    )


def augment(
    image: Float[Tensor, "B C X Y Z"],
    labels: Integer[Tensor, "B *L X Y Z"],
    drawn: Sequence[Drawn],
    spacing_mm: Spacing | Sequence[Spacing] = (1.0, 1.0, 1.0),
) -> tuple[Float[Tensor, "B C X Y Z"], Integer[Tensor, "B *L X Y Z"]]:
    """Applies to each sample of a batch its own changes, on the batch's device and without waiting for it.

    Outside the brain (all sequences 0) the image stays 0, and so does a sequence that is missing. What a rotation reads
    beyond the patch is background. spacing_mm: of all samples or of each; rotations and scalings are made in mm.
    """
    sizes = np.broadcast_to(np.asarray(spacing_mm, dtype=np.float64), (len(image), 3)).tolist()
    pairs = [_apply(sample, labels[index], drawn[index], tuple(sizes[index])) for index, sample in enumerate(image)]
    return torch.stack([pair[0] for pair in pairs]), torch.stack([pair[1] for pair in pairs])


def _bound(family: Mapping[str, Any], settings: Mapping[str, Any]) -> Draws:
    draws = {}
    for name, change in family.items():
        _generator, *names = inspect.signature(change.draw).parameters
        for key in names:
            if key not in settings:
                raise TypeError(
                    f"augmentation {name}: {change.__name__}.draw has a parameter {key}, but `augment` has no such "
                    f"setting; expected one of {', '.join(settings)}"
                )
        draws[name] = partial(change.draw, **{key: settings[key] for key in names})
    return draws


def _apply(
    image: Float[Tensor, "C X Y Z"],
    labels: Integer[Tensor, "*L X Y Z"],
    drawn: Drawn,
    spacing_mm: tuple[float, float, float],
) -> tuple[Tensor, Tensor]:
    for movement in drawn.spatial:
        image, labels = movement.apply(image, labels, spacing_mm)
    seen = image != 0
    brain, there = seen.any(0), seen.flatten(1).any(1)
    for change in drawn.intensity:
        image = change.apply(image, brain)
    return image * brain * there[:, None, None, None], labels
