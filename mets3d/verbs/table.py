"""Finds the verbs, each a file of this package, and builds the parser of the whole command line."""

from __future__ import annotations

import argparse
import pkgutil
from importlib import import_module
from typing import Protocol, cast, runtime_checkable

from mets3d import __version__, verbs
from mets3d.verbs.parser import VerbParser


@runtime_checkable
class Verb(Protocol):
    """A verb, as a file in `mets3d.verbs` holds it. ORDER is its place in --help, along the data's way."""

    SUMMARY: str
    ORDER: int

    def arguments(self, parser: VerbParser) -> None:
        """Adds the verb's arguments to its parser."""
        ...

    def run(self, options: argparse.Namespace) -> int:
        """Does the work and returns the exit code. A ValueError or OSError is a mistake in the input."""
        ...


def verb_table() -> dict[str, Verb]:
    """Finds every verb by its name, in the order of --help: the files of `mets3d.verbs` that have a SUMMARY."""
    names = [module.name for module in pkgutil.iter_modules(verbs.__path__)]
    modules = {name.replace("_", "-"): import_module(f"{verbs.__name__}.{name}") for name in names}
    found = {name: cast("Verb", module) for name, module in modules.items() if hasattr(module, "SUMMARY")}
    return dict(sorted(found.items(), key=lambda item: item[1].ORDER))


def parser_of(table: dict[str, Verb]) -> argparse.ArgumentParser:
    """Builds the parser of the whole command line, one subparser per verb."""
    parser = argparse.ArgumentParser(
        prog="mets3d",
        description="Brain-metastasis segmentation in 3D MRI, from raw cases to a comparison of losses. "
        "`accelerate launch train.py --config FILE` trains too.",
    )
    parser.add_argument("-V", "--version", action="version", version=f"mets3d {__version__}")
    subparsers = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=VerbParser)
    for name, verb in table.items():
        verb.arguments(subparsers.add_parser(name, help=verb.SUMMARY, description=verb.SUMMARY))
    return parser
