"""Random changes of a sample: drawn on the host from the sample's own key, applied on the device."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from mets3d.augment.draw import Drawn
    from mets3d.config import Augment


def build(settings: Augment, *, sequences: int) -> Callable[[np.random.Generator], Drawn]:
    """A picklable function that draws one sample's augmentation as the settings say."""
    from mets3d.augment.draw import Drawn, draw

    if not settings.enabled:
        return partial(_nothing, Drawn())
    chances = settings.model_dump(exclude={"enabled"})
    return partial(draw, sequences=sequences, **chances)


def _nothing(drawn: Drawn, rng: np.random.Generator) -> Drawn:  # noqa: ARG001 - the signature of a draw
    return drawn
