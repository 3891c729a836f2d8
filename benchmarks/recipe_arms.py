"""Lists the arms of benchmarks/recipe.py: what each run trains, and how much.

Only imported; run by itself it does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RULES = "brats2026"
FEATURES, LEVELS = 8, 3  # of both networks: 8, 16, 32, 64 channels


@dataclass(frozen=True)
class Scale:
    """How much an arm trains, and with how many seeds."""

    patch: int
    batch: int
    steps: int
    seeds: int


SCALES = {
    "compare": Scale(patch=48, batch=2, steps=1500, seeds=3),
    "ablate": Scale(patch=32, batch=2, steps=700, seeds=2),
    "tiny": Scale(patch=16, batch=2, steps=4, seeds=1),
}


@dataclass(frozen=True)
class Arm:
    """What is trained. settings: what it changes in the recommended recipe. mirrored: predicted that way as well."""

    what: str
    settings: tuple[str, ...] = ()
    mode: Literal["cnn", "decoder"] = "decoder"
    scale: Literal["compare", "ablate"] = "ablate"
    side: Literal["ours", "nnunet"] = "ours"
    mirrored: bool = False
    against: str | None = None  # the arm that it is compared with


ARMS: dict[str, Arm] = {
    "nnunet": Arm("nnU-Net v2 itself", scale="compare", side="nnunet", mirrored=True),
    "cnn": Arm("our recipe, mode cnn", mode="cnn", scale="compare", mirrored=True, against="nnunet"),
    "decoder": Arm("our recipe, mode decoder", scale="compare", mirrored=True, against="nnunet"),
    "base": Arm("the recommended recipe, mode decoder", mirrored=True),
    "base-cnn": Arm("the recommended recipe, mode cnn", mode="cnn", mirrored=True),
}
GROUPS = {scale: tuple(name for name, arm in ARMS.items() if arm.scale == scale) for scale in ("compare", "ablate")}


def words_of(arm: Arm, scale: Scale) -> list[str]:
    """Returns the settings of a run of ours as words of a command line; the arm's own come last."""
    patch, strides = [scale.patch] * 3, [[2, 2, 2]] * LEVELS
    return [
        f"--model.mode={arm.mode}",
        f"--data.patch={patch}",
        "--data.workers=0",
        f"--model.strides={strides}",
        f"--model.features={FEATURES}",
        "--model.queries=8",
        "--model.width=48",
        "--model.decoder_mlp=96",
        "--optim.lr=0.002",
        f"--optim.warmup_steps={scale.steps // 20}",
        f"--train.steps={scale.steps}",
        f"--train.batch_size={scale.batch}",
        f"--train.checkpoint_every={max(1, scale.steps // 5)}",
        # The last weights are used: no held-out case chooses any, nor does it for nnU-Net.
        f"--validate.every={scale.steps}",
        "--validate.cases=1",
        *(f"--{setting}" for setting in arm.settings),
    ]
