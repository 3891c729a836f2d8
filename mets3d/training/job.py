"""Defines the job: everything that decides which network a run trains, on which data, by which loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mets3d.config import Config
from mets3d.data.loader import Samples
from mets3d.data.store import Store
from mets3d.losses import LossFunction
from mets3d.regions import Target
from mets3d.rundir import RunDir
from mets3d.training.begin_from import Origin
from mets3d.training.stop import StopWish

# Scores of the held-out cases by name, empty without a case; None if a signal or an error came meanwhile. The last
# argument: whether all cases are scored, not only those of the subset.
Validation = Callable[[nn.Module, StopWish, bool], Mapping[str, float] | None]


@dataclass(frozen=True)
class Job:
    """A run before it starts. `train.py` composes it; `open_session` brings it onto the devices.

    records: contents of the JSON files that the run directory gets at its start, by path.
    remarks: on the data and on the weights that it begins with, for the user.
    origin: the checkpoint of another run whose optimizer or step it begins with.
    """

    config: Config
    run: RunDir
    network: nn.Module
    loss: LossFunction
    samples: Samples
    target: Target
    validate: Validation
    records: Mapping[Path, Any]
    store: Store
    remarks: Sequence[str] = ()
    origin: Origin | None = None
