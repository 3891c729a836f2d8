"""Prints the layout and the folders where cases were found, for preprocess and predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mets3d.console import is_main_process

if TYPE_CHECKING:
    from mets3d.config import Data


def print_case_folders(folder: Path, data: Data | None = None) -> None:
    """Prints the layout, and how many cases lie in which folder: a subfolder overlooked is a data set half read."""
    from mets3d.data.cases import find_cases

    if is_main_process():
        cases = find_cases(folder, data)
        print(f"layout: {cases.layout}")
        for place, count in cases.where.items():
            print(f"{count} case{'s' * (count != 1)} in {place}")
