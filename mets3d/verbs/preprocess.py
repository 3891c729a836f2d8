"""Turns raw cases into the store that training reads: `mets3d preprocess`."""

from __future__ import annotations

import argparse
from pathlib import Path

from mets3d.console import progress_of
from mets3d.verbs.case_folders import print_case_folders
from mets3d.verbs.configuration import configuration
from mets3d.verbs.parser import VerbParser, output_path

SUMMARY = "crop, resample and normalise cases into a store for training"
ORDER = 30


def arguments(parser: VerbParser) -> None:
    parser.add_argument("data", type=Path, metavar="DATA", help="folder with cases at any depth")
    parser.add_argument("store", type=output_path, metavar="STORE", help="folder to write")
    parser.takes_configuration("preprocess and data")
    parser.takes_jobs()
    parser.takes_overrides("settings to change, as --preprocess.margin_voxels=2 or --data.cavity=true")


def run(options: argparse.Namespace) -> int:
    from mets3d.data.preprocess import preprocess
    from mets3d.settings import READING

    config = configuration(options, sections=("preprocess", *READING))
    print_case_folders(options.data, config.data)
    notes = preprocess(
        options.data,
        options.store,
        config.preprocess,
        data=config.data,
        jobs=options.jobs,
        progress=progress_of("preprocess"),
    )
    for note in notes:
        print(note)
    print(f"store in {options.store}")
    return 0
