"""Runs the command line: one verb per stage, each a file in `mets3d.verbs` that imports heavy modules in its `run`."""

from __future__ import annotations

import argparse
import difflib
import errno
import os
import sys
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor

from mets3d.console import checked_output, in_utf8, is_main_process
from mets3d.verbs.table import Verb, parser_of, verb_table

OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # found when the work is under way
HOW_TO_GO_ON = "; what was written before is whole: make room, then give the same command again"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb. Exit code 0 done, 1 done with findings or a run's weights are unfit, 2 the input is wrong."""
    if arguments is None:
        in_utf8()
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
        disk = isinstance(error, OSError) and error.errno in OF_THE_DISK
        if is_main_process():
            print(f"mets3d {name}: {error}{HOW_TO_GO_ON if disk else ''}", file=sys.stderr)
        return 1 if disk else int(getattr(error, "exit_code", 2))  # see mets3d.files.WeightsError
    except MemoryError:
        print(f"mets3d {name}: memory is not enough; close other programs, or use smaller scans", file=sys.stderr)
        return 1
    except BrokenExecutor:
        print(f"mets3d {name}: a worker process died, most likely for memory; use fewer --jobs", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


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
