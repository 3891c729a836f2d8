"""Starts a network from weights of another: what fits is taken, and what was taken is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from mets3d.files import MissingWeightsError, WrongWeightsError
from mets3d.models.originals.transunet import from_original, is_original, read_checkpoint
from mets3d.models.transunet import TransUNet
from mets3d.models.weights import read_tensors

# Output layers, which a network for other classes has in other shapes; everything else is of another network then.
HEADS = ("head.", "deep_heads.", "query_decoder.class_head.")
POSITION = "vit.position"  # lives on the grid of the patch, resampled for another one
ENCODER = "encoder."  # every mode has it, so that weights without it are none of ours
SHOWN = 3  # differences named in an error


@dataclass(frozen=True)
class Matched:
    """What a network took over from weights: names of tensors.

    taken: as they were. resampled: the position embedding, on another grid. zero: biases of heads that the weights
    have without one. fresh: left as initialised. unused: in the weights alone.
    """

    taken: Sequence[str]
    resampled: Sequence[str]
    zero: Sequence[str]
    fresh: Sequence[str]
    unused: Sequence[str]

    def line(self, source: Path, network: nn.Module) -> str:
        """Returns the report in one line."""
        own = {name: tensor.numel() for name, tensor in network.state_dict().items()}
        taken = (*self.taken, *self.resampled)
        numbers = sum(own[name] for name in taken) / max(1, sum(own.values()))
        shown = numbers if len(taken) == len(own) else min(numbers, 0.999)  # 100.0% is said of all alone
        parts = [f"weights of {source}: {len(taken)} of {len(own)} tensors, {shown:.1%} of the numbers"]
        parts += [f"resampled to this patch: {_grouped(self.resampled)}"] if self.resampled else []
        parts += [f"without a bias there, so 0: {_grouped(self.zero)}"] if self.zero else []
        parts += [f"as initialised: {_grouped(self.fresh)}"] if self.fresh else []
        parts += [f"not used: {_grouped(self.unused)}"] if self.unused else []
        return "; ".join(parts)


def warm_start(network: nn.Module, weights: Mapping[str, Tensor], source: Path) -> Matched:
    """Loads the weights that fit into a network, by name, and returns what was taken.

    The encoder must match whole. Heads in another shape, for other classes, stay as initialised; so does what the
    weights lack, such as a query decoder that is new. A head's bias that they lack becomes 0: they were trained without
    it. Raises WrongWeightsError, a ValueError, for any other tensor in another shape and for an encoder that differs;
    the network is then as it was.
    """
    own = network.state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
    both = [name for name in own if name in weights]
    taken = [name for name in both if tuple(weights[name].shape) == shapes[name]]
    moved = {name: moved for name in both if (moved := _resampled(name, weights[name], own[name])) is not None}
    other = [name for name in both if name not in taken and name not in moved and not name.startswith(HEADS)]
    lacking = [name for name in own if name.startswith(ENCODER) and name not in weights]
    _check(source, weights, shapes, other, lacking)
    zero = [
        name
        for name in own
        if name not in weights and name.startswith(HEADS) and name.endswith(".bias")
        and name.removesuffix("bias") + "weight" in taken
    ]  # fmt: skip
    loaded = {name: weights[name] for name in taken} | moved | {name: own[name].new_zeros(()) for name in zero}
    network.load_state_dict({name: loaded[name].expand_as(own[name]) if name in loaded else own[name] for name in own})
    known = {*taken, *moved}
    return Matched(
        taken=taken,
        resampled=list(moved),
        zero=zero,
        fresh=[name for name in own if name not in known and name not in zero],
        unused=[name for name in weights if name not in known],
    )


def read_weights(file: Path, network: TransUNet) -> dict[str, Tensor]:
    """Reads weights by our names: of a model.safetensors, or of an original 3D TransUNet checkpoint.

    network: the one to start, whose patch an original's ViT must have, since its tokens have lost their grid. Only
    tensors and plain values are read, never code. Raises MissingWeightsError, WrongWeightsError for a file that is
    neither, and ValueError for an original that cannot be translated.
    """
    if not file.is_file():
        raise MissingWeightsError(f"{file}: no such weights; expected a run directory or a file")
    state = read_tensors(file) if file.suffix == ".safetensors" else read_checkpoint(file)
    if not is_original(state):
        return state
    try:
        # Numbers of heads show in no shape, and change none.
        own = {name: network.arguments[name] for name in ("patch", "vit_heads", "decoder_heads")}
        return dict(from_original(state, **own).state_dict())
    except ValueError as error:
        raise ValueError(
            f"{file}: {error}; `mets3d import-weights` makes a run of it, with its own patch, that `weights` can name"
        ) from None


def _resampled(name: str, value: Tensor, own: Tensor) -> Tensor | None:
    """Returns the position embedding on our grid of tokens; None for what is no such or has our grid already."""
    fits = name == POSITION and value.ndim == own.ndim and value.shape[:2] == own.shape[:2]
    if not fits or value.shape == own.shape:
        return None
    return F.interpolate(value.float(), size=own.shape[2:], mode="trilinear", align_corners=False).to(own.dtype)


def _check(
    source: Path,
    weights: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    other: Sequence[str],
    lacking: Sequence[str],
) -> None:
    """Raises WrongWeightsError where the weights are of another network."""
    found = [f"{name} is {tuple(weights[name].shape)} there and {shapes[name]} here" for name in other]
    found += [f"{name} is not there" for name in lacking]
    if not found:
        return
    shown = ", ".join(found[:SHOWN]) + (f", and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
    raise WrongWeightsError(
        f"{source} holds the weights of another network: {shown}; use the settings of `model` and data.sequences that "
        "it was trained with"
    )


def _grouped(names: Iterable[str]) -> str:
    """Names the parts that tensors belong to, with their number."""
    parts = Counter(".".join(name.split(".")[:1]) for name in names)
    return ", ".join(f"{part} ({count})" for part, count in parts.items())
