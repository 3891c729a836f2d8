"""Reads YAML that somebody else may have written: plain values alone, of a bounded number, and one kind of error.

PyYAML's safe loaders run no code of a file, but a few lines whose aliases name each other stand for more values than
memory holds, and a value that does not fit its tag ends in whatever error Python has for it.
"""

from __future__ import annotations

from typing import Any

import yaml

MOST_VALUES = 100_000  # of one file, each counted as often as an alias repeats it
MOST_CHARACTERS = 10_000_000


def read_bounded(text: str, loader: type[yaml.SafeLoader]) -> Any:
    """Reads one document as plain values. Raises yaml.YAMLError, whatever is wrong with it."""
    if len(text) > MOST_CHARACTERS:
        raise yaml.YAMLError(f"expected at most {MOST_CHARACTERS:,} characters, found {len(text):,}")
    try:
        reading = loader(text)
        try:
            node = reading.get_single_node()
            if node is None:
                return None
            values = _values(node, {})
            if values > MOST_VALUES:
                raise yaml.YAMLError(f"expected at most {MOST_VALUES:,} values, found {values:,}, aliases written out")
            return reading.construct_document(node)
        finally:
            reading.dispose()
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise yaml.YAMLError(f"a value does not fit its tag: {error}") from None


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """Counts the values below a node, with those that aliases repeat. Raises yaml.YAMLError for one within itself."""
    if id(node) in known:
        if not known[id(node)]:
            raise yaml.YAMLError("an alias names the value that it is in")
        return known[id(node)]
    known[id(node)] = 0
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        parts = node.value
    elif isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    known[id(node)] = 1 + sum(_values(part, known) for part in parts)
    return known[id(node)]
