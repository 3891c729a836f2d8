"""Parses one verb's arguments, overrides of a configuration among them, and checks paths to write."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TOP = ("name", "output", "seed", "precision", "resume", "weights", "weights_keep")  # settings without a section


class VerbParser(argparse.ArgumentParser):
    """A verb's arguments; where it takes overrides, words like `--section.key=value` become `overrides`."""

    override: re.Pattern[str] | None = None

    def takes_overrides(self, meaning: str, *, also: Sequence[str] = ()) -> None:
        """Lets the verb take `--section.key=value`, and the keys `also`, which have no section."""
        keys = "|".join([r"\w+\.[\w.]+", *also])
        self.override = re.compile(f"--({keys})(=.*)?", re.DOTALL)
        self.set_defaults(overrides=[])
        self.epilog = f"--SECTION.KEY=VALUE ...  {meaning}"

    def takes_data_settings(self) -> None:
        """Lets the verb take `--config` and `--data.key=value`, which say how the files of DATA are read."""
        self.takes_configuration("data")
        self.takes_overrides("settings to change, as --data.cavity=true")

    def takes_configuration(self, sections: str) -> None:
        """Lets the verb take `--config`, of which it uses these sections."""
        meaning = f"configuration or its name, as for `train`; its {sections} settings are used"
        self.add_argument("--config", type=Path, metavar="FILE", help=meaning)

    def takes_jobs(self, *, by_memory: bool = False) -> None:
        """Lets the verb take `--jobs`, the number of its processes: 1 by default, or None to choose it by memory."""
        default = "as many as cores, memory and cases call for" if by_memory else "1"
        self.add_argument(
            "--jobs", type=_count, default=None if by_memory else 1, metavar="N", help=f"processes (default {default})"
        )

    def takes_on_error(self, skip: str, stop: str) -> None:
        """Lets the verb take `--on-error`, whose two choices do what is said."""
        meaning = (
            f"of cases that cannot be used: `skip` {skip}, `stop` {stop} (default: skip from 20 cases on, else stop)"
        )
        self.add_argument("--on-error", choices=("skip", "stop"), help=meaning)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Sets the overrides aside and parses the rest, as argparse does for a subparser."""
        words = list(sys.argv[1:] if args is None else args)
        overrides = [word for word in words if self.override and self.override.fullmatch(word)]
        for word in overrides:
            if "=" not in word:
                self.error(f"{word}: a value is missing; expected {word}=VALUE, as one word")
        options, unknown = super().parse_known_args([word for word in words if word not in overrides], namespace)
        if overrides:
            options.overrides = overrides
        return options, unknown


def output_path(text: str) -> Path:
    """Reads a path to write, before any work is done: refuses one that leads through a file."""
    path = Path(text)
    with _refusal():
        for parent in path.parents:
            if parent.exists() and not parent.is_dir():
                raise argparse.ArgumentTypeError(f"{path}: {parent} is a file, not a folder; name another path")
    return path


def output_file(text: str) -> Path:
    """Reads the path of a file to write; a folder is refused."""
    path = output_path(text)
    with _refusal():
        if path.is_dir():
            raise argparse.ArgumentTypeError(f"{path} is a folder; name a file")
    return path


def output_folder(text: str) -> Path:
    """Reads the path of a folder to write into; a file is refused."""
    path = output_path(text)
    with _refusal():
        if path.exists() and not path.is_dir():
            raise argparse.ArgumentTypeError(f"{path} is a file; name a folder")
    return path


@contextmanager
def _refusal() -> Iterator[None]:
    """Turns an error of the file system, such as a path that may not be read, into one about the argument."""
    try:
        yield
    except OSError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    """Reads a whole number from 1."""
    if not re.fullmatch(r"0*[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)
