"""Reads spacing, patch, strides and kernels from a plans file of nnU-Net v2, in the present or the older form.

nnU-Net's axes are those of its arrays, Z Y X, in the order that `transpose_forward` gives; ours are X Y Z.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mets3d.files import NUMBER, OBJECT, Kind, read_object
from mets3d.ops.voxels import Shape3, Spacing
from mets3d.planning.topology import Topology

CONFIGURATION = "3d_fullres"


@dataclass(frozen=True)
class NnunetPlan:
    """What a plans file says of a configuration, along X Y Z. `remarks` names what this network does otherwise."""

    file: str
    spacing_mm: Spacing
    topology: Topology
    features: int | None
    max_features: int | None
    remarks: tuple[str, ...]


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def _are(count: int, fits: Any) -> Any:
    return lambda value: isinstance(value, list) and len(value) == count and all(map(fits, value))


ORDER = Kind("an order of the axes, as [0, 1, 2]", lambda value: isinstance(value, list) and sorted(value) == [0, 1, 2])
SIDES = Kind(
    "three numbers above 0",
    _are(3, lambda side: NUMBER.fits(side) and math.isfinite(side) and side > 0),
)
SIZES = Kind("three whole numbers from 1", _are(3, _is_count))
STAGES = Kind(
    "a list of three whole numbers from 1 for each stage",
    lambda value: isinstance(value, list) and len(value) > 1 and all(map(SIZES.fits, value)),
)
WIDTHS = Kind(
    "a list of channels, one number a stage",
    lambda value: isinstance(value, list) and len(value) > 1 and all(map(_is_count, value)),
)
COUNT = Kind("a whole number from 1", _is_count)


def read_nnunet_plan(path: Path) -> NnunetPlan:
    """Reads the configuration 3d_fullres of a plans file.

    Raises FileNotFoundError, and ValueError naming the file, the key, what is expected there and what was found.
    """
    content = read_object(
        path,
        {"configurations": OBJECT, "transpose_forward": ORDER},
        advice="name the plans file of nnU-Net v2, nnUNetPlans.json",
    )
    chosen = _configuration(path, content["configurations"], CONFIGURATION, ())
    at = f"{path}: configurations.{CONFIGURATION}."
    order = [content["transpose_forward"].index(2 - axis) for axis in range(3)]  # of ours among theirs

    def xyz(values: Sequence[Any]) -> Any:
        x, y, z = (values[index] for index in order)
        return x, y, z

    spacing = xyz(_value(at, chosen, ["spacing"], SIDES))
    patch: Shape3 = xyz(_value(at, chosen, ["patch_size"], SIZES))
    architecture = chosen.get("architecture", {})
    inner = architecture.get("arch_kwargs", {}) if isinstance(architecture, dict) else {}
    inner = inner if isinstance(inner, dict) else {}
    both = {**chosen, **{f"architecture.arch_kwargs.{key}": value for key, value in inner.items()}}
    kernels = _value(at, both, ["architecture.arch_kwargs.kernel_sizes", "conv_kernel_sizes"], STAGES)
    strides = _value(at, both, ["architecture.arch_kwargs.strides", "pool_op_kernel_sizes"], STAGES)
    strides = _below_the_first(at, strides, kernels)
    topology = Topology(patch, tuple(xyz(stride) for stride in strides), tuple(xyz(kernel) for kernel in kernels))
    _check(at, topology)
    features, most, remarks = _features(at, both, len(kernels))
    return NnunetPlan(path.name, spacing, topology, features, most, (*remarks, *_remarks(chosen, both)))


# ---------------------------------------------------------------- keys


def _configuration(path: Path, every: Mapping[str, Any], name: str, seen: tuple[str, ...]) -> dict[str, Any]:
    """Returns a configuration laid over the one that it inherits from."""
    if name not in every or not isinstance(every[name], dict):
        raise ValueError(
            f"{path}: configurations.{name}: expected a configuration of a 3-D network, found "
            f"{', '.join(every) or 'none'}"
        )
    own = every[name]
    parent = own.get("inherits_from")
    if parent is None:
        return dict(own)
    if parent in (*seen, name):
        raise ValueError(f"{path}: configurations.{name}.inherits_from leads back to {parent}")
    return {**_configuration(path, every, parent, (*seen, name)), **own}


def _value(at: str, content: Mapping[str, Any], keys: Sequence[str], kind: Kind) -> Any:
    """Returns the value of the first of the keys that is there."""
    key = next((key for key in keys if key in content), None)
    if key is None:
        raise ValueError(f"{at}{keys[0]}: expected {kind.words}, found no such key")
    if not kind.fits(content[key]):
        raise ValueError(f"{at}{key}: expected {kind.words}, found {content[key]!r}")
    return content[key]


def _below_the_first(at: str, strides: list[list[int]], kernels: list[list[int]]) -> list[list[int]]:
    """Returns the strides between the stages; version 2 lists one of the first stage too."""
    if len(strides) == len(kernels) - 1:
        return strides
    if len(strides) == len(kernels) and strides[0] == [1, 1, 1]:
        return strides[1:]
    raise ValueError(
        f"{at}strides: expected [1, 1, 1] and one entry for each further of the {len(kernels)} stages, found "
        f"{len(strides)} that begin with {strides[0]}"
    )


def _check(at: str, topology: Topology) -> None:
    for name, size, step in zip("XYZ", topology.patch, topology.divisor, strict=True):
        if size % step:
            raise ValueError(f"{at}patch_size: expected a multiple of {step} along {name}, found {size}")
    if topology.bottleneck == (1, 1, 1):
        raise ValueError(f"{at}patch_size: expected more than one voxel at the bottleneck, found one")
    if any(side % 2 == 0 for kernel in topology.kernels for side in kernel):
        raise ValueError(f"{at}kernel_sizes: expected odd sizes, found {[list(kernel) for kernel in topology.kernels]}")


# ---------------------------------------------------------------- network


def _features(at: str, content: Mapping[str, Any], stages: int) -> tuple[int | None, int | None, list[str]]:
    """Returns the channels of the first stage and their cap; a remark in their place where they do not double."""
    name = "architecture.arch_kwargs.features_per_stage"
    if name in content:
        widths = _value(at, content, [name], WIDTHS)
        if len(widths) != stages:
            raise ValueError(f"{at}{name}: expected {stages} numbers, one a stage, found {len(widths)}")
        if widths != [min(widths[0] * 2**level, max(widths)) for level in range(stages)]:
            return None, None, [f"its channels {widths} do not double up to a cap, as those of this network do"]
        return widths[0], max(widths), []
    if "UNet_base_num_features" not in content:
        return None, None, ["it says no channels"]
    first = _value(at, content, ["UNet_base_num_features"], COUNT)
    most = _value(at, {"unet_max_num_features": 320, **content}, ["unet_max_num_features"], COUNT)
    return first, max(first, most), []


def _remarks(chosen: Mapping[str, Any], content: Mapping[str, Any]) -> list[str]:
    """Names what the plan's network has and this one has not."""
    remarks = []
    named = chosen.get("architecture", chosen)
    network = named.get("network_class_name", named.get("UNet_class_name")) if isinstance(named, dict) else None
    if isinstance(network, str) and "Plain" not in network and "Generic" not in network:
        remarks.append(f"its network is {network.rpartition('.')[2]}, this one has two plain convolutions a stage")
    keys = ("architecture.arch_kwargs.n_conv_per_stage", "n_conv_per_stage_encoder")
    counts: list[Any] = next((content[key] for key in keys if isinstance(content.get(key), list)), [])
    if any(count != 2 for count in counts):
        remarks.append(f"it has {counts} convolutions a stage, this network two")
    if isinstance(chosen.get("batch_size"), int):
        remarks.append(f"its batch is {chosen['batch_size']}")
    return remarks
