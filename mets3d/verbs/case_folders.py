"""Says where the cases of a data set lie, how many processes share them, and which could not be used."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mets3d.console import is_main_process
from mets3d.wording import counted

if TYPE_CHECKING:
    from mets3d.config import Data


def print_case_folders(folder: Path, data: Data | None = None) -> None:
    """Prints the layout, and how many cases lie in which folder: a subfolder overlooked is a data set half read."""
    from mets3d.data.cases import find_cases

    if is_main_process():
        cases = find_cases(folder, data)
        print(f"layout: {cases.layout}")
        for place, count in cases.where.items():
            print(f"{counted(count, 'case')} in {place}")


def chosen_jobs(asked: int | None, folder: Path, data: Data) -> int:
    """Returns the number of processes, and prints a line where memory has a say in it."""
    from mets3d.data.cases import find_cases
    from mets3d.data.memory import choose_workers

    workers = choose_workers(asked, find_cases(folder, data), len(data.sequences))
    if workers.remark:
        print(workers.remark, file=sys.stderr)
    return workers.jobs


def print_not_usable(verb: str, reasons: Mapping[str, str], folder: Path) -> None:
    """Prints the cases that could not be used, by reason where they are many, and the file that has them all."""
    from mets3d.data.not_usable import not_usable_lines
    from mets3d.rundir import NOT_USABLE

    if not reasons:
        return
    for line in not_usable_lines(reasons):
        print(f"mets3d {verb}: {line}", file=sys.stderr)
    count = f"{counted(len(reasons), 'case')}"
    print(f"mets3d {verb}: {count} could not be used, listed in {folder / NOT_USABLE}", file=sys.stderr)
