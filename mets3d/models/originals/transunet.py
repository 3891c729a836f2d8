"""Turns original 3D TransUNet checkpoints into our networks.

The original is the class Generic_TransUNet_max_ppbp of Beckschen/3D-TransUNet (commit 9f18182). Its state dict
describes nearly the whole network; the rest (heads, LayerScale's form, masking) is an argument.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from mets3d.models.blocks import LayerScaleForm
from mets3d.models.transunet import DEFAULT_MEMORY_LEVELS, Mode, TransUNet
from mets3d.wording import counted

State = Mapping[str, Tensor]


def from_original(
    state_dict: State,
    *,
    patch: Sequence[int],
    layer_scale: LayerScaleForm = "reference",
    target: Literal["regions", "labels"] = "regions",
    vit_heads: int = 12,
    decoder_heads: int = 8,
    masked_attention: bool = True,
) -> TransUNet:
    """Makes the network that an original state dict describes, with its weights, on the CPU in fp32.

    Mode, levels, strides, kernels, widths, layers, queries, channels and which LayerScales and CNN heads exist are
    read from keys and shapes; a leading `module.` is ignored. layer_scale is the form given to gammas in the file;
    `reference` is what such weights were trained with. patch: the one they were trained with where the file has a ViT.
    In label mode the classes keep the file's order, background first. Which feature maps the queries attend to shows in
    their channels only; where several choices fit, the original's defaults are taken: (-4, -3, -2), or the bottleneck
    for a single map.

    Raises ValueError listing every missing, unknown and misshapen key, and for a patch that does not fit the file.
    """
    state = {key.removeprefix("module."): value for key, value in state_dict.items()}
    arguments = _describe(state)
    for scale in ("vit_layer_scale", "decoder_layer_scale"):
        if arguments.pop(f"has_{scale}"):
            arguments[scale] = layer_scale
    with torch.device("meta"):
        network = TransUNet(
            patch=tuple(patch),
            activation="sigmoid" if target == "regions" else "softmax",
            vit_heads=vit_heads,
            decoder_heads=decoder_heads,
            masked_attention=masked_attention,
            **arguments,
        )
    _load(network.to_empty(device="cpu"), state)
    return network


def is_original(state_dict: State) -> bool:
    """Returns whether a state dict has the names of the original's CNN."""
    return any(key.removeprefix("module.").startswith("conv_blocks_context.") for key in state_dict)


def settings(network: TransUNet) -> dict[str, Any]:
    """Returns the values of the configuration's section `model` that make the same network again."""
    elsewhere = ("in_channels", "channels", "activation", "patch")
    values = {name: value for name, value in network.arguments.items() if name not in elsewhere}
    return values | {"vit_pretrained": None}


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Reads the state dict in a file of torch.save or safetensors, also from an entry `state_dict` or `model`.

    Only tensors and plain values are read, never code. Raises FileNotFoundError, and ValueError for a file that is
    something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint file")
    try:
        content = _read(path)
    except Exception:  # the readers raise undocumented errors for damaged files; their texts advise to run code
        raise ValueError(
            f"{path}: expected a checkpoint of torch.save (tensors and plain values only) or safetensors; the file is "
            "damaged, holds other Python objects, or is no checkpoint"
        ) from None
    for entry in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(entry), Mapping):
            content = content[entry]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        keys = (
            f"keys {', '.join(map(str, list(content)[:5]))}" if isinstance(content, Mapping) else type(content).__name__
        )
        raise ValueError(
            f"{path}: expected a state dict (names of tensors), alone or as `state_dict` or `model`; found {keys}"
        )
    return dict(content)


# ---------------------------------------------------------------- from a state dict to arguments


def _describe(state: State) -> dict[str, Any]:
    """Returns arguments of TransUNet, and `has_vit_layer_scale` and `has_decoder_layer_scale`."""
    levels = 1 + max(_indices(state, r"(?:tu|conv_blocks_localization)\.(\d+)\."), default=-1)
    with_vit, with_queries = (any(key.startswith(part) for key in state) for part in ("transformer.", "predictor."))
    modes: dict[tuple[bool, bool], Mode] = {
        (False, False): "cnn",
        (True, False): "encoder",
        (False, True): "decoder",
        (True, True): "both",
    }
    stages = [f"conv_blocks_context.{stage}.blocks.0.conv.weight" for stage in range(levels)]
    stages.append(f"conv_blocks_context.{levels}.0.blocks.0.conv.weight")
    upsampling = [f"tu.{u}.weight" for u in reversed(range(levels))]
    cnn_head = f"seg_outputs.{levels - 1}.weight"
    classes = "predictor.class_embed.weight" if with_queries else cnn_head
    _require(state, [*stages, *upsampling, classes], "the CNN and its classes")

    shapes = [state[key].shape for key in stages]
    heads = _indices(state, r"seg_outputs\.(\d+)\.")
    deep_heads = levels - 1 - min(heads, default=levels - 1)
    return {
        "mode": modes[with_vit, with_queries],
        "in_channels": shapes[0][1],
        "channels": state[classes].shape[0] - with_queries,
        "strides": tuple(tuple(state[key].shape[2:]) for key in upsampling),
        "kernels": tuple(tuple(shape[2:]) for shape in shapes),
        "features": shapes[0][0],
        "max_features": max(shape[0] for shape in shapes),
        "deep_supervision": deep_heads > 0,
        "deep_heads": deep_heads,
        "frozen_cnn_head": with_queries and cnn_head in state,
        "has_vit_layer_scale": "transformer.encoder.layer.0.ls1.gamma" in state,
        "has_decoder_layer_scale": "predictor.transformer_ffn_layers.0.ls1.gamma" in state,
        **(_describe_vit(state) if with_vit else {}),
        **(_describe_queries(state, [shape[0] for shape in reversed(shapes)]) if with_queries else {}),
    }


def _describe_vit(state: State) -> dict[str, Any]:
    embedding, mlp = "transformer.embeddings.patch_embeddings.weight", "transformer.encoder.layer.0.ffn.fc1.weight"
    _require(state, [embedding, mlp], "the ViT")
    return {
        "vit_depth": 1 + max(_indices(state, r"transformer\.encoder\.layer\.(\d+)\.")),
        "vit_width": state[embedding].shape[0],
        "vit_mlp": state[mlp].shape[0],
    }


def _describe_queries(state: State, map_channels: list[int]) -> dict[str, Any]:
    """Returns the decoder's arguments; `map_channels` run from the bottleneck to full resolution."""
    content, mlp = "predictor.query_feat.weight", "predictor.transformer_ffn_layers.0.linear1.weight"
    _require(state, [content, mlp], "the query decoder")
    projections = 1 + max(_indices(state, r"input_proj\.(\d+)\."), default=-1)
    fused = projections > 0 and "linear_encoder_feature.weight" in state
    keys = [f"input_proj.{index}.0.weight" for index in range(projections)] or ["linear_encoder_feature.weight"]
    _require(state, keys, "the maps that the queries attend to")
    return {
        "queries": state[content].shape[0],
        "width": state[content].shape[1],
        "decoder_layers": 1 + max(_indices(state, r"predictor\.transformer_ffn_layers\.(\d+)\.")),
        "decoder_mlp": state[mlp].shape[0],
        "memory_fpn": projections if fused else 0,
        "memory_levels": None if fused else _find_maps([state[key].shape[1] for key in keys], map_channels),
    }


def _find_maps(wanted: list[int], map_channels: list[int]) -> tuple[int, ...]:
    """Finds neighbouring maps with these channels, as negative indices: the original's default, else the coarsest."""
    count = len(map_channels)
    starts = list(range(count - len(wanted) + 1))
    default = count + DEFAULT_MEMORY_LEVELS[0]
    if len(wanted) == len(DEFAULT_MEMORY_LEVELS) and default in starts:
        starts = [default, *starts]
    for start in starts:
        if map_channels[start : start + len(wanted)] == wanted:
            return tuple(range(start - count, start - count + len(wanted)))
    raise ValueError(
        f"original weights: the queries attend to maps with {wanted} channels, which are no neighbours among the "
        f"decoder's, {map_channels} from coarse to fine; this selection cannot be imported"
    )


def _require(state: State, keys: list[str], what: str) -> None:
    missing = [key for key in keys if key not in state]
    if missing:
        found = ", ".join(list(state)[:3]) or "nothing"
        raise ValueError(
            f"not the state dict of an original 3D TransUNet: {what} cannot be read without {', '.join(missing)}; "
            f"found {counted(len(state), 'key')} ({found} ...)"
        )


def _indices(state: State, pattern: str) -> list[int]:
    return [int(match[1]) for match in map(re.compile(pattern).match, state) if match]


# ---------------------------------------------------------------- from the original's names to ours

_VIT_BLOCK = r"vit\.blocks\.(\d+)\."
_LAYER = r"query_decoder\.layers\.(\d+)\."
_RENAMED = [
    (r"encoder\.stages\.(\d+)\.(\d)\.(conv|norm)\.", r"conv_blocks_context.\1.blocks.\2.\3."),
    (r"decoder\.upsample\.", "tu."),
    (r"decoder\.stages\.(\d+)\.(\d)\.(conv|norm)\.", r"conv_blocks_localization.\1.\2.blocks.0.\3."),
    (r"vit\.embed\.", "transformer.embeddings.patch_embeddings."),
    (r"vit\.position", "transformer.embeddings.position_embeddings"),
    (_VIT_BLOCK + r"attention_norm\.", r"transformer.encoder.layer.\1.attention_norm."),
    (_VIT_BLOCK + r"attention\.", r"transformer.encoder.layer.\1.attn."),
    (_VIT_BLOCK + r"attention_scale", r"transformer.encoder.layer.\1.ls1.gamma"),
    (_VIT_BLOCK + r"mlp_norm\.", r"transformer.encoder.layer.\1.ffn_norm."),
    (_VIT_BLOCK + r"mlp_in\.", r"transformer.encoder.layer.\1.ffn.fc1."),
    (_VIT_BLOCK + r"mlp_out\.", r"transformer.encoder.layer.\1.ffn.fc2."),
    (_VIT_BLOCK + r"mlp_scale", r"transformer.encoder.layer.\1.ls2.gamma"),
    (r"vit\.norm\.", "transformer.encoder.encoder_norm."),
    (r"vit\.project\.", "conv_more."),
    (r"query_decoder\.memory\.", "input_proj."),
    (r"query_decoder\.fuse\.", "linear_encoder_feature."),
    (r"query_decoder\.pixels\.", "linear_mask_features."),
    (r"query_decoder\.query_content", "predictor.query_feat.weight"),
    (r"query_decoder\.query_position", "predictor.query_embed.weight"),
    (r"query_decoder\.level_embedding", "predictor.level_embed.weight"),
    (_LAYER + r"cross_attention\.out\.", r"predictor.transformer_cross_attention_layers.\1.multihead_attn.out_proj."),
    (_LAYER + r"cross_attention\.\w+\.", r"predictor.transformer_cross_attention_layers.\1.multihead_attn.in_proj_"),
    (_LAYER + r"cross_norm\.", r"predictor.transformer_cross_attention_layers.\1.norm."),
    (_LAYER + r"self_attention\.out\.", r"predictor.transformer_self_attention_layers.\1.self_attn.out_proj."),
    (_LAYER + r"self_attention\.\w+\.", r"predictor.transformer_self_attention_layers.\1.self_attn.in_proj_"),
    (_LAYER + r"self_norm\.", r"predictor.transformer_self_attention_layers.\1.norm."),
    (_LAYER + r"self_scale", r"predictor.transformer_self_attention_layers.\1.ls1.gamma"),
    (_LAYER + r"mlp_in\.", r"predictor.transformer_ffn_layers.\1.linear1."),
    (_LAYER + r"mlp_out\.", r"predictor.transformer_ffn_layers.\1.linear2."),
    (_LAYER + r"mlp_norm\.", r"predictor.transformer_ffn_layers.\1.norm."),
    (_LAYER + r"mlp_scale", r"predictor.transformer_ffn_layers.\1.ls1.gamma"),
    (r"query_decoder\.norm\.", "predictor.decoder_norm."),
    (r"query_decoder\.class_head\.", "predictor.class_embed."),
    (r"query_decoder\.mask_head\.", "predictor.mask_embed.layers."),
]


def _load(network: TransUNet, state: State) -> None:
    faults: list[str] = []
    loaded: dict[str, Tensor] = {}
    names = {own: _original_name(own, network) for own in network.state_dict()}
    for own, wanted in network.state_dict().items():
        name = names[own]
        if name not in state:
            faults.append(f"missing: {name}")
            continue
        loaded[own] = _as_ours(own, state[name], wanted.shape, network)
        if loaded[own].shape != wanted.shape:
            faults.append(f"misshapen: {name} is {tuple(state[name].shape)}; {own} needs {tuple(wanted.shape)}")
    known = set(names.values())
    faults += [f"unknown: {name}" for name in state if name not in known]
    if faults:
        listed = "\n  ".join(dict.fromkeys(faults))
        raise ValueError(f"the original weights do not fit the network that they describe:\n  {listed}")
    network.load_state_dict(loaded)


def _original_name(own: str, network: TransUNet) -> str:
    levels = len(network.strides)
    if own == "head.weight":
        return f"seg_outputs.{levels - 1}.weight"
    if own.startswith("deep_heads."):
        return f"seg_outputs.{levels - 2 - int(own.split('.')[1])}.weight"
    if (
        own.startswith("query_decoder.memory.")
        and len(network.memory_levels) == 1
        and not network.arguments["memory_fpn"]
    ):
        return own.replace("query_decoder.memory.0.0.", "linear_encoder_feature.")
    if own.startswith("query_decoder.mask_head."):
        index = own.split(".")[2]
        own = own.replace(f".{index}.", f".{int(index) // 2}.")  # ours counts the ReLUs between the layers
    name = next(re.sub(pattern, new, own) for pattern, new in _RENAMED if re.match(pattern, own))
    if name.startswith(f"conv_blocks_context.{levels}."):
        name = re.sub(r"blocks\.(\d)\.", r"\1.blocks.0.", name)
    return name.replace(".norm.", ".instnorm.") if name.startswith("conv_blocks_") else name


def _as_ours(own: str, value: Tensor, wanted: torch.Size, network: TransUNet) -> Tensor:
    """Unpacks query, key and value, drops the kernel axes of the pixel projection, lays tokens out on their grid."""
    packed = re.search(r"_attention\.(query|key|value)\.", own)
    if own.startswith("query_decoder.") and packed and len(value) == 3 * wanted[0]:
        return value.chunk(3)[("query", "key", "value").index(packed[1])]
    if own == "query_decoder.pixels.weight":
        return value.flatten(1)
    if own == "vit.position":
        tokens, grid = value.shape[1], wanted[2:]
        if tokens != math.prod(grid):
            raise ValueError(
                f"the original weights have a position embedding of {tokens} tokens, but patch "
                f"{tuple(network.arguments['patch'])} over strides {network.total_stride} makes {math.prod(grid)}; "
                "give the patch that they were trained with"
            )
        return value.transpose(1, 2).reshape(wanted)
    return value


# ---------------------------------------------------------------- files


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    # The warning is of a pickle's version, before it is refused.
    with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(_plain_numpy()):
        return torch.load(path, map_location="cpu", weights_only=True)


def _plain_numpy() -> list[Any]:
    """Returns the types that NumPy scalars in a checkpoint need, under today's names and those before NumPy 2."""
    import codecs

    import numpy as np

    make = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64)]
    return [make, (make, "numpy.core.multiarray.scalar"), np.dtype, *kinds, codecs.encode]
