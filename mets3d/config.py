"""The configuration: YAML files with a `base:`, dotted overrides as W&B agents print them, every fault in one message.

    --config FILE [--config FILE ...] --loss.boundary=hausdorff_distance --data.patch "[96, 96, 64]"

Files are merged in order, each over its own `base:`; overrides come last. The settings are in `settings`; names
of modes, losses and optimizers are literals there and functions match on them. Imports no torch.
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
from pydantic import BaseModel, ValidationError

from mets3d.settings import (
    Augment,
    Config,
    Data,
    Loss,
    Model,
    Optim,
    Predict,
    Preprocess,
    Section,
    Track,
    Train,
    Validate,
)

__all__ = [
    "Augment", "Config", "ConfigError", "Data", "Loss", "Model", "Optim", "Predict", "Preprocess", "Section", "Track",
    "Train", "Validate", "as_dict", "differing_keys", "flatten", "from_command_line", "help_text", "leaves", "load",
    "load_file", "overridden", "read_value", "read_yaml", "to_yaml", "validate",
]  # fmt: skip


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


def overridden(config: Config, words: Sequence[str], *, sections: Sequence[str]) -> Config:
    """The configuration with `--section.key=value` words laid over it; only keys of `sections` can be changed so.

    Raises ConfigError with every fault: as `load`, and keys of other sections.
    """
    faults: list[str] = []
    files, overrides = _split_arguments(words, faults)
    faults += [
        f"--config {file}: expected --section.key=value alone; the configuration is that of the run" for file in files
    ]
    tree = as_dict(config)
    known = {key for key, _, _ in leaves()}
    for key, value in overrides:
        if key in known and not any(key == name or key.startswith(f"{name}.") for name in sections):
            faults.append(f"{key}: belongs to the training; only {' and '.join(sections)} can be changed now")
        else:
            _set(tree, key, value, faults)
    return validate(tree, faults)


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
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_Yaml12Loader)
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


class _Yaml12Dumper(yaml.SafeDumper):
    """Quotes what the loader above would not read as text: a run may be called 1e3."""


_Yaml12Dumper.yaml_implicit_resolvers = _Yaml12Loader.yaml_implicit_resolvers


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
    return yaml.dump(as_dict(config), Dumper=_Yaml12Dumper, sort_keys=False, default_flow_style=None, width=110)


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
    if origin is typing.Annotated:
        return _kind(typing.get_args(annotation)[0])
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
