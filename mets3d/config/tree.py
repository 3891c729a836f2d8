"""Reads configurations as nested dicts, merges them, and sets values by dotted key, before they are checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mets3d.config.faults import ConfigError
from mets3d.config.keys import settings
from mets3d.config.yaml12 import load_yaml
from mets3d.shipped import CONFIGS, names_in, shipped


def read_yaml(path: Path, _seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Reads a YAML file as nested dicts, laid over the file that its `base:` key names.

    That is relative to the file itself; where nothing is there, it may be the name of a configuration that comes with
    the package.
    """
    if path.resolve() in _seen:
        raise ConfigError([f"{path}: base: leads back to itself"])
    tree = _read_mapping(path)
    base = tree.pop("base", None)
    if base is None:
        return tree
    below = read_yaml(_base_of(path, str(base)), (*_seen, path.resolve()))
    merge(below, tree)
    return below


def merge(into: dict[str, Any], tree: dict[str, Any], prefix: str = "") -> None:
    """Lays one nested dict over another: values replace values, sections are merged key by key.

    A section with a `preset` begins anew: what is not beside it is the preset's.
    """
    if "preset" in tree:
        into.clear()
    for key, value in tree.items():
        section = f"{prefix}{key}" not in settings()
        if section and isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value, f"{prefix}{key}.")
        else:
            into[key] = value


def set_key(tree: Any, dotted: str, value: Any, faults: list[str]) -> None:
    """Sets a dotted key in nested dicts; where a section on the way is a value, that is added to the faults."""
    *sections, key = dotted.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            faults.append(f"{dotted}: {section} is a value, not a section")
            return
    merge(tree, {key: value}, "".join(f"{section}." for section in sections))


def _base_of(path: Path, word: str) -> Path:
    beside = path.parent / word
    name = word.removesuffix(".yaml")
    return shipped(CONFIGS) / f"{name}.yaml" if not beside.exists() and name in names_in(CONFIGS) else beside


def _read_mapping(path: Path) -> dict[str, Any]:
    if path.is_dir():
        raise ConfigError([f"{path}: is a folder; name a YAML file"])
    try:
        tree = load_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such configuration file"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: cannot be read as YAML: {error}; save it as UTF-8 text"]) from None
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError([f"{path}: cannot be read as YAML: {' '.join(str(error).split())}"]) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError([f"{path}: expected a mapping of keys to values, found {type(tree).__name__}"])
    return tree
