"""Lists the arms of benchmarks/recipe.py: what each run trains, and how much.

Only imported; run by itself it does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    "long": Scale(patch=48, batch=2, steps=5000, seeds=3),  # for a GPU
    "ablate": Scale(patch=32, batch=2, steps=600, seeds=2),
    "tiny": Scale(patch=16, batch=2, steps=4, seeds=1),
}


@dataclass(frozen=True)
class Arm:
    """What is trained. settings: what it changes in the recommended recipe. mirrored: predicted that way as well."""

    what: str
    settings: tuple[str, ...] = ()
    mode: Literal["cnn", "decoder"] = "decoder"
    scale: Literal["compare", "long", "ablate"] = "ablate"
    side: Literal["ours", "nnunet"] = "ours"
    mirrored: bool = False
    against: str | None = None  # the arm that it is compared with


def _rivals(scale: Literal["compare", "long"], ending: str) -> dict[str, Arm]:
    """Returns nnU-Net and our modes with the recommended recipe."""
    nnunet = f"nnunet{ending}"
    return {
        nnunet: Arm("nnU-Net v2 itself", scale=scale, side="nnunet", mirrored=True),
        f"cnn{ending}": Arm("our recipe, mode cnn", mode="cnn", scale=scale, mirrored=True, against=nnunet),
        f"decoder{ending}": Arm("our recipe, mode decoder", scale=scale, mirrored=True, against=nnunet),
    }


def _changes(mode: Literal["cnn", "decoder"], against: str, rows: Mapping[str, tuple[str, ...]]) -> dict[str, Arm]:
    """Returns an arm for each row: a name, what it changes in words, and its settings."""
    return {f"{mode}-{name}": Arm(what, tuple(words), mode, against=against) for name, (what, *words) in rows.items()}


SGD = ("optim.name=sgd", "optim.lr=0.01", "optim.schedule=poly", "optim.warmup_steps=0")
ARMS: dict[str, Arm] = {
    **_rivals("compare", ""),
    **_rivals("long", "-long"),
    "base": Arm("the recommended recipe", mirrored=True),
    "base-cnn": Arm("the recommended recipe", mode="cnn", mirrored=True),
    **_changes(
        "cnn",
        "base-cnn",
        {
            "head-bias-off": ("heads without bias", "model.head_bias=null"),
            "batch-dice": ("Dice of the batch, not of each sample", "loss.batch_dice=true"),
            "deep-targets-max": ("targets of the deep heads by maximum", "loss.deep_targets=max"),
            "deep-supervision-off": ("no deep supervision", "model.deep_supervision=false"),
            "rate-half": ("rate 0.001", "optim.lr=0.001"),
            "rate-double": ("rate 0.004", "optim.lr=0.004"),
            "sgd": ("SGD 0.99 with poly, nnU-Net's rate", *SGD),
        },
    ),
    **_changes(
        "decoder",
        "base",
        {
            "head-bias-off": ("deep heads without bias", "model.head_bias=null"),
            "no-object-prior": ("queries begin as `no object` at 0.9", "model.no_object_prior=0.9"),
            "batch-dice": ("deep heads' Dice of the batch", "loss.batch_dice=true"),
            "deep-targets-max": ("targets of the deep heads by maximum", "loss.deep_targets=max"),
            "deep-supervision-off": ("no deep supervision", "model.deep_supervision=false"),
            "query-final": ("the final query prediction alone in the loss", "loss.query_predictions=final"),
            "augment-none": ("no augmentation", "augment.preset=none"),
            "augment-spatial": ("movements alone", "augment.preset=spatial"),
            "augment-brats-regions": ("the original's list", "augment.preset=brats_regions"),
            "bias-field": ("and a bias field at 0.2", "augment.bias_field=0.2"),
            "copy-paste": ("and lesions of other cases pasted in at 0.3", "augment.copy_paste=0.3"),
            "sequence-dropout": ("and each sequence dropped at 0.1", "augment.sequence_dropout=0.1"),
            "lesion-cap-off": ("every lesion of a case counts", "data.lesions_per_case=null"),
            "lesion-half": ("half of the samples on a lesion, as nnU-Net's batch of two", "data.lesion_fraction=0.5"),
            "ema": ("mean of the weights, decay 0.99", "optim.ema=0.99"),
            "poly": ("poly 0.9", "optim.schedule=poly"),
            "constant": ("constant rate", "optim.schedule=constant"),
            "step": ("a tenth at each third", "optim.schedule=step", "optim.step_every={third}"),
            "warmup-off": ("no warm-up", "optim.warmup_steps=0"),
            "layer-decay": ("rate falls by 0.75 a layer of the query decoder", "optim.layer_decay=0.75"),
            "decay-on-all": ("weight decay on norms, biases, embeddings too", "optim.weight_decay_on=all"),
            "decay-strong": ("weight decay 0.05", "optim.weight_decay=0.05"),
            "adam": ("Adam, decay in the gradient", "optim.name=adam"),
            "rate-half": ("rate 0.001", "optim.lr=0.001"),
            "rate-double": ("rate 0.004", "optim.lr=0.004"),
            "sgd": ("SGD 0.99 with poly, nnU-Net's rate", *SGD),
        },
    ),
}
GROUPS = {
    scale: tuple(name for name, arm in ARMS.items() if arm.scale == scale) for scale in ("compare", "long", "ablate")
}


def words_of(arm: Arm, scale: Scale, spacing_mm: Sequence[float]) -> list[str]:
    """Returns the settings of a run of ours as words of a command line; the arm's own come last."""
    patch, strides = [scale.patch] * 3, [[2, 2, 2]] * LEVELS
    return [
        f"--model.mode={arm.mode}",
        f"--data.patch={patch}",
        "--data.workers=0",
        f"--preprocess.spacing_mm={list(spacing_mm)}",
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
        "--predict.window_batch=8",
        *(f"--{setting.format(third=scale.steps // 3)}" for setting in arm.settings),
    ]
