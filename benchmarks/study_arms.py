"""Lists the arms of benchmarks/study.py: which term is added to which network, and how much each run trains.

Only imported; run by itself it does nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness import RESULTS

RULES = "brats2026"
FEATURES, LEVELS = 8, 3  # 8, 16, 32, 64 channels
KEPT = RESULTS / "study"
CHOSEN = KEPT / "weights.json"  # what the inner split chose, by family
WEIGHTS = (0.03, 0.1, 0.3)  # shares of the base loss's gradient at the logits that the inner split tries
PUBLISHED_WEIGHT = 0.1  # of a family for which nothing was chosen

Mode = Literal["cnn", "decoder"]
MODES: tuple[Mode, ...] = ("cnn", "decoder")
BASE = "base"
# Each is one term beside the base loss, in its own setting's default form unless settings follow.
FAMILIES: Mapping[str, tuple[str, str]] = {
    "hausdorff": ("hausdorff_distance", "Hausdorff distance, as published"),
    "conditioned": ("hausdorff_conditioned", "Hausdorff distance, conditioned"),
    "log": ("hausdorff_log", "Hausdorff distance, logarithm"),
    "erosion": ("hausdorff_erosion", "Hausdorff by erosion"),
    "convolution": ("hausdorff_convolution", "Hausdorff by convolution"),
    "signed": ("signed_distance", "signed distance"),
    "blob": ("blob", "blob"),
    "cc_dice": ("cc_dice", "Dice and cross-entropy in each lesion's cell"),
}
FIVE_SEEDS = (BASE, "hausdorff", "conditioned")


@dataclass(frozen=True)
class Scale:
    """How much a run trains. tune: further steps of a fine-tuned arm."""

    patch: int
    batch: int
    steps: int
    tune: int

    def steps_of(self, arm: Arm) -> int:
        """Returns the steps of an arm: on the inner split half of them."""
        return self.tune if arm.after else self.steps // 2 if arm.inner else self.steps


FULL, TINY = Scale(patch=32, batch=2, steps=1600, tune=400), Scale(patch=16, batch=2, steps=8, tune=4)


@dataclass(frozen=True)
class Arm:
    """What is trained: a network with a term (None: the base loss alone).

    after: the arm whose weights of the same seed it starts from. weight: of the term; None: as chosen. inner: whether
    it trains and is scored on the inner split, for choosing weights, and for half of the steps.
    """

    what: str
    mode: Mode
    family: str | None = None
    after: str | None = None
    weight: float | None = None
    inner: bool = False
    seeds: int = 3


def arms() -> dict[str, Arm]:
    """Returns every arm by name, in the order in which they are shown."""
    of_study: dict[str, Arm] = {}
    for mode in MODES:
        of_study[f"{mode}-{BASE}"] = Arm("base loss", mode, seeds=5)
        for family, (_, what) in FAMILIES.items():
            of_study[f"{mode}-{family}"] = Arm(what, mode, family, seeds=5 if family in FIVE_SEEDS else 3)
        base = f"{mode}-{BASE}"
        of_study[f"{mode}-tuned-{BASE}"] = Arm("base loss, then further with it", mode, after=base)
        of_study[f"{mode}-tuned-hausdorff"] = Arm(
            "base loss, then further with the published Hausdorff term", mode, "hausdorff", after=base
        )
    inner = {
        f"inner-{family}-{weight:g}": Arm(
            f"{what}, weight {weight:g}", "cnn", family, weight=weight, inner=True, seeds=1
        )
        for family, (_, what) in FAMILIES.items()
        for weight in WEIGHTS
    }
    return of_study | {f"inner-{BASE}": Arm("base loss", "cnn", inner=True, seeds=1)} | inner


def chosen_weights() -> dict[str, float]:
    """Returns the weight of each family that the inner split has chosen, PUBLISHED_WEIGHT where it has not."""
    found = json.loads(CHOSEN.read_text(encoding="utf-8"))["weights"] if CHOSEN.exists() else {}
    return {family: found.get(family, PUBLISHED_WEIGHT) for family in FAMILIES}


def words_of(arm: Arm, scale: Scale, spacing_mm: Sequence[float]) -> list[str]:
    """Returns the settings of a run as words of a command line, all but its name, seed and folders."""
    steps = scale.steps_of(arm)
    rate = 0.0005 if arm.after else 0.002
    return [
        f"--model.mode={arm.mode}",
        f"--data.patch={[scale.patch] * 3}",
        f"--data.fold={1 if arm.inner else 0}",
        "--data.folds=2",
        "--data.workers=0",
        f"--preprocess.spacing_mm={list(spacing_mm)}",
        f"--model.strides={[[2, 2, 2]] * LEVELS}",
        f"--model.features={FEATURES}",
        "--model.queries=8",
        "--model.width=48",
        "--model.decoder_mlp=96",
        f"--optim.lr={rate}",
        f"--optim.warmup_steps={steps // 20}",
        f"--train.steps={steps}",
        f"--train.batch_size={scale.batch}",
        f"--train.checkpoint_every={max(1, steps // 5)}",
        # The weights of the last step are used, so that no held-out case chooses any.
        f"--validate.every={steps}",
        "--validate.cases=1",
        "--predict.window_batch=8",
        "--predict.overlap=0.25",
        *_of_term(arm),
    ]


def _of_term(arm: Arm) -> list[str]:
    if arm.family is None:
        return []
    weight = chosen_weights()[arm.family] if arm.weight is None else arm.weight
    ramp = "[0, 0.2]" if arm.after else "[0.1, 0.5]"
    return [
        f"--loss.boundary={FAMILIES[arm.family][0]}",
        "--loss.boundary_schedule=gradient",
        f"--loss.boundary_weight={weight}",
        f"--loss.boundary_ramp={ramp}",
    ]
