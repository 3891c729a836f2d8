"""Loads trained networks for prediction and computes the weights of their average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from torch import nn

from mets3d import models
from mets3d.config import Config
from mets3d.data.plan import Plan, read_plan
from mets3d.files import sha256_of
from mets3d.models.weights import load_weights
from mets3d.regions import Target
from mets3d.rundir import RunDir, open_run

LARGEST = np.finfo(np.float32).max


@dataclass(frozen=True, eq=False)
class Member:
    """One trained network with what it needs."""

    run: RunDir
    config: Config
    plan: Plan
    target: Target
    network: nn.Module
    weights_sha256: str


def load_members(runs: Sequence[Path]) -> list[Member]:
    """Loads run directories, or folders that `mets3d export` wrote, with their weights, on the CPU.

    Raises FileNotFoundError for a folder that is not whole, and ValueError naming the file for weights of another
    network or a broken plan, and for members that answer other regions than the first.
    """
    members = [_load_member(open_run(run, needs=("config", "plan", "weights"))) for run in runs]
    first = members[0]
    for member in members[1:]:
        if member.target != first.target:
            raise ValueError(
                f"networks are averaged only where they answer the same regions: {first.run.path} has "
                f"{_in_words(first.target)}, {member.run.path} {_in_words(member.target)}; leave one of them out"
            )
    return members


def load_network(run: RunDir, config: Config, target: Target, sequences: int) -> nn.Module:
    """Builds the run's network with its weights. Raises ValueError if model.safetensors is another network's."""
    settings = config.model.model_copy(update={"vit_pretrained": None})  # all weights are the run's
    network = models.build(settings, in_channels=sequences, target=target, patch=config.data.patch)
    load_weights(network, run.weights)
    return network


def member_weights(words: Sequence[str], members: Sequence[Member]) -> Float32[np.ndarray, "M R"]:
    """Reads weights from words like `WT=1,2`: a channel's name, then one number per member.

    Channels that are not named weigh all members alike. Raises ValueError naming the word.
    """
    names = members[0].target.names
    weights = np.ones((len(members), len(names)), dtype=np.float32)
    given: dict[str, str] = {}
    for word in words:
        name, _, numbers = word.partition("=")
        if name not in names:
            raise ValueError(f"region weights {word}: expected one of {', '.join(names)} before the =")
        if name in given:
            raise ValueError(f"region weights {word}: {name} has weights already, {given[name]}; name it once")
        given[name] = word
        column = _column(numbers)
        if len(column) != len(members) or min(column) < 0 or not 0 < column.sum(dtype=np.float64) <= LARGEST:
            raise ValueError(
                f"region weights {word}: expected {len(members)} numbers from 0, not all 0, one a run in the order of "
                f"the runs, as in {name}={','.join('1' * len(members))}, their sum a number of single precision"
            )
        weights[:, names.index(name)] = column
    return weights


def _column(numbers: str) -> Float32[np.ndarray, " M"]:
    """Returns the numbers between the commas; none if one of them is no number."""
    try:
        with np.errstate(over="ignore", under="ignore"):
            return np.array([float(number) for number in numbers.split(",")]).astype(np.float32)
    except ValueError:
        return np.zeros(0, np.float32)


def _load_member(run: RunDir) -> Member:
    config = run.load_config()
    plan = read_plan(run.plan)
    target = Target(config.data.target, config.data.cavity)
    network = load_network(run, config, target, len(plan.sequences))
    return Member(run, config, plan, target, network, sha256_of(run.weights))


def _in_words(target: Target) -> str:
    return f"{target.kind} {', '.join(target.names)}"
