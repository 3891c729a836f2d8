"""Says under which study, variant, fold and seed a run is filed in W&B and trackio."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mets3d.config import Config

LONGEST = 64  # characters of a job type or tag that W&B takes


@dataclass(frozen=True)
class Labels:
    """How a run is filed.

    group: its study. job_type: its variant, so that a group falls into the arms of the study, and an arm's folds and
    seeds lie together. tags: network, terms of the loss, fold, seed, and what the settings add.
    """

    group: str
    job_type: str
    tags: tuple[str, ...]


def labels_of(config: Config) -> Labels:
    """Returns how a run is filed. Without `track.group` the study is its W&B sweep, or else all runs of its variant."""
    terms = config.loss.boundary_terms or ("base",)
    variant = f"{config.model.mode}-{'+'.join(terms)}"
    sweep = os.environ.get("WANDB_SWEEP_ID")
    derived = (config.model.mode, *terms, f"fold-{config.data.fold}", f"seed-{config.seed}")
    return Labels(
        group=config.track.group or (f"sweep-{sweep}" if sweep else variant),
        job_type=variant[:LONGEST],
        tags=tuple(dict.fromkeys([*(tag[:LONGEST] for tag in derived), *config.track.tags])),
    )
