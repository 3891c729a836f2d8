"""Sorts a network's parameters into the optimizer's groups: by their layer's learning rate, and by weight decay."""

from __future__ import annotations

from typing import Any

from torch import nn

from mets3d.config import Optim
from mets3d.models.queries import QueryDecoder
from mets3d.models.vit import ViTBottleneck

# Of each transformer: the list of its layers, and what makes tokens or queries of its input, the lowest layer of all.
# Whatever else it has stands behind the last layer.
LAYERS: dict[type[nn.Module], tuple[str, tuple[str, ...]]] = {
    ViTBottleneck: ("blocks", ("embed", "position")),
    QueryDecoder: ("layers", ("memory", "fuse", "query_content", "query_position", "level_embedding")),
}
# Parameters with several axes that are no weights: values that are added to features, tokens or queries.
EMBEDDINGS = ("position", "query_content", "query_position", "level_embedding")


def parameter_groups(network: nn.Module, settings: Optim) -> list[dict[str, Any]]:
    """Returns the groups of the parameters that are not frozen, each parameter in exactly one.

    A group has `lr_scale`, the factor on the learning rate, and `weight_decay`. The factor is `layer_decay` to the
    power of `layers_from_output`, 1 without it. Under `weight_decay_on: weights` what is no weight does not decay.
    """
    depth = layers_from_output(network) if settings.layer_decay is not None else {}
    factor = 1.0 if settings.layer_decay is None else settings.layer_decay
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decays = settings.weight_decay_on == "all" or is_weight(name, parameter)
            key = factor ** depth.get(parameter, 0), settings.weight_decay if decays else 0.0
            groups.setdefault(key, []).append(parameter)
    return [
        {"params": parameters, "lr_scale": scale, "weight_decay": decay}
        for (scale, decay), parameters in groups.items()
    ]


def layers_from_output(network: nn.Module) -> dict[nn.Parameter, int]:
    """Returns for each parameter of a ViT or query decoder how many layers lie behind it, its own one counted.

    As in BEiT and MAE: 0 behind the last layer (final norm, projection, heads, pixel embedding), 1 in the last of N
    layers, N in the first, N + 1 in what embeds the input. Each transformer counts from its own output. Parameters of
    the CNN are not listed.
    """
    found: dict[nn.Parameter, int] = {}
    for module in network.modules():
        for kind, (layers, embedding) in LAYERS.items():
            if isinstance(module, kind):
                count = len(getattr(module, layers))
                for name, parameter in module.named_parameters():
                    part, _, inner = name.partition(".")
                    below = count - int(inner.partition(".")[0]) if part == layers else 0
                    found[parameter] = count + 1 if part in embedding else below
    return found


def is_weight(name: str, parameter: nn.Parameter) -> bool:
    """Returns whether a parameter multiplies features: not a bias, a norm's, a LayerScale's, or an embedding."""
    return parameter.ndim > 1 and name.rpartition(".")[2] not in EMBEDDINGS
