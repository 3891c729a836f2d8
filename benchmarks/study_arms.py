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
WEIGHTS = (0.03, 0.1, 0.3, 1.0)  # shares of the base loss's gradient at the logits that the inner split tries
PUBLISHED_WEIGHT = 0.1  # of a family for which nothing was chosen

Mode = Literal["cnn", "decoder"]
MODES: tuple[Mode, ...] = ("cnn", "decoder")
BASE, START = "base", "start"
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
FIVE_SEEDS = ("hausdorff", "conditioned")
MOST_SEEDS = 5  # of the base loss and of the arms that are tested; of the others three
TRIED_SEEDS = 10  # starts that are trained at most to find so many that count
LEARNED = 0.1  # whole-volume Dice of each of WT, TC and ET that a start must reach on the inner heads to count


@dataclass(frozen=True)
class Scale:
    """How much is trained: steps of a start, further steps of an arm after it, and of one that goes on after an arm."""

    patch: int
    batch: int
    start: int
    steps: int
    tune: int

    def steps_of(self, arm: Arm) -> int:
        """Returns the steps of an arm: on the inner split half of them."""
        return (self.start, self.steps // 2 if arm.inner else self.steps, self.tune)[arm.depth]


FULL = Scale(patch=24, batch=4, start=1000, steps=800, tune=400)
TINY = Scale(patch=16, batch=4, start=8, steps=8, tune=4)
RATES = (0.002, 0.001, 0.0005)  # of a start, of what comes after it, and after that
LESION_FRACTIONS = (0.8, 0.5, 0.5)  # a start is to learn every region, an arm to leave right background alone


@dataclass(frozen=True)
class Arm:
    """What is trained: a network with a term (None: the base loss alone).

    after: the arm whose weights of the same seed it starts from; None: a start, from which all arms of a mode begin.
    weight: of the term; None: as chosen. inner: whether it is trained and scored on the inner split, for choosing
    weights, and for half of the steps. seeds: how many of those that count.
    """

    what: str
    mode: Mode
    family: str | None = None
    after: str | None = None
    weight: float | None = None
    inner: bool = False
    seeds: int = 3

    @property
    def depth(self) -> int:
        """How many arms were trained before: 0 of a start, 1 of what is compared, 2 of what goes on after that."""
        return 0 if self.after is None else 1 if self.after == start_of(self.mode) else 2


def start_of(mode: str) -> str:
    """Returns the name of the arm from which all others of a mode begin."""
    return f"{mode}-{START}"


def arms() -> dict[str, Arm]:
    """Returns every arm by name, in the order in which they are shown."""
    of_study: dict[str, Arm] = {}
    for mode in MODES:
        start, base = start_of(mode), f"{mode}-{BASE}"
        of_study[start] = Arm("what all arms begin from", mode, seeds=MOST_SEEDS)
        of_study[base] = Arm("base loss", mode, after=start, seeds=MOST_SEEDS)
        for family, (_, what) in FAMILIES.items():
            seeds = MOST_SEEDS if family in FIVE_SEEDS else 3
            of_study[f"{mode}-{family}"] = Arm(what, mode, family, after=start, seeds=seeds)
        of_study[f"{mode}-tuned-{BASE}"] = Arm("base loss, then further with it", mode, after=base)
        of_study[f"{mode}-tuned-hausdorff"] = Arm(
            "base loss, then further with the published Hausdorff term", mode, "hausdorff", after=base
        )
    start = start_of("cnn")
    inner = {
        f"inner-{family}-{weight:g}": Arm(
            f"{what}, weight {weight:g}", "cnn", family, after=start, weight=weight, inner=True, seeds=1
        )
        for family, (_, what) in FAMILIES.items()
        for weight in WEIGHTS
    }
    return of_study | {f"inner-{BASE}": Arm("base loss", "cnn", after=start, inner=True, seeds=1)} | inner


def chosen_weights() -> dict[str, float]:
    """Returns the weight of each family that the inner split has chosen, PUBLISHED_WEIGHT where it has not."""
    found = json.loads(CHOSEN.read_text(encoding="utf-8"))["weights"] if CHOSEN.exists() else {}
    return {family: found.get(family, PUBLISHED_WEIGHT) for family in FAMILIES}


def words_of(arm: Arm, scale: Scale, spacing_mm: Sequence[float]) -> list[str]:
    """Returns the settings of a run as words of a command line, all but its name, seed and folders."""
    steps = scale.steps_of(arm)
    return [
        f"--model.mode={arm.mode}",
        f"--data.patch={[scale.patch] * 3}",
        f"--data.fold={fold_of(arm)}",
        "--data.folds=2",
        f"--data.lesion_fraction={LESION_FRACTIONS[arm.depth]}",
        "--data.workers=0",
        f"--preprocess.spacing_mm={list(spacing_mm)}",
        f"--model.strides={[[2, 2, 2]] * LEVELS}",
        f"--model.features={FEATURES}",
        "--model.queries=8",
        "--model.width=48",
        "--model.decoder_mlp=96",
        "--loss.batch_dice=true",
        f"--optim.lr={RATES[arm.depth]}",
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


def fold_of(arm: Arm) -> int:
    """Returns the fold of an arm: a start and the inner arms know nothing of the heads that the study holds out."""
    return 1 if arm.inner or arm.depth == 0 else 0


def _of_term(arm: Arm) -> list[str]:
    if arm.family is None:
        return []
    weight = chosen_weights()[arm.family] if arm.weight is None else arm.weight
    return [
        f"--loss.boundary={FAMILIES[arm.family][0]}",
        "--loss.boundary_schedule=gradient",
        f"--loss.boundary_weight={weight}",
        "--loss.boundary_ramp=[0, 0.2]",
    ]
