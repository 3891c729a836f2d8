"""Checks what acts at preprocessing against a store that is there: cases to leave out and corrected references."""

from __future__ import annotations

from pathlib import Path

from mets3d.config import Data
from mets3d.data import DataError
from mets3d.data.exclusions import read_exclusions
from mets3d.data.store import Store
from mets3d.wording import counted, for_example

AGAIN = "both act when it is made: run `mets3d preprocess` again, which makes the cases anew that change"


def check_asked(store: Store, data: Data) -> list[str]:
    """Checks that a store was made with `data.exclude` and `data.overlay`; returns remarks where that cannot be seen.

    Raises FileNotFoundError for a file or folder that is not there and was not used either, and DataError for a store
    that holds cases which are to be left out, or was made without an overlay.
    """
    used = store.index["source"]["read_with"]
    remarks = []
    for key, asked in (("exclude", data.exclude), ("overlay", data.overlay)):
        if asked is None or used.get(key) == str(Path(asked).absolute()):
            continue
        place = Path(asked)
        if not place.exists() and used.get(key) is None:
            raise FileNotFoundError(f"data.{key}: {place}: is not there, and {store.path} was made without it")
        if key == "exclude" and place.is_file():
            _check_excluded(store, place)
        elif used.get(key) is None:
            raise DataError(f"data.{key}: {store.path} was made without {place}; {AGAIN}")
        else:
            remarks.append(f"data.{key}: {store.path} was made with {used[key]}, and {place} is not looked at")
    return remarks


def _check_excluded(store: Store, file: Path) -> None:
    excluded = read_exclusions(file, [*store.cases, *store.left_out])
    stored = sorted(excluded.keys() & {*store.cases})
    if stored:
        raise DataError(
            f"data.exclude: {store.path} holds {counted(len(stored), 'case')} that {file} leaves out, "
            f"{for_example(stored)}; {AGAIN}"
        )
