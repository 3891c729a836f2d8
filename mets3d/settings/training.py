"""Holds the settings of how a loss is minimised: the optimizer, the length of a run, its validation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mets3d.settings.kinds import Section

Axes = tuple[Annotated[int, Field(ge=0, le=2)], ...]
Moment = Annotated[float, Field(ge=0, lt=1)]


class Optim(Section):
    """How the loss is minimised."""

    name: Literal["adamw", "adam", "sgd"] = Field("adamw", description="AdamW, Adam, or SGD with Nesterov momentum")
    lr: float = Field(3e-4, gt=0, description="peak learning rate")
    schedule: Literal["cosine", "poly", "constant", "step"] = Field(
        "cosine", description="how it falls after the warm-up"
    )
    min_lr: float = Field(0.0, ge=0, description="learning rate to which cosine and poly fall")
    poly_power: float = Field(0.9, gt=0, description="exponent of poly")
    step_every: int | None = Field(None, description="optimizer steps between the drops of step")
    step_factor: float = Field(0.1, gt=0, lt=1, description="factor of each drop")
    warmup_steps: int = Field(500, ge=0, description="optimizer steps of linear warm-up")
    layer_decay: float | None = Field(
        None, gt=0, le=1, description="factor on the rate per layer down, in ViT and query decoder; none: all alike"
    )
    weight_decay: float = Field(3.0e-05, ge=0, description="decoupled for AdamW, L2 for Adam and SGD")
    weight_decay_on: Literal["weights", "all"] = Field(
        "weights", description="weights alone, or norms, biases and embeddings, too"
    )
    betas: tuple[Moment, Moment] = Field((0.9, 0.999), description="momenta of AdamW and Adam")
    momentum: float = Field(0.99, ge=0, lt=1, description="of SGD")
    clip_norm: float = Field(12.0, gt=0, description="global gradient norm above which gradients are scaled down")
    ema: float | None = Field(
        None, gt=0, lt=1, description="decay of a running mean of the weights, which is scored and exported; none: off"
    )

    @property
    def numbers_kept(self) -> int:
        """Returns how many numbers the optimizer keeps for each parameter that is trained: moments, or a momentum."""
        return int(self.momentum > 0) if self.name == "sgd" else 2

    @model_validator(mode="after")
    def _schedule_has_steps(self) -> Optim:
        # Not a bound of the field: a value out of bounds is set aside as if it had not been given, a second fault here.
        if self.step_every is not None and self.step_every < 1:
            raise ValueError(f"step_every is {self.step_every}; expected the optimizer steps between two drops, from 1")
        if self.schedule == "step" and self.step_every is None:
            raise ValueError("schedule is step and step_every none; expected the optimizer steps between two drops")
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr is {self.min_lr:g} and lr {self.lr:g}; expected min_lr to be the smaller one")
        return self


class Train(Section):
    """The length of a run, its batch and its checkpoints."""

    steps: int = Field(31_250, gt=0, description="optimizer steps of the whole run")
    schedule_steps: int | None = Field(
        None, gt=0, description="steps of the curves of learning rate and boundary weight, then they hold; none: steps"
    )
    batch_size: int = Field(2, gt=0, description="global batch: samples per optimizer step over all processes")
    accumulation: int = Field(1, gt=0, description="forward passes per optimizer step and process")
    checkpoint_every: int = Field(500, gt=0, description="optimizer steps between checkpoints")
    keep_checkpoints: int = Field(2, gt=0, description="newest checkpoints kept beside the best")
    max_skipped: int = Field(5, gt=0, description="non-finite losses in a row that end the run")
    debug_non_finite: bool = Field(False, description="end at the first one and name its first layer; waits every step")
    deterministic: bool = Field(False, description="two runs on a GPU are equal bit for bit; slower")
    compile: bool = Field(False, description="torch.compile the network")
    compile_loss: bool = Field(False, description="torch.compile the loss")
    channels_last: bool = Field(False, description="channels beside each other in memory, not voxels")
    recompute: int = Field(
        0, ge=0, description="finest levels whose activations are computed once more for the gradient; saves memory"
    )

    @property
    def curve_steps(self) -> int:
        """Returns the number of steps over which learning rate and boundary weight change."""
        return self.schedule_steps or self.steps


class Validate(Section):
    """When, on how many cases and by which rules a run is scored while it trains."""

    every: int = Field(1000, gt=0, description="optimizer steps between validations")
    cases: int | None = Field(
        None, gt=0, description="size of a fixed subset of the held-out cases for them; none: all"
    )
    all_every: int | None = Field(
        None, gt=0, description="optimizer steps between validations on all of them; none: where `cases` is none"
    )
    rules: Literal["brats2023", "brats2024", "brats2026"] = Field(
        "brats2026", description="rule set of lesion-wise scores, of the run and of what tunes, scores and reports it"
    )
    best_by: Literal["lesion_wise_dice", "lesion_f1", "dice"] = Field(
        "lesion_wise_dice", description="score whose mean over regions decides which weights are the best"
    )
    mirror: Axes = Field((), description="axes whose mirrored copies are averaged, as in predict.mirror")
    patience: int | None = Field(
        None, gt=0, description="validations without a better score after which the run ends; none: it goes to its end"
    )

    @model_validator(mode="after")
    def _axes_differ(self) -> Validate:
        if len(set(self.mirror)) != len(self.mirror):
            raise ValueError(f"mirror is {list(self.mirror)}; expected each axis once")
        return self
