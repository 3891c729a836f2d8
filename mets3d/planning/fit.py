"""Fits a training into a memory: the batch in parts first, then activations computed twice, then a smaller patch.

The first two change no result, so the patch is the last to go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from mets3d.config import Config
from mets3d.planning.memory import GB, Need, need
from mets3d.planning.topology import Topology
from mets3d.regions import Target

MOST = 64  # samples of a batch that is looked at
Shrink = Callable[[Topology], Topology | None]


@dataclass(frozen=True)
class Fit:
    """A configuration that fits, its network, and what it needs.

    at_once, kept, in_fp32: what it would need with the whole batch at once, without computing activations twice, and
    in fp32. largest_batch: samples that fit at once. wanted: the network before its patch was made smaller.
    """

    config: Config
    topology: Topology
    need: Need
    at_once: Need
    kept: Need
    in_fp32: Need
    largest_batch: int
    wanted: Topology


def fit(config: Config, topology: Topology, memory_bytes: float, shrink: Shrink) -> Fit:
    """Returns the first that fits: patches as `shrink` yields them, for each as few recomputed levels as possible, and
    for each of those as few parts of the batch.

    Raises ValueError, with the least that was tried, if none fits.
    """
    tried: Topology | None = topology
    least: tuple[Config, Need] | None = None
    while tried is not None:
        for recompute in range(len(tried.strides) + 2):
            for parts in _divisors(config.train.batch_size):
                one = with_network(config, tried, recompute=recompute, accumulation=parts)
                found = needed(one)
                if found.device <= memory_bytes:
                    return _fit(one, tried, found, topology, memory_bytes)
                if least is None or found.device < least[1].device:
                    least = one, found
        tried = shrink(tried)
    assert least is not None
    smallest, found = least
    patch = "x".join(map(str, smallest.data.patch))
    raise ValueError(
        f"{memory_bytes / GB:g} GB are too little: the least that was tried, patches of {patch} one by one with every "
        f"level computed twice, needs {found.device / GB:.1f} GB; give more --memory-gb, lower model.features, or use "
        f"another --mode than {config.model.mode}"
    )


def needed(config: Config) -> Need:
    """Returns the memory of a configuration's training step in one process."""
    channels = Target(config.data.target, config.data.cavity).channels
    return need(config, sequences=len(config.data.sequences), channels=channels)


def with_network(config: Config, topology: Topology, **train: int) -> Config:
    """Returns the configuration with another patch, strides and kernels, and settings of `train`."""
    kernels = None if topology.threes else topology.kernels
    return updated(
        config,
        data={"patch": topology.patch},
        model={"strides": topology.strides, "kernels": kernels},
        train=train,
    )


def updated(config: Config, **sections: dict[str, Any]) -> Config:
    """Returns the configuration with other values of some sections, which are not checked."""
    return config.model_copy(
        update={name: getattr(config, name).model_copy(update=values) for name, values in sections.items()}
    )


def _fit(config: Config, topology: Topology, found: Need, wanted: Topology, memory_bytes: float) -> Fit:
    at_once = [updated(config, train={"batch_size": size, "accumulation": 1}) for size in range(1, MOST + 1)]
    batch = sum(1 for _ in takewhile(lambda one: needed(one).device <= memory_bytes, at_once))
    return Fit(
        config,
        topology,
        found,
        at_once=needed(updated(config, train={"accumulation": 1})),
        kept=needed(updated(config, train={"recompute": 0})),
        in_fp32=needed(config.model_copy(update={"precision": "no"})),
        largest_batch=batch,
        wanted=wanted,
    )


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
