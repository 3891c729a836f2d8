"""Reads YAML with the scalars of version 1.2: 1e-4 is a number and `no` is text, unlike in PyYAML's 1.1."""

from __future__ import annotations

import ast
import re
from contextlib import suppress
from typing import Any

import yaml

from mets3d.config.bounded_yaml import read_bounded


def load_yaml(text: str) -> Any:
    """Reads YAML 1.2 as plain values. Raises yaml.YAMLError."""
    return read_bounded(text, _Loader)


def dump_yaml(content: Any) -> str:
    """Writes plain values as YAML that `load_yaml` reads back; text that looks like a number is quoted."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110)


def read_value(text: str) -> Any:
    """Reads a value of a command line: a Python literal (as sweep agents print them), else YAML, else the text."""
    with suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # not Python: YAML is next
        return ast.literal_eval(text)
    try:
        return load_yaml(text)
    except yaml.YAMLError:
        return text


class _Loader(yaml.SafeLoader):
    """A SafeLoader with the scalars of YAML 1.2: 1e-4 is a number; yes, no, on and off are text."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:float")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"),
    list("-+.0123456789"),
)


class _Dumper(yaml.SafeDumper):
    """A SafeDumper that quotes text which the loader would take for something else: a run may be called 1e3."""


_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers
