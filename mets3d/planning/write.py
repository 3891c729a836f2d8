"""Writes a plan as a configuration: the keys that it decides in the order of base.yaml, each with its reason."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mets3d.config import leaves
from mets3d.config.yaml12 import dump_yaml

BESIDE, ABOVE = 120, 96  # columns of a line with its reason behind it, and of the lines of one above


@dataclass(frozen=True)
class Decision:
    """The value of a setting, and why it has it."""

    value: Any
    reason: str


def as_yaml(header: Sequence[str], base: str, decisions: Mapping[str, Decision]) -> str:
    """Returns the text of a configuration file: header, base, and decisions by dotted key."""
    lines = [f"# {line}".rstrip() for line in header] + [f"base: {plain(base)}"]
    section = ""
    for key in (key for key, _, _ in leaves() if key in decisions):
        of_section, _, name = key.rpartition(".")
        if of_section != section:
            section = of_section
            lines.append(f"{section}:")
        lines += _line(f"{'  ' if section else ''}{name}: {plain(decisions[key].value)}", decisions[key].reason)
    return "\n".join(lines) + "\n"


def plain(value: Any) -> str:
    """Returns a value as YAML in one line."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(plain(part) for part in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{plain(key)}: {plain(part)}" for key, part in value.items()) + "}"
    if isinstance(value, str) and any(sign in value for sign in ",[]{}"):
        return "'" + value.replace("'", "''") + "'"
    return dump_yaml(value).removesuffix("...\n").strip()


def _line(text: str, reason: str) -> list[str]:
    """Puts the reason behind the value where the line stays short, else above it."""
    beside = f"{text}  # {reason}"
    if len(beside) <= BESIDE:
        return [beside]
    indent = text[: len(text) - len(text.lstrip())]
    return [*(f"{indent}# {line}" for line in textwrap.wrap(reason, ABOVE - len(indent))), text]
