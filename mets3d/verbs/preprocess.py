"""Turns raw cases into the store that training reads: `mets3d preprocess`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mets3d.console import progress_of
from mets3d.verbs.case_folders import print_case_folders
from mets3d.verbs.parser import VerbParser, output_path

if TYPE_CHECKING:
    from mets3d.config import Config

SUMMARY = "crop, resample and normalise cases into a store for training"
ORDER = 30


def arguments(parser: VerbParser) -> None:
    parser.add_argument("data", type=Path, metavar="DATA", help="folder with cases at any depth")
    parser.add_argument("store", type=output_path, metavar="STORE", help="folder to write")
    parser.add_argument("--config", type=Path, metavar="FILE",
                        help="configuration, or its name as for `train`; its preprocess section is used")  # fmt: skip
    parser.takes_jobs()
    parser.takes_overrides("settings to change, as --preprocess.margin_voxels=2 or --data.cavity=true")


def run(options: argparse.Namespace) -> int:
    from mets3d.data.preprocess import preprocess

    config = _configuration(options.config, options.overrides)
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


def _configuration(file: Path | None, overrides: Sequence[str]) -> Config:
    """Reads the configuration file, or takes the defaults, and lays the overrides over it."""
    from mets3d.config import Config, ConfigError, load_file, overridden
    from mets3d.shipped import CONFIGS, file_or_name

    try:
        config = load_file(file_or_name(str(file), CONFIGS)) if file else Config()
    except ConfigError as error:
        named = [fault if fault.startswith(f"{file}: ") else f"{file}: {fault}" for fault in error.faults]
        raise ValueError("\n".join(named)) from None
    try:
        return overridden(config, overrides, sections=("preprocess", "data.cavity"))
    except ConfigError as error:
        raise ValueError(str(error)) from None
