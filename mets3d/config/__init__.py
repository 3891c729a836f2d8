"""Reads the configuration: YAML files with a `base:`, dotted overrides as W&B prints them, all faults at once.

    --config FILE|NAME [--config FILE|NAME ...] --loss.boundary=hausdorff_distance --data.patch "[96, 96, 64]"

Files are merged in order, each over its own `base:`; overrides come last. A name is that of a file in configs/, which
comes with the package. The settings are in `settings`; names
of modes, losses and optimizers are literals there and functions match on them. Imports no torch.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from mets3d.config.dump import as_dict, differing_keys, to_yaml
from mets3d.config.faults import ConfigError, unknown_keys, wrong_value
from mets3d.config.keys import flatten, help_text, kinds, leaves
from mets3d.config.tree import merge, read_yaml, set_key
from mets3d.config.yaml12 import read_value
from mets3d.console import checked_output, is_main_process
from mets3d.settings import Augment, Config, Data, Loss, Model, Optim, Predict, Preprocess, Track
from mets3d.shipped import CONFIGS, file_or_name
from mets3d.wording import counted

__all__ = [
    "Augment", "Config", "ConfigError", "Data", "Loss", "Model", "Optim", "Predict", "Preprocess", "Track", "as_dict",
    "differing_keys", "flatten", "from_command_line", "leaves", "load", "load_file", "overridden", "to_yaml",
    "validate",
]  # fmt: skip


SHORT = {"--profile": "--track.profile=5"}
WORDS_OF_ANOTHER_S = 2.0  # time for the main process to say what the matter is


def load(arguments: Sequence[str]) -> Config:
    """Reads the configuration that a command line describes: `--config FILE|NAME` any number of times, then overrides.

    Raises ConfigError with every fault: files that cannot be read, unknown keys (with the nearest known one), values of
    the wrong kind and values that do not go together.
    """
    faults: list[str] = []
    files, overrides = _split_arguments(arguments, faults)
    merged: dict[str, Any] = {}
    for file in files:
        try:
            merge(merged, read_yaml(file_or_name(file, CONFIGS)))
        except ConfigError as error:
            faults += error.faults
        except FileNotFoundError as error:
            faults.append(f"--config {error}")
    for key, value in _presets_first(overrides):
        set_key(merged, key, value, faults)
    return validate(merged, faults)


def load_file(path: Path) -> Config:
    """Reads the configuration in one YAML file. Raises ConfigError with every fault."""
    return validate(read_yaml(path), [])


def overridden(config: Config, words: Sequence[str], *, sections: Sequence[str]) -> Config:
    """Lays `--section.key=value` words over a configuration; only the keys and sections of `sections` can be changed.

    Raises ConfigError with every fault: as `load`, and keys that are not of `sections`.
    """
    faults: list[str] = []
    files, overrides = _split_arguments(words, faults)
    faults += [
        f"--config {file}: expected --section.key=value alone; the configuration is that of the run" for file in files
    ]
    tree = as_dict(config)
    known = {key for key, _, _ in leaves()}
    for key, value in _presets_first(overrides):
        if key in known and not any(key == name or key.startswith(f"{name}.") for name in sections):
            faults.append(f"{key}: belongs to the training; only {' and '.join(sections)} can be changed now")
        else:
            set_key(tree, key, value, faults)
    return validate(tree, faults)


def validate(tree: dict[str, Any], faults: list[str]) -> Config:
    """Builds the configuration of a nested dict; raises ConfigError with `faults` and everything wrong in it."""
    faults = [*faults, *unknown_keys(tree)]
    config, found = _validated(tree)
    if config is None:
        # What does not go together is only looked at once every value is of its kind: set the wrong ones aside.
        faults += [wrong_value(fault) for fault in found if fault["type"] != "extra_forbidden"]
        config, more = _validated(_without(tree, [fault["loc"] for fault in found if fault["loc"]]))
        faults += [wrong_value(fault) for fault in more]
    if faults or config is None:
        raise ConfigError(list(dict.fromkeys(faults)))
    return _named(config)


def _validated(tree: dict[str, Any]) -> tuple[Config | None, list[Any]]:
    try:
        return Config.model_validate(tree), []
    except ValidationError as error:
        return None, list(error.errors())


def _without(tree: dict[str, Any], paths: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """Copies the tree without the settings at these paths, so that their defaults stand in."""
    copy = {key: dict(value) if isinstance(value, dict) else value for key, value in tree.items()}
    for section, *rest in paths:
        if rest and isinstance(copy.get(section), dict):
            copy[section].pop(rest[0], None)
        else:
            copy.pop(section, None)
    return copy


def _presets_first(overrides: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Sorts a preset before the single values of its section, whose order on the command line has no meaning."""
    return sorted(overrides, key=lambda override: not override[0].endswith(".preset"))


def _named(config: Config) -> Config:
    """Fills in the settings that the name of the run refers to, as `{data.fold}`."""
    values = flatten(as_dict(config))
    wanted = re.findall(r"{([\w.]+)}", config.name)
    unknown = [key for key in wanted if key not in values]
    if unknown:
        raise ConfigError([f"name: {config.name!r} refers to {key}, which is no setting" for key in unknown])
    return config.model_copy(update={"name": re.sub(r"{([\w.]+)}", lambda key: str(values[key[1]]), config.name)})


def from_command_line(arguments: Sequence[str], *, program: str) -> Config:
    """Reads a script's configuration; answers --help and --print-config, and on faults prints them and exits with 2.

    With several processes only rank 0 prints, so that N ranks do not say the same thing N times.
    """
    words = [SHORT.get(argument, argument) for argument in arguments if argument != "--print-config"]
    with checked_output():
        if "--help" in words or "-h" in words:
            _print(help_text(program))
            raise SystemExit(0)
        try:
            config = load(words)
        except ConfigError as error:
            header = f"{program}: {counted(len(error.faults), 'fault')} in the configuration"
            _print("\n  ".join([header, *error.faults]), sys.stderr)
            raise SystemExit(2) from None
        if len(words) < len(arguments):
            _print(to_yaml(config).rstrip())
            raise SystemExit(0)
    return config


def _print(text: str, stream: TextIO | None = None) -> None:
    """Prints on the main process; the others wait, for a launcher ends all as soon as one of them leaves."""
    if is_main_process():
        print(text, file=stream)
    else:
        time.sleep(WORDS_OF_ANOTHER_S)


def _split_arguments(arguments: Sequence[str], faults: list[str]) -> tuple[list[str], list[tuple[str, Any]]]:
    """Splits words into the files of --config and (dotted key, value); what is neither is added to the faults."""
    files: list[str] = []
    overrides: list[tuple[str, Any]] = []
    kind_of = kinds()
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        key, equals, text = argument.partition("=")
        if not key.startswith("--") and not equals:
            faults.append(f"{argument}: expected --config FILE or --section.key=value")
            continue
        name = key.removeprefix("--")
        if not equals:
            if not rest or rest[0].startswith("--"):
                faults.append(f"{argument}: a value is missing")
                continue
            text = rest.pop(0)
        if name == "config":
            files.append(text)
        else:
            overrides.append((name, _text(text) if kind_of.get(name, "").startswith("str") else read_value(text)))
    return files, overrides


def _text(word: str) -> str | None:
    """Reads the value of a setting that is text: a run may be called 2024 or True, but None is none."""
    if word in ("None", "null"):
        return None
    return word[1:-1] if len(word) > 1 and word[0] == word[-1] in "\"'" else word
