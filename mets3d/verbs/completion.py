"""Prints the completion of the command line for a shell: `mets3d completion`."""

from __future__ import annotations

import argparse
from typing import Any

from mets3d.verbs.parser import VerbParser

SUMMARY = "print the completion of the command line for a shell, to be sourced"
ORDER = 120
NO_FILES = ("N", "S", "MM", "PROCESSES", "SHARE", "i/n", "NAME")  # metavars of what is no file


def arguments(parser: VerbParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="as in: source <(mets3d completion bash)")


def run(options: argparse.Namespace) -> int:
    import shtab

    from mets3d.verbs.table import parser_of, verb_table

    parser = parser_of(verb_table())
    for verb in _subparsers(parser):
        for action in verb._actions:
            if _takes_a_file(action):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(parser, shell=options.shell))
    return 0


def _subparsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    found: list[argparse.ArgumentParser] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += action.choices.values()
    return found


def _takes_a_file(action: Any) -> bool:
    """Says whether files are to be proposed: for each value that is neither a number nor one of some words."""
    takes_value = action.nargs != 0 and not isinstance(action, argparse._HelpAction)
    return takes_value and action.choices is None and action.type not in (int, float) and action.metavar not in NO_FILES
