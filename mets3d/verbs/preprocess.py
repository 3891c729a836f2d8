"""mets3d preprocess: from raw cases to the store that training reads."""

from __future__ import annotations

import argparse
from pathlib import Path

from mets3d.verbs.console import print_case_folders, progress_of
from mets3d.verbs.parser import VerbParser

SUMMARY = "crop, resample and normalise cases into a store for training"
ORDER = 30


def arguments(parser: VerbParser) -> None:
    parser.add_argument("data", type=Path, metavar="DATA", help="folder with cases at any depth")
    parser.add_argument("store", type=Path, metavar="STORE", help="folder to write")
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration; its preprocess section is used")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default 1)")


def run(options: argparse.Namespace) -> int:
    from mets3d.config import Config, ConfigError, load
    from mets3d.data.preprocess import preprocess

    try:
        config = load(["--config", str(options.config)]) if options.config else Config()
    except ConfigError as error:
        raise ValueError(f"{options.config}:\n{error}") from None
    print_case_folders(options.data)
    notes = preprocess(
        options.data,
        options.store,
        config.preprocess,
        cavity=config.data.cavity,
        jobs=options.jobs,
        progress=progress_of("preprocess"),
    )
    for note in notes:
        print(note)
    print(f"store in {options.store}")
    return 0
