"""Draws random changes of a sample on the host, each from a stream of its own, and applies them on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mets3d.augment.changes import Drawn, Stream
    from mets3d.config import Augment


def build(
    settings: Augment, *, sequences: int, parents: Sequence[Sequence[str]] | None = None
) -> Callable[[Stream], Drawn]:
    """Returns a picklable function that draws the changes of one sample as the settings say.

    parents: of each channel the sequences that it is made of, with which it is dropped; None: it is one of its own.
    """
    from mets3d.augment.changes import Drawn, bind, draw

    if not settings.enabled:
        return partial(_nothing, Drawn())
    made_of = tuple((str(channel),) for channel in range(sequences)) if parents is None else tuple(map(tuple, parents))
    return partial(draw, bind(settings.model_dump() | {"sequences": sequences, "parents": made_of}))


def _nothing(drawn: Drawn, stream: Stream) -> Drawn:  # noqa: ARG001 - the signature of a draw
    return drawn
