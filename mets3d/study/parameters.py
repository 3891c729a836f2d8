"""Reads the parameters of a W&B sweep file, each with its values on a grid and its value at a quantile.

The kinds, their keys and defaults are those of W&B's sweep configuration; so is the inverse distribution function
behind `Parameter.at`, by which W&B draws too.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np

# For each distribution the keys that must be there, and those that may be with their defaults.
Keys = tuple[tuple[str, ...], dict[str, float]]
BOUNDS, BELL, SHAPE, STEP = ("min", "max"), {"mu": 0.0, "sigma": 1.0}, {"a": 1.0, "b": 1.0}, {"q": 1.0}
KINDS: dict[str, Keys] = {
    "constant": (("value",), {}),
    "categorical": (("values",), {}),
    "categorical_w_probabilities": (("values", "probabilities"), {}),
    "int_uniform": (BOUNDS, {}),
    "uniform": (BOUNDS, {}),
    "q_uniform": (BOUNDS, STEP),
    "log_uniform": (BOUNDS, {}),
    "log_uniform_values": (BOUNDS, {}),
    "q_log_uniform": (BOUNDS, STEP),
    "q_log_uniform_values": (BOUNDS, STEP),
    "inv_log_uniform": (BOUNDS, {}),
    "inv_log_uniform_values": (BOUNDS, {}),
    "normal": ((), BELL),
    "q_normal": ((), BELL | STEP),
    "log_normal": ((), BELL),
    "q_log_normal": ((), BELL | STEP),
    "beta": ((), SHAPE),
    "q_beta": ((), SHAPE | STEP),
}
ON_A_GRID = ("constant", "categorical", "int_uniform", "q_uniform")
NAME = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class Parameter:
    """A parameter: `path` leads to it through nested `parameters:`, one word for a flat key."""

    path: tuple[str, ...]
    kind: str
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Returns the name with dots, as a setting has it."""
        return ".".join(self.path)

    @property
    def varies(self) -> bool:
        """Returns whether it has more than one value."""
        return self.kind != "constant" and len(self.numbers.get("values", (1, 2))) > 1

    @property
    def choices(self) -> int | None:
        """Returns the number of values of a parameter without an order, None for a number."""
        return len(self.numbers["values"]) if self.kind.startswith("categorical") else None

    def grid(self) -> list[Any]:
        """Returns the values on a grid, in order. The upper bound of q_uniform is not one of them, as with W&B."""
        numbers = self.numbers
        match self.kind:
            case "constant":
                return [numbers["value"]]
            case "int_uniform":
                return list(range(numbers["min"], numbers["max"] + 1))
            case "q_uniform":
                return list(np.arange(numbers["min"], numbers["max"], numbers["q"]).tolist())
        return list(numbers["values"])

    def at(self, share: float) -> Any:
        """Returns the value below which this share, inside (0, 1), of all draws lies."""
        if self.kind == "constant":
            return self.numbers["value"]
        if self.choices is not None:
            return self.numbers["values"][self._place(share)]
        if self.kind == "int_uniform":
            low, high = self.numbers["min"], self.numbers["max"]
            return min(low + int(share * (high - low + 1)), high)
        value = self._continuous(self.kind.removeprefix("q_"), share)
        return self._stepped(value) if self.kind.startswith("q_") else value

    def _place(self, share: float) -> int:
        count = len(self.numbers["values"])
        if self.kind == "categorical":
            return min(int(share * count), count - 1)
        sums = np.cumsum(self.numbers["probabilities"])
        return min(int(np.searchsorted(sums, share, side="right")), count - 1)

    def _continuous(self, kind: str, share: float) -> float:
        if kind in ("normal", "log_normal"):
            bell = self.numbers["mu"] + self.numbers["sigma"] * NormalDist().inv_cdf(share)
            return math.exp(bell) if kind == "log_normal" else float(bell)
        if kind == "beta":
            from scipy.stats import beta

            return float(beta.ppf(share, self.numbers["a"], self.numbers["b"]))
        low, high = float(self.numbers["min"]), float(self.numbers["max"])
        if kind == "uniform":
            return low + share * (high - low)
        if kind.startswith("inv_"):
            # Uniform in the negative logarithm; without `_values` the bounds are those of that.
            low, high = (-math.log(high), -math.log(low)) if kind.endswith("_values") else (low, high)
            return math.exp(-(low + (1 - share) * (high - low)))
        low, high = (math.log(low), math.log(high)) if kind.endswith("_values") else (low, high)
        return math.exp(low + share * (high - low))

    def _stepped(self, value: float) -> Any:
        step = self.numbers["q"]
        stepped = round(value / step) * step
        return int(stepped) if isinstance(step, int) else float(stepped)


def read_parameters(tree: Any, faults: list[str], *, above: tuple[str, ...] = ()) -> list[Parameter]:
    """Reads `parameters:`, sorted by name at each level as W&B has them. What is wrong is added to the faults."""
    where = ".".join(("parameters", *above))
    if not isinstance(tree, dict) or not tree:
        faults.append(f"{where}: expected a mapping of names to values, found {tree!r:.60}")
        return []
    found: list[Parameter] = []
    for name in sorted(tree, key=str):
        path, content = (*above, str(name)), tree[name]
        if not isinstance(name, str) or not NAME.fullmatch(name):
            faults.append(f"{where}: {name!r} is no name of a parameter; expected a setting, such as loss.boundary")
        elif not isinstance(content, dict):
            shown = f"{content!r:.60}"
            faults.append(f"{'.'.join(path)}: expected value:, values:, or min: and max: below it, found {shown}")
        elif set(content) == {"parameters"}:
            found += read_parameters(content["parameters"], faults, above=path)
        else:
            wrong = list(_faults_of(content))
            faults += [f"{'.'.join(path)}: {fault}" for fault in wrong]
            if not wrong:
                kind = _kind(content)
                given = {key: value for key, value in content.items() if key != "distribution"}
                found.append(Parameter(path, kind, KINDS[kind][1] | given))
    return found


def _kind(content: Mapping[str, Any]) -> str:
    """Returns the distribution: that which is named, else by the keys; bounds that are whole numbers give integers."""
    if "distribution" in content:
        return str(content["distribution"])
    if "probabilities" in content:
        return "categorical_w_probabilities"
    if "values" in content or "value" in content:
        return "categorical" if "values" in content else "constant"
    whole = all(type(content.get(key)) is int for key in BOUNDS)
    return "int_uniform" if whole else "uniform"


def _faults_of(content: Mapping[str, Any]) -> Iterator[str]:
    """Yields what is wrong with one parameter."""
    kind = _kind(content)
    if kind not in KINDS:
        nearest = difflib.get_close_matches(kind, KINDS, n=1)
        yield f"unknown distribution {kind!r}" + (f"; did you mean {nearest[0]}?" if nearest else "")
        return
    required, optional = KINDS[kind]
    known = {*required, *optional, "distribution"}
    missing = [key for key in required if key not in content]
    if missing:
        shown = ", ".join(map(str, content)) or "nothing"
        asked = f"{' and '.join(missing)} for distribution {kind}"
        yield f"expected {asked if 'distribution' in content else 'value, values, or min and max'}, found {shown}"
        return
    for key in sorted(content.keys() - known, key=str):
        yield f"unknown key {key!r} beside {' and '.join(sorted(known & content.keys()) or required)}"
    numbers = {*required, *optional} & content.keys() - {"value", "values", "probabilities"}
    odd = [key for key in sorted(numbers) if not _is_number(content[key])]
    yield from (f"{key}: expected a number, found {content[key]!r}{_advice(content[key])}" for key in odd)
    if not odd:
        yield from _faults_of_numbers(kind, content)


def _faults_of_numbers(kind: str, content: Mapping[str, Any]) -> Iterator[str]:
    if "values" in content:
        values, shares = content["values"], content.get("probabilities")
        if not isinstance(values, list) or not values:
            yield f"values: expected a list with at least one value, found {values!r:.60}"
        elif shares is not None and not _is_distribution(shares, len(values)):
            yield f"probabilities: expected {len(values)} numbers from 0 with the sum 1, found {shares!r:.60}"
    if "min" in content and content["min"] >= content["max"]:
        yield f"min is {content['min']} and max {content['max']}; expected min to be the smaller one"
    if kind == "int_uniform" and not all(type(content[key]) is int for key in BOUNDS):
        yield f"int_uniform: expected whole numbers, found {content['min']} and {content['max']}"
    if kind.endswith("log_uniform_values") and content["min"] <= 0:
        yield f"min is {content['min']}; expected a number above 0 for {kind}"
    if content.get("q", 1) <= 0:
        yield f"q is {content['q']}; expected a number above 0"
    for key in ("sigma", "a", "b"):
        if content.get(key, 1) < 0 or (key != "sigma" and content.get(key, 1) == 0):
            yield f"{key} is {content[key]}; expected a number above 0"


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_distribution(shares: Any, count: int) -> bool:
    numbers = isinstance(shares, list) and len(shares) == count and all(_is_number(share) for share in shares)
    return numbers and min(shares) >= 0 and math.isclose(sum(shares), 1, abs_tol=1e-6)


def _advice(value: Any) -> str:
    """Returns how a number is written that YAML 1.1, which W&B reads, takes for text."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", value):
        mantissa, exponent = re.split("[eE]", value)
        return f"; write {mantissa}.0e{exponent if exponent[0] in '+-' else '+' + exponent}"
    return ""
