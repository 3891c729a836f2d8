"""The console of the verbs: the progress of long work, the folders where cases were found, and who prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def is_main_process() -> bool:
    """Returns whether this process prints: of several processes, rank 0 alone does."""
    return os.environ.get("RANK", "0") == "0"


def print_case_folders(data: Path) -> None:
    """Prints how many cases lie in which folder: a subfolder that was overlooked is a data set half read."""
    from mets3d.data.cases import find_cases

    if is_main_process():
        for folder, count in find_cases(data).where.items():
            print(f"{count} case{'s' * (count != 1)} in {folder}")


def progress_of(work: str) -> Callable[[int, int, str], None]:
    """Returns a function (done, total, name) that shows a bar on a terminal, else a line at every tenth of the way."""
    bar: Any = None

    def show(done: int, total: int, name: str) -> None:
        nonlocal bar
        if not is_main_process():
            return
        if not sys.stderr.isatty():
            if done * 10 // total > (done - 1) * 10 // total:
                print(f"{work} {done}/{total}  {name}", file=sys.stderr, flush=True)
            return
        from tqdm import tqdm

        bar = bar if bar is not None else tqdm(total=total, desc=work, dynamic_ncols=True)
        bar.set_postfix_str(name, refresh=False)
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return show
