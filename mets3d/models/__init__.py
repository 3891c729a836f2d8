"""Builds the network that the settings describe: from an image to a `SegOutput`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mets3d.config import Model
    from mets3d.models.transunet import TransUNet
    from mets3d.regions import Target


def build(settings: Model, *, in_channels: int, target: Target, patch: Sequence[int]) -> TransUNet:
    """Builds the network on the CPU, randomly initialised from torch's global generator.

    With `vit_pretrained` its ViT then has the weights of that file. Raises ValueError for settings that do not go
    together, and the errors of `load_vit_npz`.
    """
    from mets3d.models.originals.vit import load_vit_npz
    from mets3d.models.transunet import TransUNet

    arguments = settings.model_dump()
    pretrained = arguments.pop("vit_pretrained")
    network = TransUNet(
        in_channels=in_channels,
        channels=target.channels,
        activation="sigmoid" if target.kind == "regions" else "softmax",
        patch=patch,
        **arguments,
    )
    if pretrained is not None:
        load_vit_npz(network, Path(pretrained))
    return network
