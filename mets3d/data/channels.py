"""Makes the channels of a network from normalised sequences: as they are, or the difference of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float16

from mets3d.settings.channels import parents


def compose(
    normal: Mapping[str, Float16[np.ndarray, "X Y Z"]], channels: Sequence[str], absent: Sequence[str] = ()
) -> Float16[np.ndarray, "C X Y Z"]:
    """Returns the channels of a case from its normalised sequences.

    A difference is that of the two in half precision, as a store holds them, rounded once more. Channels of which a
    sequence is among the `absent` ones are 0.
    """
    shape = next(iter(normal.values())).shape
    made = np.zeros((len(channels), *shape), dtype=np.float16)
    for channel, volume in zip(channels, made, strict=True):
        names = parents(channel)
        if any(name in absent for name in names):
            continue
        if len(names) == 1:
            volume[:] = normal[channel]
        else:
            first, second = (normal[name].astype(np.float32) for name in names)
            volume[:] = np.subtract(first, second, out=first)
    return made
