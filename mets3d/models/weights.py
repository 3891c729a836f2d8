"""Reads and writes weights: our own, compared with a network before they are loaded; originals by `from_original`."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mets3d.files import MissingWeightsError, WrongWeightsError, parse_json, write_with
from mets3d.models.originals.transunet import from_original

__all__ = ["check_weights", "from_original", "load_weights", "read_tensors", "save_weights"]

SHOWN = 6  # differences named in an error
HEAD_BIAS = r"(head|deep_heads\.\d+)\.bias"


def load_weights(network: nn.Module, file: Path) -> None:
    """Loads the weights of a safetensors file into a network. Raises the errors of `check_weights`."""
    check_weights(file, network)
    network.load_state_dict(read_tensors(file))


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Reads the tensors of a safetensors file. Raises WrongWeightsError, a ValueError, for one that is broken."""
    try:
        tensors: dict[str, Tensor] = load_file(file)
        return tensors
    except (SafetensorError, ValueError):  # a header that is well formed and yet wrong
        raise WrongWeightsError(_broken(file)) from None


def save_weights(weights: Mapping[str, Tensor], file: Path) -> None:
    """Writes tensors as a safetensors file, whole or not at all, readable for other users (safetensors' own is not)."""
    content = save(dict(weights))
    write_with(file, lambda path: path.write_bytes(content))


def check_weights(file: Path, network: nn.Module) -> None:
    """Compares the header of a safetensors file with a network.

    Raises WrongWeightsError, a ValueError, naming the tensors by which they differ or that the file is broken, and
    MissingWeightsError, a FileNotFoundError.
    """
    try:
        with file.open("rb") as stream:
            length = struct.unpack("<Q", stream.read(8))[0]
            if length > file.stat().st_size:  # nothing of a stated size is set aside before the file is seen to hold it
                raise ValueError
            header: Mapping[str, Any] = parse_json(stream.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        found = {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
        if file.stat().st_size != 8 + length + max(ends, default=0):
            raise ValueError
    except FileNotFoundError:
        raise MissingWeightsError(f"{file}: no such weights") from None
    except (struct.error, ValueError, MemoryError, OverflowError, LookupError, TypeError, AttributeError):
        raise WrongWeightsError(_broken(file)) from None
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if found != expected == found | {name: size for name, size in expected.items() if re.fullmatch(HEAD_BIAS, name)}:
        raise WrongWeightsError(
            f"{file} holds heads of the CNN without bias, as runs before model.head_bias and imported weights do: set "
            "model.head_bias to null, for prediction in the config.yaml of its run"
        )
    differences = [f"{name}: {found[name]} in the file, {expected[name]} in the network"
                   for name in sorted(found.keys() & expected.keys()) if found[name] != expected[name]]  # fmt: skip
    differences += [f"{name}: only in the file" for name in sorted(found.keys() - expected.keys())]
    differences += [f"{name}: only in the network" for name in sorted(expected.keys() - found.keys())]
    if differences:
        shown = "\n  ".join(differences[:SHOWN])
        more = f"\n  and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
        raise WrongWeightsError(
            f"{file} holds the weights of another network:\n  {shown}{more}\nuse the model settings it was trained with"
        )


def _broken(file: Path) -> str:
    return f"{file}: not a safetensors file, or truncated; copy it again"
