"""Holds every setting of a run: its kind, default and meaning, and which go together. `config` reads them."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator

from mets3d.settings.augment import Augment
from mets3d.settings.data import READING, Data, Preprocess
from mets3d.settings.kinds import Count, Counts, Section
from mets3d.settings.loss import Loss
from mets3d.settings.track import Track
from mets3d.settings.training import Axes, Optim, Train, Validate
from mets3d.wording import agreed, counted

__all__ = [
    "READING",
    "Augment",
    "Config",
    "Count",
    "Data",
    "Loss",
    "Model",
    "Optim",
    "Predict",
    "Preprocess",
    "Section",
    "Track",
    "Train",
    "Validate",
]


class Model(Section):
    """The network."""

    mode: Literal["cnn", "encoder", "decoder", "both"] = Field(
        "decoder", description="where the transformer sits: nowhere, ViT bottleneck, query decoder, both"
    )
    strides: tuple[Counts, ...] = Field(
        ((2, 2, 2),) * 5, description="downsampling per level; their product must divide the patch"
    )
    kernels: tuple[Counts, ...] | None = Field(
        None, description="kernel size of each encoder stage, one more than strides; none: 3 everywhere"
    )
    features: int = Field(32, gt=0, description="channels of the first stage; doubled per level")
    max_features: int = Field(320, gt=0, description="cap on the channels of a stage")
    deep_supervision: bool = Field(True, description="CNN heads at 1/2, 1/4, ... resolution, with a loss each")
    deep_heads: int | None = Field(None, ge=0, description="number of those heads; none: all but the coarsest")
    head_bias: float | None = Field(
        0.01,
        gt=0,
        lt=1,
        description="probability of a region in the CNN's heads at the start; none: heads without bias",
    )
    no_object_prior: float | None = Field(
        None, gt=0, lt=1, description="probability of `no object` of each query at the start; none: as the weights fall"
    )
    frozen_cnn_head: bool = Field(
        False,
        description="keep a full-resolution CNN head without a loss beside the queries, as imported weights have it",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in the CNN's blocks")
    vit_depth: int = Field(12, ge=1, description="transformer blocks at the bottleneck")
    vit_width: int = Field(768, gt=0, description="token width; a multiple of the heads")
    vit_mlp: int = Field(3072, gt=0, description="hidden width of the ViT's MLP")
    vit_heads: int = Field(12, gt=0, description="attention heads of the ViT")
    vit_dropout: float = Field(0.1, ge=0, lt=1, description="dropout after the embedding and in the ViT's MLP")
    vit_layer_scale: Literal["off", "correct", "reference"] = Field(
        "off", description="LayerScale on the branch (correct) or, as published, on the skip (reference)"
    )
    vit_pretrained: str | None = Field(
        None, description="ViT-B/16 weights as .npz in Google's layout; none: from scratch"
    )
    queries: int = Field(20, gt=0, description="number of queries")
    width: int = Field(192, gt=0, description="query width; a multiple of 6, of the heads and of the norm's groups")
    decoder_layers: int = Field(3, ge=1, description="layers of the query decoder")
    decoder_heads: int = Field(8, gt=0, description="attention heads of the query decoder")
    decoder_mlp: int | None = Field(None, description="hidden width of its feed-forward part; none: 8 x width")
    decoder_layer_scale: Literal["off", "correct", "reference"] = Field(
        "off", description="LayerScale on the branch (correct) or, as published, before the norm (reference)"
    )
    memory_levels: tuple[int, ...] | None = Field(
        None,
        description="feature maps that queries attend to, -1 full resolution, -2 half; none: -4, -3, -2 where there",
    )
    memory_fpn: int = Field(0, ge=0, description="fuse this many coarsest maps into one memory level instead; 0: off")
    masked_attention: bool = Field(True, description="a query attends only where its own mask is")
    position_encoding: bool = Field(True, description="sine position encoding on the keys")
    attention_fp32: bool = Field(True, description="attention of the query decoder in fp32 under mixed precision")

    @property
    def has_vit(self) -> bool:
        """Returns whether the network has a ViT at its bottleneck."""
        return self.mode in ("encoder", "both")

    @property
    def has_deep_heads(self) -> bool:
        """Returns whether heads at lower resolutions are trained."""
        return self.deep_supervision and (len(self.strides) > 2 if self.deep_heads is None else self.deep_heads > 0)

    @property
    def has_queries(self) -> bool:
        """Returns whether the network has a query decoder."""
        return self.mode in ("decoder", "both")

    @model_validator(mode="after")
    def _lengths_fit(self) -> Model:
        if self.kernels is not None and len(self.kernels) != len(self.strides) + 1:
            raise ValueError(
                f"kernels has {counted(len(self.kernels), 'entry', 'entries')}; expected one more than "
                f"strides, {len(self.strides) + 1}"
            )
        if self.has_vit and self.vit_width % self.vit_heads:
            raise ValueError(f"vit_width {self.vit_width} is not a multiple of vit_heads {self.vit_heads}")
        if self.has_queries and (self.width % 6 or self.width % self.decoder_heads):
            raise ValueError(f"width {self.width} is not a multiple of 6 and of decoder_heads {self.decoder_heads}")
        return self


class Predict(Section):
    """How the network's output becomes a label map."""

    overlap: float = Field(0.5, ge=0, lt=1, description="overlap of neighbouring windows, share of the patch")
    threshold: float = Field(0.5, gt=0, lt=1, description="probability above which a region is predicted")
    window_batch: int = Field(2, gt=0, description="windows and mirrored copies per forward pass")
    mirror: Axes = Field(
        (), description="axes (0 X, 1 Y, 2 Z) whose mirrored copies are averaged; each doubles the time: [0, 1, 2] is 8"
    )
    query_classes: Literal["product", "claimed"] = Field(
        "product", description="query modes: masks weigh by class probability, or in full where a query claims a region"
    )
    compile: bool = Field(False, description="torch.compile the networks")

    @model_validator(mode="after")
    def _axes_differ(self) -> Predict:
        if len(set(self.mirror)) != len(self.mirror):
            raise ValueError(f"mirror is {list(self.mirror)}; expected each axis once")
        return self


class Config(Section):
    """All settings of a run."""

    name: str = Field(
        "run", description="name of the run, its directory is OUTPUT/NAME; {data.fold} stands for that setting's value"
    )
    output: str = Field("runs", description="folder of run directories")
    seed: int = Field(0, ge=0, description="with step and index it decides every sample, augmentation and weight")
    precision: Literal["no", "fp16", "bf16"] | None = Field(None, description="mixed precision; none: as launched")
    resume: Literal["auto", "never"] = Field(
        "auto", description="auto: go on from the newest checkpoint; never: refuse one"
    )
    weights: str | None = Field(
        None, description="weights to start from: a run, an original checkpoint or a model.safetensors; none: random"
    )
    weights_keep: tuple[Literal["optimizer", "step"], ...] = Field(
        (), description="what is taken from the run of `weights` besides them; the rest begins anew"
    )
    data: Data = Field(default_factory=Data, description="what the network is shown")
    preprocess: Preprocess = Field(default_factory=Preprocess, description="from raw files to the store")
    augment: Augment = Field(default_factory=Augment, description="random changes of a sample, on the device")
    model: Model = Field(default_factory=Model, description="the network")
    loss: Loss = Field(default_factory=Loss, description="what is minimised")
    optim: Optim = Field(default_factory=Optim, description="how it is minimised")
    train: Train = Field(default_factory=Train, description="length, batch and checkpoints")
    validate_: Validate = Field(default_factory=Validate, alias="validate", description="scores during training")
    predict: Predict = Field(default_factory=Predict, description="from network to label map")
    track: Track = Field(default_factory=Track, description="logging")

    @model_validator(mode="after")
    def _name_is_a_folder(self) -> Config:
        if not re.fullmatch(r"([\w.+-]|{[\w.]+})+", self.name) or self.name in (".", ".."):
            raise ValueError(f"name is {self.name!r}; expected letters, digits and . + - _ alone, or {{section.key}}")
        return self

    @model_validator(mode="after")
    def _there_is_what_is_kept(self) -> Config:
        if self.weights_keep and self.weights is None:
            raise ValueError(
                f"weights_keep is [{', '.join(self.weights_keep)}] and weights none; expected `weights` to be the run "
                "that it is taken from"
            )
        return self

    @model_validator(mode="after")
    def _schedule_has_steps(self) -> Config:
        optim, steps = self.optim, self.train.curve_steps
        length = "train.steps" if self.train.schedule_steps is None else "train.schedule_steps"
        first_drop = optim.warmup_steps + (optim.step_every or 0)
        if optim.schedule == "poly" and optim.warmup_steps >= steps:
            raise ValueError(
                f"optim.schedule is poly, and {counted(optim.warmup_steps, 'step')} of warm-up "
                f"{agreed(optim.warmup_steps, 'leaves', 'leave')} it none of {steps}; lower "
                f"optim.warmup_steps, or raise {length}"
            )
        if optim.schedule == "step" and first_drop >= steps:
            raise ValueError(
                f"optim.schedule is step, and its first drop would come after {first_drop} of {counted(steps, 'step')} "
                f"({length}); lower optim.step_every or optim.warmup_steps, or use constant"
            )
        return self

    @model_validator(mode="after")
    def _numbers_go_together(self) -> Config:
        for axis, name in enumerate("XYZ"):
            stride = 1
            for level in self.model.strides:
                stride *= level[axis]
            if self.data.patch[axis] % stride or self.data.patch[axis] <= 0:
                raise ValueError(
                    f"data.patch is {counted(self.data.patch[axis], 'voxel')} along {name}, not a multiple "
                    f"of {stride}, "
                    f"the product of model.strides there; the nearest are "
                    f"{max(stride, self.data.patch[axis] // stride * stride)} and "
                    f"{(self.data.patch[axis] // stride + 1) * stride}"
                )
        weights, labels = self.loss.boundary_label_weights, 4 if self.data.cavity else 3
        if weights is not None and len(weights) != labels:
            raise ValueError(
                f"loss.boundary_label_weights has {counted(len(weights), 'entry', 'entries')}, "
                f"expected {labels}: one for each of "
                f"{'WT, TC, ET' if self.data.target == 'regions' else 'NETC, SNFH, ET'}{', RC' * self.data.cavity}"
            )
        if self.loss.batch_dice and self.model.has_queries and not self.model.has_deep_heads:
            raise ValueError(
                f"loss.batch_dice has no effect in mode {self.model.mode} without deep heads: the queries' Dice is of "
                "each mask; set loss.batch_dice=false, or model.deep_supervision=true with at least three strides"
            )
        if self.data.target == "labels" and self.model.head_bias is not None and self.model.head_bias * labels >= 1:
            raise ValueError(
                f"model.head_bias is {self.model.head_bias:g}, of each of {labels} labels; expected less than "
                f"1/{labels}, for the background has the rest"
            )
        if self.train.batch_size % self.train.accumulation:
            raise ValueError(
                f"train.batch_size {self.train.batch_size} is not divisible by train.accumulation "
                f"{self.train.accumulation}; set one to a multiple of the other"
            )
        return self
