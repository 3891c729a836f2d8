"""Reads the file `dataset.yaml` and tells every fault in it with its line, the key and what is expected."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from mets3d.config.yaml12 import load_yaml
from mets3d.data import DataError
from mets3d.data.case import SEQUENCES
from mets3d.data.layouts.patterns import PathPattern
from mets3d.regions import KNOWN_LABELS
from mets3d.settings.channels import fault_of, parents

Fault = tuple[tuple[str, ...], str, Any]  # the keys that lead to it, what is expected, what is there

_ADVICE = "docs/data.md has a complete example"


def read_own_file(path: Path) -> dict[str, Any]:
    """Reads a dataset.yaml. Raises DataError with every fault, a line each."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = load_yaml(text)
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}; {_ADVICE}") from None
    lines = dict(_lines(text))
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected keys and values, as `sequences:`, found {_shown(content)}; {_ADVICE}")
    faults = [f"{path}, line {line}: {'.'.join(keys)}: is there twice" for keys, line in _twice(text)]
    for keys, expected, value in _faults(content):
        line = next((lines[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in lines), 1)
        faults.append(f"{path}, line {line}: {'.'.join(keys)}: expected {expected}, found {_shown(value)}")
    if faults:
        raise DataError("\n".join([*faults, _ADVICE]))
    return content


# ---------------------------------------------------------------- what is expected


def _faults(content: Mapping[Any, Any]) -> Iterator[Fault]:
    """Yields what is wrong with the content, key by key."""
    for key, value in content.items():
        if key not in _EXPECTED:
            near = difflib.get_close_matches(str(key), list(_EXPECTED), n=1)
            known = f"{near[0]}, the nearest key" if near else f"one of {', '.join(_EXPECTED)}"
            yield (str(key),), known, str(key)
        else:
            yield from _EXPECTED[key](key, value)
    if "sequences" not in content:
        yield ("sequences",), "a pattern for at least one sequence, as t1c: '{case}/{case}_T1_KM.nii.gz'", "nothing"
    yield from _case_faults(content)


def _case_faults(content: Mapping[Any, Any]) -> Iterator[Fault]:
    """Yields patterns that lack a name of which the case's name is made."""
    case = content.get("case", "{case}")
    needed = PathPattern(case).names if isinstance(case, str) else ()
    if isinstance(case, str) and not needed:
        yield ("case",), "a name in braces that the patterns have, as '{patient}_{visit}'", case
    sequences = content.get("sequences")
    entries: dict[tuple[str, ...], Any] = {("reference",): content.get("reference")}
    if isinstance(sequences, dict):
        entries |= {("sequences", str(key)): value for key, value in sequences.items()}
    for keys, entry in entries.items():
        text = entry.get("file") if isinstance(entry, dict) else entry
        if isinstance(text, str) and not set(needed) <= set(PathPattern(text).names):
            missing = " and ".join(f"{{{name}}}" for name in needed)
            yield keys, f"a pattern with {missing}, of which the case's name is made", text


def _text(key: str, value: Any) -> Iterator[Fault]:
    if not isinstance(value, str) or not value.strip():
        yield (key,), "text", value


def _pattern(key: str, value: Any) -> Iterator[Fault]:
    yield from _pattern_at((key,), value)


def _pattern_at(keys: tuple[str, ...], value: Any) -> Iterator[Fault]:
    if not isinstance(value, str) or not value.strip():
        yield keys, "a pattern, as '{case}/{case}_T1.nii.gz'", value
    elif PathPattern(value).fault:
        yield keys, PathPattern(value).fault or "", value


def _sequences(key: str, value: Any) -> Iterator[Fault]:
    if not isinstance(value, dict) or not value:
        yield (key,), f"patterns for some of {', '.join(SEQUENCES)}", value
        return
    for name, entry in value.items():
        fault = fault_of([str(name)])
        if fault or len(parents(str(name))) > 1:
            ours = re.fullmatch("[A-Za-z0-9]+", str(name)) is not None  # the common name of one of them
            yield (key, str(name)), f"one of {', '.join(SEQUENCES)}" if ours else "a name of letters and digits", name
        elif not isinstance(entry, dict):
            yield from _pattern_at((key, name), entry)
        elif set(entry) != {"file", "volume"}:
            yield (key, name), "a pattern, or {file: PATTERN, volume: NUMBER} for one volume of a 4-D file", entry
        else:
            yield from _pattern_at((key, name, "file"), entry["file"])
            if type(entry["volume"]) is not int or entry["volume"] < 0:
                yield (key, name, "volume"), "the number of a volume, from 0", entry["volume"]


def _labels(key: str, value: Any) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield (key,), "a map of the file's integers to ours, as {1: 3}", value
        return
    for integer, label in value.items():
        if type(integer) is not int or integer < 0 or label not in KNOWN_LABELS or type(label) is not int:
            ours = f"0 to {KNOWN_LABELS[-1]}"
            yield (key, str(integer)), f"a whole number from 0, mapped to one of {ours}", f"{integer}: {label}"


def _patients(key: str, value: Any) -> Iterator[Fault]:
    yield from _text(key, value)
    if isinstance(value, str):
        try:
            re.compile(value)
        except re.error as error:
            yield (key,), f"a file, or a regular expression with one group ({error})", value


_EXPECTED: Mapping[str, Callable[[str, Any], Iterator[Fault]]] = {
    "name": _text,
    "case": _pattern,
    "sequences": _sequences,
    "reference": _pattern,
    "labels": _labels,
    "patients": _patients,
    "exclude": _text,
    "overlay": _text,
}


# ---------------------------------------------------------------- lines


def _lines(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yields the keys that lead to each entry and the line it is in."""
    yield from _entries(yaml.compose(text, Loader=yaml.SafeLoader), ())


def _twice(text: str) -> list[tuple[tuple[str, ...], int]]:
    """Lists keys that are there more than once, with the line of the later one."""
    seen: set[tuple[str, ...]] = set()
    again = []
    for keys, line in _lines(text):
        if keys in seen:
            again.append((keys, line))
        seen.add(keys)
    return again


def _entries(node: Any, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            keys = (*above, str(getattr(key, "value", "")))
            yield keys, key.start_mark.line + 1
            yield from _entries(value, keys)


def _shown(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
