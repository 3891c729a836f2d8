"""Typed settings: YAML files with a `base:`, dotted overrides as W&B agents print them, every fault in one message.

    --config FILE [--config FILE ...] --loss.boundary=hausdorff_distance --data.patch "[96, 96, 64]"

Files are merged in order, each over its own `base:`; overrides come last. Names of modes, losses and optimizers are
literals here and functions match on them; nothing is looked up by string elsewhere. Imports no torch.
"""

from __future__ import annotations

import ast
import difflib
import os
import re
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Voxels = tuple[int, int, int]
Millimetres = tuple[float, float, float]
Range = tuple[float, float]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(Section):
    store: str = Field("store", description="folder written by `mets3d preprocess`")
    target: Literal["regions", "labels"] = Field(
        "regions", description="learn overlapping regions (sigmoid) or exclusive labels (softmax)"
    )
    cavity: bool = Field(False, description="learn label 4, the resection cavity; off: it becomes background")
    patch: Voxels = Field(
        (128, 128, 128), description="voxels per axis that the network sees; a multiple of its strides"
    )
    folds: int = Field(5, ge=2, description="number of folds; patients never cross folds")
    fold: int = Field(0, ge=0, description="the fold held out for validation")
    split_seed: int = Field(12345, ge=0, description="shuffles patients into folds")
    lesion_fraction: float = Field(
        1 / 3, ge=0, le=1, description="share of samples centred on a lesion, lesions being equally likely"
    )
    workers: int = Field(4, ge=0, description="loader processes per training process; 0 loads in the training process")

    @model_validator(mode="after")
    def _fold_exists(self) -> Data:
        if self.fold >= self.folds:
            raise ValueError(f"fold is {self.fold}, but folds are numbered 0 to {self.folds - 1}")
        return self


class Preprocess(Section):
    spacing_mm: Millimetres | Literal["median"] = Field(
        (1.0, 1.0, 1.0), description="target voxel size per axis in mm, or `median` of the data set's"
    )
    margin_voxels: int = Field(0, ge=0, description="voxels kept around the brain's bounding box")


class Augment(Section):
    enabled: bool = Field(True, description="off: the network sees the stored images as they are")
    mirror: float = Field(0.5, ge=0, le=1, description="probability of a mirror, per axis")
    affine: float = Field(0.2, ge=0, le=1, description="probability of a rotation and scaling")
    rotation_degrees: float = Field(30.0, ge=0, le=180, description="largest rotation about each axis")
    scale: Range = Field((0.7, 1.4), description="range of the common scale factor; above 1 enlarges")
    noise: float = Field(0.1, ge=0, le=1, description="probability of Gaussian noise")
    noise_std: float = Field(
        0.1, ge=0, description="largest standard deviation of the noise, in brain standard deviations"
    )
    brightness: float = Field(0.15, ge=0, le=1, description="probability of a factor on the intensities, per sample")
    brightness_range: Range = Field((0.75, 1.25), description="range of that factor, drawn per sequence")
    contrast: float = Field(0.15, ge=0, le=1, description="probability of a contrast change about the mean")
    contrast_range: Range = Field((0.75, 1.25), description="range of its factor, drawn per sequence")
    gamma: float = Field(0.3, ge=0, le=1, description="probability of a gamma curve that keeps mean and deviation")
    gamma_range: Range = Field((0.7, 1.5), description="range of the exponent, drawn per sequence")


class Model(Section):
    mode: Literal["cnn", "encoder", "decoder", "both"] = Field(
        "decoder", description="where the transformer sits: nowhere, ViT bottleneck, query decoder, both"
    )
    strides: tuple[Voxels, ...] = Field(
        ((2, 2, 2),) * 5, description="downsampling per level; their product must divide the patch"
    )
    kernels: tuple[Voxels, ...] | None = Field(
        None, description="kernel size of each encoder stage, one more than strides; none: 3 everywhere"
    )
    features: int = Field(32, gt=0, description="channels of the first stage; doubled per level")
    max_features: int = Field(320, gt=0, description="cap on the channels of a stage")
    deep_supervision: bool = Field(True, description="CNN heads at 1/2, 1/4, ... resolution, with a loss each")
    deep_heads: int | None = Field(None, ge=0, description="number of those heads; none: all but the coarsest")
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
        None, description="feature maps that queries attend to, -1 full resolution, -2 half; none: -4, -3, -2 where there"
    )
    memory_fpn: int = Field(0, ge=0, description="fuse this many coarsest maps into one memory level instead; 0: off")
    masked_attention: bool = Field(True, description="a query attends only where its own mask is")
    position_encoding: bool = Field(True, description="sine position encoding on the keys")
    attention_fp32: bool = Field(True, description="attention of the query decoder in fp32 under mixed precision")

    @model_validator(mode="after")
    def _lengths_fit(self) -> Model:
        if self.kernels is not None and len(self.kernels) != len(self.strides) + 1:
            raise ValueError(
                f"kernels has {len(self.kernels)} entries; expected one more than strides, {len(self.strides) + 1}"
            )
        if self.mode in ("encoder", "both") and self.vit_width % self.vit_heads:
            raise ValueError(f"vit_width {self.vit_width} is not a multiple of vit_heads {self.vit_heads}")
        if self.mode in ("decoder", "both") and (self.width % 6 or self.width % self.decoder_heads):
            raise ValueError(f"width {self.width} is not a multiple of 6 and of decoder_heads {self.decoder_heads}")
        return self


class Loss(Section):
    dice_weight: float = Field(1.0, ge=0, description="weight of soft Dice in the base loss")
    ce_weight: float = Field(1.0, ge=0, description="weight of cross-entropy in the base loss (BCE on regions)")
    query_class: float = Field(
        2.0, ge=0, description="matching cost and, divided by 10, loss weight of the query's class"
    )
    query_bce: float = Field(5.0, ge=0, description="the same for the mask's cross-entropy")
    query_dice: float = Field(5.0, ge=0, description="the same for the mask's Dice")
    no_object_weight: float | None = Field(None, gt=0, description="class weight of `no object`; none: 1")
    query_points: int = Field(0, ge=0, description="sampled points per mask in the mask loss; 0: every voxel")
    boundary: Literal["none", "hausdorff_distance"] = Field("none", description="term added to the base loss")
    boundary_weight: float = Field(1.0, ge=0, description="its weight once the ramp is over")
    boundary_alpha: float = Field(2.0, gt=0, description="exponent of the distance")
    boundary_ramp: Range = Field(
        (0.1, 0.5), description="shares of the run at which the weight leaves 0 and reaches its full value"
    )
    boundary_reduction: Literal["mean", "sum"] = Field("mean", description="how the term's labels are combined")

    @model_validator(mode="after")
    def _ramp_ascends(self) -> Loss:
        start, end = self.boundary_ramp
        if not 0 <= start <= end <= 1:
            raise ValueError(
                f"boundary_ramp is {self.boundary_ramp}; expected 0 <= start <= end <= 1, shares of the run"
            )
        return self


class Optim(Section):
    name: Literal["adamw", "sgd"] = Field("adamw", description="AdamW, or SGD with Nesterov momentum")
    lr: float = Field(3e-4, gt=0, description="peak learning rate")
    min_lr: float = Field(0.0, ge=0, description="learning rate at the last step")
    warmup_steps: int = Field(500, ge=0, description="optimizer steps of linear warm-up")
    weight_decay: float = Field(3e-5, ge=0, description="decoupled for AdamW, L2 for SGD")
    momentum: float = Field(0.99, ge=0, lt=1, description="of SGD")
    clip_norm: float = Field(12.0, gt=0, description="global gradient norm above which gradients are scaled down")


class Train(Section):
    steps: int = Field(31_250, gt=0, description="optimizer steps of the whole run")
    batch_size: int = Field(2, gt=0, description="global batch: samples per optimizer step over all processes")
    accumulation: int = Field(1, gt=0, description="forward passes per optimizer step and process")
    checkpoint_every: int = Field(500, gt=0, description="optimizer steps between checkpoints")
    keep_checkpoints: int = Field(2, gt=0, description="newest checkpoints kept beside the best")
    max_skipped: int = Field(5, gt=0, description="non-finite losses in a row that end the run")
    compile: bool = Field(False, description="torch.compile the network")


class Validate(Section):
    every: int = Field(1000, gt=0, description="optimizer steps between validations")
    cases: int | None = Field(None, gt=0, description="held-out cases to validate on; none: all")


class Predict(Section):
    overlap: float = Field(0.5, ge=0, lt=1, description="overlap of neighbouring windows, share of the patch")
    threshold: float = Field(0.5, gt=0, lt=1, description="probability above which a region is predicted")
    window_batch: int = Field(2, gt=0, description="windows per forward pass")


class Track(Section):
    wandb: Literal["auto", "offline", "disabled"] = Field(
        "auto", description="auto: online if WANDB_API_KEY is set, else offline; disabled: W&B is not touched"
    )
    project: str = Field("mets3d", description="W&B project")
    console_every: int = Field(10, gt=0, description="optimizer steps between console lines when not on a terminal")


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
    weights: str | None = Field(None, description="run directory whose weights to start from; none: random")
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
    def _patch_divides(self) -> Config:
        for axis, name in enumerate("XYZ"):
            stride = 1
            for level in self.model.strides:
                stride *= level[axis]
            if self.data.patch[axis] % stride or self.data.patch[axis] <= 0:
                raise ValueError(
                    f"data.patch is {self.data.patch[axis]} voxels along {name}, not a multiple of {stride}, "
                    f"the product of model.strides there; the nearest are "
                    f"{max(stride, self.data.patch[axis] // stride * stride)} and "
                    f"{(self.data.patch[axis] // stride + 1) * stride}"
                )
        if self.train.batch_size % self.train.accumulation:
            raise ValueError(
                f"train.batch_size {self.train.batch_size} is not divisible by train.accumulation "
                f"{self.train.accumulation}; set one to a multiple of the other"
            )
        return self


class ConfigError(Exception):
    """All faults of a configuration, one a line."""

    def __init__(self, faults: Sequence[str]):
        super().__init__("\n".join(faults))
        self.faults = list(faults)


# ---------------------------------------------------------------- loading


def load(arguments: Sequence[str]) -> Config:
    """The configuration that a command line describes: `--config FILE` any number of times, then overrides.

    Raises ConfigError with every fault: files that cannot be read, unknown keys (with the nearest known one), values of
    the wrong kind and values that do not go together.
    """
    faults: list[str] = []
    files, overrides = _split_arguments(arguments, faults)
    merged: dict[str, Any] = {}
    for file in files:
        try:
            _merge(merged, read_yaml(Path(file)))
        except ConfigError as error:
            faults += error.faults
    for key, value in overrides:
        _set(merged, key, value, faults)
    return validate(merged, faults)


def load_file(path: Path) -> Config:
    """The configuration in one YAML file."""
    return validate(read_yaml(path), [])


def validate(tree: dict[str, Any], faults: list[str]) -> Config:
    """Builds the configuration of a nested dict; raises ConfigError with `faults` and everything wrong in it."""
    for path, nearest in _unknown_keys(tree, Config, ""):
        hint = f"; did you mean {nearest}?" if nearest else ""
        faults.append(f"{path}: unknown key{hint}")
    config, found = _validated(tree)
    if config is None:
        # What does not go together is only looked at once every value is of its kind: set the wrong ones aside.
        faults += [_describe(fault) for fault in found if fault["type"] != "extra_forbidden"]
        config, more = _validated(_without(tree, [fault["loc"] for fault in found if fault["loc"]]))
        faults += [_describe(fault) for fault in more]
    if faults or config is None:
        raise ConfigError(list(dict.fromkeys(faults)))
    return _named(config)


def _validated(tree: dict[str, Any]) -> tuple[Config | None, list[Any]]:
    try:
        return Config.model_validate(tree), []
    except ValidationError as error:
        return None, list(error.errors())


def _without(tree: dict[str, Any], paths: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """A copy without the settings at these paths, so that their defaults stand in."""
    copy = {key: dict(value) if isinstance(value, dict) else value for key, value in tree.items()}
    for section, *rest in paths:
        if rest and isinstance(copy.get(section), dict):
            copy[section].pop(rest[0], None)
        else:
            copy.pop(section, None)
    return copy


def _named(config: Config) -> Config:
    """The configuration with the settings that its name refers to filled in."""
    values = flatten(as_dict(config))
    wanted = re.findall(r"{([\w.]+)}", config.name)
    unknown = [key for key in wanted if key not in values]
    if unknown:
        raise ConfigError([f"name: {config.name!r} refers to {key}, which is no setting" for key in unknown])
    return config.model_copy(update={"name": re.sub(r"{([\w.]+)}", lambda key: str(values[key[1]]), config.name)})


def from_command_line(arguments: Sequence[str], *, program: str) -> Config:
    """`load` for a script: answers --help and --print-config, and on faults prints them once and exits with 2.

    With several processes only rank 0 prints, so that N ranks do not say the same thing N times.
    """
    rank_zero = os.environ.get("RANK", "0") == "0"
    arguments = list(arguments)
    if "--help" in arguments or "-h" in arguments:
        if rank_zero:
            print(help_text(program))
        raise SystemExit(0)
    print_only = "--print-config" in arguments
    try:
        config = load([argument for argument in arguments if argument != "--print-config"])
    except ConfigError as error:
        if rank_zero:
            count = len(error.faults)
            print(f"{program}: {count} fault{'s' * (count > 1)} in the configuration", file=sys.stderr)
            for fault in error.faults:
                print(f"  {fault}", file=sys.stderr)
        raise SystemExit(2) from None
    if print_only:
        if rank_zero:
            print(to_yaml(config), end="")
        raise SystemExit(0)
    return config


def _split_arguments(arguments: Sequence[str], faults: list[str]) -> tuple[list[str], list[tuple[str, Any]]]:
    files: list[str] = []
    overrides: list[tuple[str, Any]] = []
    kinds = dict(_kinds(Config, ""))
    rest = iter(arguments)
    for argument in rest:
        key, equals, text = argument.partition("=")
        if not key.startswith("--") and not equals:
            faults.append(f"{argument}: expected --config FILE or --section.key=value")
            continue
        name = key.removeprefix("--")
        if not equals:
            following = next(rest, None)
            if following is None:
                faults.append(f"{argument}: a value is missing")
                continue
            text = following
        if name == "config":
            files.append(text)
        else:
            overrides.append((name, _text(text) if kinds.get(name, "").startswith("str") else read_value(text)))
    return files, overrides


def _text(word: str) -> str | None:
    """The value of a setting that is text: a run may be called 2024 or True, but None is none."""
    if word in ("None", "null"):
        return None
    return word[1:-1] if len(word) > 1 and word[0] == word[-1] in "\"'" else word


def read_value(text: str) -> Any:
    """A value on the command line: a Python literal (as sweep agents print them), else YAML, else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        pass  # not Python; YAML is next
    try:
        return yaml.load(text, Loader=_Yaml12Loader)
    except yaml.YAMLError:
        return text


def read_yaml(path: Path, _seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A YAML file as nested dicts, laid over the file its `base:` key names (relative to itself)."""
    if path.resolve() in _seen:
        raise ConfigError([f"{path}: base: leads back to itself"])
    try:
        tree = yaml.load(path.read_text(), Loader=_Yaml12Loader)
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such configuration file"]) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError([f"{path}: cannot be read as YAML: {' '.join(str(error).split())}"]) from None
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise ConfigError([f"{path}: expected a mapping of keys to values, found {type(tree).__name__}"])
    base = tree.pop("base", None)
    if base is None:
        return tree
    merged = read_yaml(path.parent / str(base), (*_seen, path.resolve()))
    _merge(merged, tree)
    return merged


class _Yaml12Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2: 1e-4 is a number; yes, no, on and off are text."""


_Yaml12Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:float")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"),
    list("-+.0123456789"),
)


def _merge(into: dict[str, Any], tree: dict[str, Any]) -> None:
    for key, value in tree.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _set(tree: Any, dotted: str, value: Any, faults: list[str]) -> None:
    *sections, key = dotted.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            faults.append(f"{dotted}: {section} is a value, not a section")
            return
    _merge(tree, {key: value})


# ---------------------------------------------------------------- faults


def _unknown_keys(tree: Any, section: type[BaseModel], prefix: str) -> Iterator[tuple[str, str | None]]:
    if not isinstance(tree, dict):
        return
    names = {field.alias or name: field.annotation for name, field in section.model_fields.items()}
    for key, value in tree.items():
        annotation = names.get(key)
        if annotation is None and isinstance(value, dict) and value:
            yield from ((f"{prefix}{key}.{inner}", _nearest(f"{key}.{inner}", prefix)) for inner in flatten(value))
        elif annotation is None:
            yield f"{prefix}{key}", _nearest(str(key), prefix)
        elif isinstance(annotation, type) and issubclass(annotation, Section):
            yield from _unknown_keys(value, annotation, f"{prefix}{key}.")


def _nearest(key: str, prefix: str) -> str | None:
    every = [name for name, _, _ in leaves()]
    close = difflib.get_close_matches(prefix + key, every, n=1, cutoff=0.6)
    if close:
        return close[0]
    last = key.rpartition(".")[2]
    alike = {name: difflib.SequenceMatcher(None, name.rpartition(".")[2], last).ratio() for name in every}
    best = max(alike, key=alike.__getitem__)
    return best if alike[best] > 0.75 else None


def _describe(fault: Any) -> str:
    keys = [str(part) for part in fault["loc"]]
    path = ".".join(keys)
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return f"{path}: {message}" if path else message
    return f"{path}: {message[0].lower()}{message[1:]}; found {fault['input']!r}"


# ---------------------------------------------------------------- writing


def leaves(section: type[Section] = Config, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """(dotted key, default, description) of every setting, in order."""
    for name, field in section.model_fields.items():
        key = prefix + (field.alias or name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from leaves(field.annotation, f"{key}.")
        else:
            yield key, field.default, field.description or ""


def help_text(program: str) -> str:
    """A page of every key with its kind, default and meaning."""
    lines = [
        f"usage: {program} --config FILE [--config FILE ...] [--section.key=value ...]",
        "",
        "  --config FILE    a YAML file; later ones win, a `base:` key names a file to lay it over",
        "  --print-config   print the resolved configuration and leave",
        "  --help           this page",
        "",
    ]
    kinds = dict(_kinds(Config, ""))
    for key, default, description in leaves():
        lines.append(f"  --{key}={_plain(default)}  ({kinds[key]})")
        lines.append(f"      {description}")
    return "\n".join(lines)


def to_yaml(config: Config) -> str:
    """The complete configuration as YAML that `load_file` reads back to the same object."""
    return yaml.dump(as_dict(config), sort_keys=False, default_flow_style=None, width=110)


def as_dict(config: Config) -> dict[str, Any]:
    """The configuration as nested dicts of plain values."""
    return config.model_dump(mode="json", by_alias=True)


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict of dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def differing_keys(a: Config, b: Config, ignored: Sequence[str] = ()) -> list[str]:
    """Dotted keys whose values differ; `ignored` holds keys and section names to leave out."""
    flat_a, flat_b = flatten(as_dict(a)), flatten(as_dict(b))
    return [
        key
        for key in flat_a
        if flat_a[key] != flat_b[key] and not any(key == name or key.startswith(f"{name}.") for name in ignored)
    ]


def _kinds(section: type[Section], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in section.model_fields.items():
        key = prefix + (field.alias or name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _kinds(field.annotation, f"{key}.")
        else:
            yield key, _kind(field.annotation)


def _kind(annotation: Any) -> str:
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return " | ".join(str(value) for value in typing.get_args(annotation))
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_kind(part) for part in typing.get_args(annotation))
    if origin is tuple:
        parts = typing.get_args(annotation)
        return f"list of {_kind(parts[0])}" if Ellipsis in parts else f"{len(parts)} x {_kind(parts[0])}"
    return {type(None): "none", "NoneType": "none"}.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return "[" + ",".join(_plain(part) for part in value) + "]"
    return str(value)
