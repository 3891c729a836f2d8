"""Expands the parameters of a sweep into the values of its runs: a grid, or draws that a restart repeats."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml

from mets3d.study.parameters import Parameter

Values = dict[str, Any]  # of each parameter by its dotted key, in the order in which an agent passes them


def grid(parameters: Sequence[Parameter]) -> Iterator[Values]:
    """Yields every combination in W&B's order: names sorted, the last one changes fastest; equal ones once."""
    keys = [parameter.key for parameter in parameters]
    everything = itertools.product(*(parameter.grid() for parameter in parameters))
    return without_repeats(dict(zip(keys, values, strict=True)) for values in everything)


def drawn(parameters: Sequence[Parameter], number: int) -> Values:
    """Returns the values of the run with this number of a random sweep; they depend on number and name alone."""
    return {parameter.key: parameter.at(_share(f"{number}:{parameter.key}")) for parameter in parameters}


def without_repeats(found: Iterable[Values]) -> Iterator[Values]:
    """Yields each combination once. W&B takes 1 and 1.0 for the same value, and so does this."""
    seen = set()
    for values in found:
        mark = tuple(_mark(value) for value in values.values())
        if mark not in seen:
            seen.add(mark)
            yield values


def as_arguments(parameters: Sequence[Parameter], values: Values) -> dict[str, Any]:
    """Returns the values as an agent passes them: flat keys as they are, nested parameters as one nested dict."""
    arguments: dict[str, Any] = {}
    for parameter in parameters:
        level = arguments
        for step in parameter.path[:-1]:
            level = level.setdefault(step, {})
        level[parameter.path[-1]] = values[parameter.key]
    return arguments


def _share(text: str) -> float:
    """Returns a number inside (0, 1) that is a function of the text."""
    bits = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 12
    return (bits + 0.5) / 2**52


def _mark(value: Any) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return yaml.safe_dump(int(value) if whole else value, sort_keys=True)
