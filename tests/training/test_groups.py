"""Which parameter is in which group of the optimizer, by hand."""

from __future__ import annotations

import re
from typing import Any

import pytest
from torch import nn

from mets3d.config import Optim
from mets3d.models.transunet import TransUNet
from mets3d.training.groups import parameter_groups

MODES = ("cnn", "encoder", "decoder", "both")
# With three layers in the ViT and two in the query decoder: how many times the factor counts, by the beginning of the
# name. All else is 0: the CNN, the final norms, the projection back, class and mask head, the pixel embedding.
DEPTHS = {
    r"vit\.(embed|position)": 4,
    r"vit\.blocks\.0": 3,
    r"vit\.blocks\.1": 2,
    r"vit\.blocks\.2": 1,
    r"query_decoder\.(memory|fuse|query_content|query_position|level_embedding)": 3,
    r"query_decoder\.layers\.0": 2,
    r"query_decoder\.layers\.1": 1,
}
# What does not decay: biases, norms, LayerScale, embeddings.
KEPT = r"(bias|norm\.weight|memory\.\d\.1\.weight|_scale|position|query_content|level_embedding)$"


def network(mode: Any, **settings: Any) -> TransUNet:
    small: dict[str, Any] = {
        "patch": (8, 8, 8),
        "strides": ((2, 2, 2),) * 2,
        "features": 4,
        "max_features": 8,
        "deep_heads": 1,
        "vit_depth": 3,
        "vit_width": 12,
        "vit_mlp": 12,
        "vit_heads": 2,
        "queries": 3,
        "width": 12,
        "decoder_layers": 2,
        "decoder_heads": 2,
        "decoder_mlp": 12,
        "vit_layer_scale": "correct",
        "decoder_layer_scale": "correct",
    }
    return TransUNet(mode, **(small | settings))


def by_name(net: nn.Module, **settings: Any) -> dict[str, tuple[float, float]]:
    """Learning-rate factor and weight decay of each parameter; one in two groups, or a frozen one, is an error."""
    names = {parameter: name for name, parameter in net.named_parameters()}
    found: dict[str, tuple[float, float]] = {}
    for group in parameter_groups(net, Optim(**settings)):
        for parameter in group["params"]:
            assert parameter.requires_grad
            assert names[parameter] not in found
            found[names[parameter]] = group["lr_scale"], group["weight_decay"]
    return found


@pytest.mark.parametrize("fused", [0, 2])
@pytest.mark.parametrize("mode", MODES)
def test_every_trained_parameter_is_in_one_group_with_the_rate_and_decay_of_its_kind(mode: str, fused: int) -> None:
    net = network(mode, memory_fpn=fused, frozen_cnn_head=True)
    found = by_name(net, layer_decay=0.5, weight_decay=0.25)
    assert found.keys() == {name for name, parameter in net.named_parameters() if parameter.requires_grad}
    for name, (scale, decay) in found.items():
        depth = next((depth for begin, depth in DEPTHS.items() if re.match(begin, name)), 0)
        assert scale == 0.5**depth, name
        assert decay == (0 if re.search(KEPT, name) else 0.25), name
    depths = {scale for scale, _ in found.values()}
    assert (
        depths
        == {
            "cnn": {1},
            "encoder": {1, 0.5, 0.25, 0.125, 0.0625},
            "decoder": {1, 0.5, 0.25, 0.125},
            "both": {1, 0.5, 0.25, 0.125, 0.0625},
        }[mode]
    )


def test_all_decay_alike_where_that_is_asked_for_and_one_rate_is_one_group() -> None:
    net = network("both")
    groups = parameter_groups(net, Optim(weight_decay=0.25, weight_decay_on="all"))
    assert [(group["lr_scale"], group["weight_decay"]) for group in groups] == [(1.0, 0.25)]
    assert len(groups[0]["params"]) == sum(1 for parameter in net.parameters() if parameter.requires_grad)


def test_a_network_without_a_transformer_has_weights_and_the_rest() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    net[0].weight.requires_grad_(False)
    assert by_name(net, layer_decay=0.5, weight_decay=0.25) == {
        "0.bias": (1, 0),
        "1.weight": (1, 0),
        "1.bias": (1, 0),
    }
