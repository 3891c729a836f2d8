"""Words the faults of a configuration, each in one line: unknown keys with the nearest known one, wrong values."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from mets3d.config.keys import flatten, leaves, settings
from mets3d.settings import Config, Section


class ConfigError(Exception):
    """All faults of a configuration, one a line."""

    def __init__(self, faults: Sequence[str]):
        super().__init__("\n".join(faults))
        self.faults = list(faults)


def unknown_keys(tree: dict[str, Any]) -> list[str]:
    """Lists a fault for every key of nested dicts that is no setting, with the nearest setting where one is near."""
    return [f"{path}: unknown key{_advice(path, nearest)}" for path, nearest in _unknown_keys(tree, Config, "")]


def _advice(path: str, nearest: str | None) -> str:
    """Returns what to write: the nearest setting, or, where a file has a setting's dotted key as one, the section."""
    if path in settings():
        section, _, key = path.rpartition(".")
        return f"; in a file write `{section}:` and in the line below, indented, `{key}:`"
    return f"; did you mean {nearest}?" if nearest else ""


def wrong_value(fault: Any) -> str:
    """Puts one of pydantic's errors into a line that names the setting and the value that was found."""
    names = {name for key, _, _ in leaves() for name in key.split(".")}
    # Beside keys and positions in lists pydantic names the kinds that it tried, such as "literal['median']".
    path = ".".join(str(part) for part in fault["loc"] if isinstance(part, int) or part in names)
    message, found = fault["msg"].removeprefix("Value error, "), fault["input"]
    match fault["type"]:
        case "value_error":
            return f"{path}: {message}" if path else message
        case "missing":  # a list ends before this position; no other setting is without a default
            return f"{path.rpartition('.')[0]}: expected a longer list; found {found!r}"
        case "too_long":
            return f"{path}: expected a list of {fault['ctx']['max_length']}; found {found!r}"
        case "tuple_type":
            return f"{path}: input should be a valid tuple, written as a list in brackets; found {found!r}"
        case "model_type":
            return f"{path}: is a section; expected a value for one of its keys, as {path}.KEY; found {found!r}"
    return f"{path}: {message[0].lower()}{message[1:]}; found {found!r}"


def _unknown_keys(tree: Any, section: type[BaseModel], prefix: str) -> Iterator[tuple[str, str | None]]:
    """Yields the dotted path of every unknown key and the nearest known one."""
    if not isinstance(tree, dict):
        return
    names = {field.alias or name: field.annotation for name, field in section.model_fields.items()}
    for key, value in tree.items():
        annotation = names.get(key)
        if annotation is None and isinstance(value, dict) and value and f"{prefix}{key}" not in settings():
            yield from ((f"{prefix}{key}.{inner}", _nearest(f"{key}.{inner}", prefix)) for inner in flatten(value))
        elif annotation is None:
            yield f"{prefix}{key}", _nearest(str(key), prefix)
        elif isinstance(annotation, type) and issubclass(annotation, Section):
            yield from _unknown_keys(value, annotation, f"{prefix}{key}.")


def _nearest(key: str, prefix: str) -> str | None:
    """Finds the setting whose dotted key goes on from this one or is most like it, else the one whose last part is."""
    every = [name for name, _, _ in leaves()]
    longer = [name for name in every if name.startswith(prefix + key)]
    alike = difflib.get_close_matches(prefix + key, every, n=1, cutoff=0.9)
    last = key.rpartition(".")[2]
    elsewhere = [name for name in every if name.endswith(f".{last}")]
    close = longer or alike or _inside(prefix + key, every) or elsewhere
    close = close or difflib.get_close_matches(prefix + key, every, n=1)
    if close:
        return close[0]
    ratios = {name: difflib.SequenceMatcher(None, name.rpartition(".")[2], last).ratio() for name in every}
    best = max(ratios, key=ratios.__getitem__)
    return best if ratios[best] > 0.75 else None


def _inside(key: str, every: Sequence[str]) -> list[str]:
    """Returns the setting of the same section, of most words, all of whose words are in the key: ema for ema_decay."""
    section, _, last = key.rpartition(".")
    words = set(last.split("_"))
    own = [name for name in every if name.rpartition(".")[0] == section]
    inside = [name for name in own if words.issuperset(name.rpartition(".")[2].split("_"))]
    return sorted(inside, key=len)[-1:]
