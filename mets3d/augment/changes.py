"""Draws the changes of a sample, each by its name, and applies them to a batch in their order.

A change is a class in the file of its family. Its fields are the numbers that were drawn, and `draw` draws them. The
arguments of `draw` after the generator are named like keys of the settings' section `augment`, or `sequences` or
`parents`; another name is an error. To add a change, write the class, give it a name in the family's table, put a
change of the image in its place in ORDER, and add its settings.
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
from mets3d.augment.brain import clear_outside, find_brain
from mets3d.augment.intensity import INTENSITY
from mets3d.augment.missing import MISSING
from mets3d.augment.movement import Movement
from mets3d.augment.spatial import SPATIAL
from mets3d.ops.voxels import Shape3, Spacing

Stream = Callable[[str], np.random.Generator]  # a name to the generator of that name in one sample
Draws = Mapping[str, Callable[[np.random.Generator], Any]]

# In which changes of the image are applied: nnU-Net's order, then what it does not have. A missing sequence comes last,
# because noise would fill it.
ORDER = (
    "noise",
    "blur",
    "brightness",
    "contrast",
    "low_resolution",
    "gamma_inverted",
    "brightness_shift",
    "gamma",
    "bias_field",
    "sequence_dropout",
)


@runtime_checkable
class MovesVoxels(Protocol):
    """A change of image and labels alike."""

    def added_to(self, movement: Movement) -> Movement:
        """Returns the movement that is composed of another and, after it, this one."""
        ...


@runtime_checkable
class ChangesImage(Protocol):
    """A change of the image alone. Voxels outside the brain are set to 0 after the last one."""

    @classmethod
    def apply(cls, changes: Mapping[int, Any], image: Tensor, brain: Tensor) -> Tensor:
        """Returns the batch [B, C, X, Y, Z], which it may change in place, with the samples' changes by their place.

        brain: [B, 1, X, Y, Z], where any sequence was not 0. A sample's result depends on no other sample.
        """
        ...


@dataclass(frozen=True)
class Drawn:
    """The changes of one sample in the order in which they are applied."""

    spatial: tuple[MovesVoxels, ...] = ()
    intensity: tuple[ChangesImage, ...] = ()

    @property
    def movement(self) -> Movement:
        """Returns its movements as one."""
        movement = Movement()
        for change in self.spatial:
            movement = change.added_to(movement)
        return movement

    def read_shape(self, patch: Shape3, spacing_mm: Spacing) -> Shape3:
        """Returns the voxels to read around the centre of the patch, as `Movement.read_shape`."""
        return self.movement.read_shape(patch, spacing_mm)


def bind(settings: Mapping[str, Any]) -> tuple[Draws, Draws]:
    """Returns the draw of every movement and of every change of the image by name, with its settings bound to it.

    Settings are matched to the parameters of `draw` by name. Raises TypeError, naming change and parameter, if there is
    no setting of that name, and for a change of the image that has no place in the order.
    """
    return _bound(SPATIAL, settings), _bound(_of_image(), settings)


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
    images: Sequence[Float[Tensor, "C _ _ _"]],
    labels: Sequence[Integer[Tensor, "*L _ _ _"]],
    drawn: Sequence[Drawn],
    patch: Shape3,
    spacing_mm: Spacing | Sequence[Spacing] = (1.0, 1.0, 1.0),
) -> tuple[Float[Tensor, "B C X Y Z"], Integer[Tensor, "B *L X Y Z"]]:
    """Applies to each sample of a batch its own changes, on the batch's device and without waiting for it.

    images, labels: of each sample, as large as its movement reads (`Drawn.read_shape`) or smaller where the case ends,
    and centred on its patch; their labels may have axes before the last three. spacing_mm: of all samples or of each;
    rotations and scalings are made in mm. Beyond what a sample has there is background. Outside the brain (all
    sequences 0) the image stays 0, and so does a sequence that is missing.
    """
    sizes = np.broadcast_to(np.asarray(spacing_mm, dtype=np.float64), (len(images), 3)).tolist()
    moved = [
        sample.movement.apply(image, own, patch, tuple(size))
        for sample, image, own, size in zip(drawn, images, labels, sizes, strict=True)
    ]
    image, kept = torch.stack([pair[0] for pair in moved]), torch.stack([pair[1] for pair in moved])
    changes = _by_change(drawn)
    if not changes:
        return image, kept
    brain, there = find_brain(image, {index for of_samples in changes.values() for index in of_samples})
    removing = {kind: of_samples for kind, of_samples in changes.items() if kind in MISSING.values()}
    for kind, of_samples in changes.items():
        if kind not in removing:
            image = kind.apply(of_samples, image, brain)
    image = clear_outside(image, brain, there)
    for kind, of_samples in removing.items():  # now that what the case lacks is 0 again
        image = kind.apply(of_samples, image, brain)
    return image, kept


def _of_image() -> dict[str, Any]:
    """Returns the changes of the image by name, in the order of application."""
    table = INTENSITY | ARTEFACTS | MISSING
    if lost := table.keys() - ORDER:
        raise TypeError(f"augmentation {', '.join(sorted(lost))}: no place in ORDER, so that it is never applied")
    return {name: table[name] for name in sorted(table, key=ORDER.index)}


def _by_change(drawn: Sequence[Drawn]) -> dict[Any, dict[int, Any]]:
    """Returns for each change of the image, in the order of application, the samples that drew it and their numbers."""
    found: dict[Any, dict[int, Any]] = {}
    for index, sample in enumerate(drawn):
        for change in sample.intensity:
            found.setdefault(type(change), {})[index] = change
    order = list(_of_image().values())
    return dict(sorted(found.items(), key=lambda pair: order.index(pair[0])))


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
