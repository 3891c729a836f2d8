"""Lists every setting by its dotted key, with its kind, default and meaning, and makes the page of --help."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

from mets3d.settings import Config, Section


def help_text(program: str) -> str:
    """Returns a page of every key with its kind, default and meaning."""
    lines = [
        f"usage: {program} --config FILE [--config FILE ...] [--section.key=value ...]",
        "",
        "  --config FILE    a YAML file; later ones win, a `base:` key names a file to lay it over",
        "  --print-config   print the resolved configuration and leave",
        "  --profile        trace five steps; --track.profile=N traces N",
        "  --find-accumulation=N   print the smallest train.accumulation at which the batch of a training of N",
        "                   processes fits into memory, and leave",
        "  --help           this page",
        "",
    ]
    kind_of = kinds()
    for key, default, description in leaves():
        lines.append(f"  --{key}={_plain(default)}  ({kind_of[key]})")
        lines.append(f"      {description}")
    return "\n".join(lines)


def leaves() -> Iterator[tuple[str, Any, str]]:
    """Yields (dotted key, default, description) of every setting, in order."""
    for key, field in _fields(Config, ""):
        yield key, field.default, field.description or ""


@cache
def settings() -> frozenset[str]:
    """Returns the dotted key of every setting."""
    return frozenset(key for key, _ in _fields(Config, ""))


def kinds() -> dict[str, str]:
    """Returns the kind of every setting in words, such as `int` or `3 x float`, by its dotted key."""
    return {key: _kind(field.annotation) for key, field in _fields(Config, "")}


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested dicts as one dict of dotted keys; a setting whose value is a dict, such as data.labels, is one."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and f"{prefix}{key}" not in settings():
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _fields(section: type[Section], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yields the dotted key and pydantic's description of every setting below a section."""
    for name, field in section.model_fields.items():
        key = prefix + (field.alias or name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _fields(field.annotation, f"{key}.")
        else:
            yield key, field


def _kind(annotation: Any) -> str:
    """Puts the type of a setting into words."""
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
    if origin is dict:
        return "{" + ": ".join(_kind(part) for part in typing.get_args(annotation)) + "}"
    return {type(None): "none", "NoneType": "none"}.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _plain(value: Any) -> str:
    """Writes a default as it can be written on the command line."""
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return "[" + ",".join(_plain(part) for part in value) + "]"
    return str(value)
