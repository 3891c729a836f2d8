"""Prints the folders where cases were found, for preprocess and predict."""

from __future__ import annotations

from pathlib import Path

from mets3d.console import is_main_process


def print_case_folders(data: Path) -> None:
    """Prints how many cases lie in which folder: a subfolder that was overlooked is a data set half read."""
    from mets3d.data.cases import find_cases

    if is_main_process():
        for folder, count in find_cases(data).where.items():
            print(f"{count} case{'s' * (count != 1)} in {folder}")
