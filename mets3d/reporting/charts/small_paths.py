"""Writes the paths of an SVG in few characters: long ones with one decimal and by their steps, others with two."""

from __future__ import annotations

import re
from collections.abc import Sequence

COMMAND = re.compile(r"([A-Za-z])([^A-Za-z]*)")
NUMBER = re.compile(r"-?\d*\.?\d+")
LONG = 8  # points of a path of which nobody sees the second decimal
POINT = "M0 0h0"  # a shape of no size, of which round ends make a dot

Point = tuple[float, float]
Command = tuple[str, list[float]]


def number(value: float, decimals: int) -> str:
    """Writes a number without what it does not need, as in -.5."""
    text = f"{value:.{decimals}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    if text in ("-0", ""):
        return "0"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def small_path(text: str) -> str:
    """Writes a path anew; a long one of straight lines by its steps."""
    commands = _commands(text)
    if points := _dots(commands):
        return repeated(points, POINT)
    if len(commands) >= LONG and all(letter in "MLz" for letter, _ in commands):
        return _in_steps(commands)
    return "".join(letter + _joined(numbers, 2) for letter, numbers in commands)


def repeated(points: Sequence[Point], shape: str) -> str:
    """Returns one path of a shape, whose path is given, at many points; two at the same place are one."""
    own = [(letter, [round(value, 1) for value in values]) for letter, values in _commands(shape)]
    places = sorted({(round(x, 1), round(y, 1)) for x, y in points})
    moved = [
        (letter, [values[0] + x, values[1] + y] if letter in "ML" else values)
        for x, y in places
        for letter, values in own
    ]
    return _in_steps(moved)


def _dots(commands: Sequence[Command]) -> list[Point]:
    """Returns the places of lines that have no length; none where any has one."""
    starts, ends = commands[::2], commands[1::2]
    if [letter for letter, _ in commands] != ["M", "L"] * len(starts):
        return []
    alike = all(start[1] == end[1] for start, end in zip(starts, ends, strict=True))
    return [(x, y) for _, (x, y) in starts] if alike else []


def _in_steps(commands: Sequence[Command]) -> str:
    """Writes M and L by their steps, others as they are. Places are rounded, not steps, so that nothing drifts."""
    out: list[str] = []
    at = start = (0.0, 0.0)
    for letter, numbers in commands:
        if letter not in "ML":
            out.append(letter + _joined(numbers, 1))
            at = start if letter == "z" else at
            continue
        to = round(numbers[0], 1), round(numbers[1], 1)
        out.append((letter.lower() if out else "M") + _joined([to[0] - at[0], to[1] - at[1]], 1))
        at, start = to, to if letter == "M" else start
    return "".join(out)


def _commands(text: str) -> list[Command]:
    return [(letter, [float(value) for value in NUMBER.findall(values)]) for letter, values in COMMAND.findall(text)]


def _joined(values: Sequence[float], decimals: int) -> str:
    out = ""
    for value in values:
        text = number(value, decimals)
        out += text if not out or text.startswith("-") else f" {text}"
    return out
