"""Runs the command line: one verb per stage, each a file in `mets3d.verbs` that imports heavy modules in its `run`."""

from __future__ import annotations

import argparse
import difflib
import os
import pkgutil
import sys
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from importlib import import_module
from typing import Protocol, cast, runtime_checkable

from mets3d import __version__, verbs
from mets3d.console import checked_output, is_main_process
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb. Exit code 0 done, 1 done with findings or a run's weights are unfit, 2 the input is wrong."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    with checked_output():
        table = verb_table()
        parser = parser_of(table)
        _refuse_unknown_verb(parser, table, words)
        options = parser.parse_args(words)
        return _run(options.verb, table[options.verb], options)


def _run(name: str, verb: Verb, options: argparse.Namespace) -> int:
    """Runs the verb and turns its errors into one message and an exit code."""
    try:
        return verb.run(options)
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        if is_main_process():
            print(f"mets3d {name}: {error}", file=sys.stderr)
        return int(getattr(error, "exit_code", 2))  # see mets3d.files.WeightsError
    except BrokenExecutor:
        print(f"mets3d {name}: a worker process died, most likely for memory; use fewer --jobs", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


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


def _refuse_unknown_verb(parser: argparse.ArgumentParser, table: dict[str, Verb], words: Sequence[str]) -> None:
    """Ends with exit code 2 where the first word is no verb, and names the nearest one."""
    word = next((word for word in words if not word.startswith("-")), None)
    if word is None or word in table:
        return
    nearest = difflib.get_close_matches(word, table, n=1)
    parser.error(f"no verb {word!r}; " + (f"did you mean {nearest[0]}?" if nearest else f"expected {', '.join(table)}"))


if __name__ == "__main__":
    exit_code = main()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # One of several processes: at Python's own end torch can wait for ever, see `mets3d.training.launch.leave`.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    sys.exit(exit_code)
