"""Writes a configuration as plain values and as YAML, and lists the keys in which two differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mets3d.config.keys import flatten
from mets3d.config.yaml12 import dump_yaml
from mets3d.settings import Config


def to_yaml(config: Config) -> str:
    """Writes the complete configuration as YAML that `load_file` reads back to the same object."""
    return dump_yaml(as_dict(config))


def as_dict(config: Config) -> dict[str, Any]:
    """Returns the configuration as nested dicts of plain values."""
    return config.model_dump(mode="json", by_alias=True)


def differing_keys(a: Config, b: Config, ignored: Sequence[str] = ()) -> list[str]:
    """Lists the dotted keys whose values differ; `ignored` holds keys and section names to leave out."""
    flat_a, flat_b = flatten(as_dict(a)), flatten(as_dict(b))
    return [
        key
        for key in flat_a
        if flat_a[key] != flat_b[key] and not any(key == name or key.startswith(f"{name}.") for name in ignored)
    ]
