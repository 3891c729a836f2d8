"""Plans a training: fingerprint, voxel size, patch and network, and what fits into the memory, each with its reason."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mets3d.config import Config, as_dict, flatten, validate
from mets3d.config.faults import ConfigError
from mets3d.config.tree import set_key
from mets3d.data import Progress, quiet
from mets3d.data.spacing import Wanted, target_spacing
from mets3d.ops.voxels import Spacing
from mets3d.planning import reasons, spacing
from mets3d.planning.fingerprint import Fingerprint, count_lesions
from mets3d.planning.fit import Fit, fit, updated
from mets3d.planning.nnunet import NnunetPlan
from mets3d.planning.topology import smaller, start_patch, topology_of
from mets3d.planning.write import Decision, as_yaml

LEAST_BATCH = 2
DECIDED = (
    "data.patch", "model.strides", "model.kernels", "train.accumulation", "train.recompute",
)  # fmt: skip
Brain = tuple[float, float, float]  # its extent in voxels
ASKED_SPACING, OF_PLANS = "as asked", "plans file"


@dataclass(frozen=True)
class Wish:
    """What a plan is made for.

    config: the base with what was asked laid over it. asked: the dotted keys that were asked for. base: the word that
    names the base in the file. name, file: of the run, and the path to write. memory_bytes: of the device. nnunet: a
    plan to follow, or None.
    """

    config: Config
    asked: frozenset[str]
    base: str
    name: str
    file: str
    memory_bytes: float
    nnunet: NnunetPlan | None = None


@dataclass(frozen=True)
class Plan:
    """A configuration, the text of its file, what to say about it, and the cases left out with the reason."""

    config: Config
    text: str
    summary: list[str]
    left_out: dict[str, str]


def make_plan(fingerprint: Fingerprint, wish: Wish, *, jobs: int = 1, progress: Progress = quiet) -> Plan:
    """Makes the plan for a data set. Raises ValueError if nothing fits, or what was asked does not go together."""
    wanted = _candidates(fingerprint, wish)
    rows, unread = count_lesions(fingerprint, wanted, cavity=wish.config.data.cavity, jobs=jobs, progress=progress)
    compared = spacing.compare(fingerprint, wanted, rows)
    chosen = _chosen(compared)
    fingerprint = fingerprint.without(unread)
    x, y, z = np.median(fingerprint.brains_in_voxels(chosen.wanted), axis=0).tolist()
    fitted = _fitted(fingerprint, wish, chosen.wanted, (x, y, z))
    region = spacing.region_shown(rows)
    case = reasons.Case(fingerprint, wish.memory_bytes, chosen, compared, region, (x, y, z), fitted)
    decisions = _decisions(wish, case)
    config = _checked(wish, decisions)
    header = reasons.header(case, wish.nnunet)
    return Plan(
        config,
        as_yaml([*header, *reasons.commands(case, wish.name, wish.file)], wish.base, decisions),
        header,
        fingerprint.left_out,
    )


# ---------------------------------------------------------------- voxel size


def _candidates(fingerprint: Fingerprint, wish: Wish) -> dict[str, Wanted]:
    found = spacing.candidates(fingerprint)
    if "preprocess.spacing_mm" in wish.asked:
        asked = wish.config.preprocess.spacing_mm
        return {**found, ASKED_SPACING: found[spacing.MEDIAN] if asked == "median" else asked}
    return found if wish.nnunet is None else {**found, OF_PLANS: wish.nnunet.spacing_mm}


def _chosen(compared: Sequence[spacing.Candidate]) -> spacing.Candidate:
    """Returns what was asked for, else that of the rule; 1 mm where no lesion is known."""
    given = [one for one in compared if one.name in (ASKED_SPACING, OF_PLANS)]
    if given:
        return given[0]
    return spacing.choose(compared) if any(sum(one.lesions) for one in compared) else compared[0]


# ---------------------------------------------------------------- network and memory


def _fitted(fingerprint: Fingerprint, wish: Wish, wanted: Wanted, brain: Brain) -> Fit:
    config = _sized(wish)
    if wish.nnunet is not None:
        return fit(config, wish.nnunet.topology, wish.memory_bytes, lambda _: None)
    size_mm = _usual(fingerprint, wanted)
    topology = topology_of(size_mm, start_patch(size_mm, brain))
    return fit(config, topology, wish.memory_bytes, lambda one: smaller(size_mm, one, brain))


def _usual(fingerprint: Fingerprint, wanted: Wanted) -> Spacing:
    """Returns the voxel size of a store, the median of its cases."""
    sizes = [target_spacing(facts.spacing_mm, wanted) for facts in fingerprint.cases]
    x, y, z = (statistics.median(axis) for axis in zip(*sizes, strict=True))
    return x, y, z


def _sized(wish: Wish) -> Config:
    """Returns the configuration with channels, batch and precision of the plan."""
    config, plan = wish.config, wish.nnunet
    model = {} if plan is None else {"features": plan.features, "max_features": plan.max_features}
    model = {key: value for key, value in model.items() if value and f"model.{key}" not in wish.asked}
    least = 1 if "train.batch_size" in wish.asked else LEAST_BATCH
    config = updated(config, model=model, train={"batch_size": max(least, config.train.batch_size)})
    return config if config.precision else config.model_copy(update={"precision": "bf16"})


# ---------------------------------------------------------------- decisions


def _decisions(wish: Wish, case: reasons.Case) -> dict[str, Decision]:
    """Returns the settings of the plan by dotted key: what was asked for, and what follows."""
    config = case.fit.config
    values = flatten(as_dict(config))
    found = reasons.of_network(case, wish.nnunet)
    if not wish.config.precision:
        found["precision"] = reasons.of_precision(case)
    found["name"] = "of this file"
    found["data.store"] = "of its own: a store of other settings is refused"
    found["preprocess.spacing_mm"] = reasons.of_spacing(case)
    values |= {
        "name": wish.name,
        "data.store": f"stores/{wish.name}",
        "preprocess.spacing_mm": case.chosen.wanted,
    }
    decisions = {key: Decision(values[key], reason) for key, reason in found.items()}
    asked = {key: Decision(flatten(as_dict(wish.config))[key], "as asked") for key in _leaves(wish)}
    return decisions | {key: one for key, one in asked.items() if key != "preprocess.spacing_mm"}


def _leaves(wish: Wish) -> list[str]:
    """Returns the keys of settings that were asked for."""
    return [key for key in flatten(as_dict(wish.config)) if key in wish.asked]


def _checked(wish: Wish, decisions: Mapping[str, Decision]) -> Config:
    """Returns the configuration of the file. Raises ValueError for settings that do not go together."""
    tree = as_dict(wish.config)
    for key, decision in decisions.items():
        set_key(tree, key, decision.value, [])
    try:
        config = validate(tree, [])
    except ConfigError as error:
        raise ValueError(str(error)) from None
    _check_levels(config)
    return config


def _check_levels(config: Config) -> None:
    """Raises ValueError where settings of the base name more levels than the planned network has."""
    model, levels = config.model, len(config.model.strides)
    if model.deep_heads is not None and model.deep_heads >= levels:
        raise ValueError(
            f"model.deep_heads is {model.deep_heads}; the planned network has {levels} strides and so at most "
            f"{levels - 1} heads below full resolution"
        )
    if model.has_queries and model.memory_fpn > levels + 1:
        raise ValueError(f"model.memory_fpn is {model.memory_fpn}; the planned network has {levels + 1} feature maps")
    if model.has_queries and any(level < -(levels + 1) for level in model.memory_levels or ()):
        raise ValueError(
            f"model.memory_levels is {list(model.memory_levels or ())}; the planned network has the feature maps "
            f"{-(levels + 1)} to -1"
        )
