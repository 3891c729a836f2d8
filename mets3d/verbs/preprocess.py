"""Turns raw cases into the store that training reads: `mets3d preprocess`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mets3d.console import progress_of
from mets3d.verbs.case_folders import chosen_jobs, print_case_folders, print_not_usable
from mets3d.verbs.configuration import configuration
from mets3d.verbs.parser import VerbParser, output_path
from mets3d.wording import agreed, counted

SUMMARY = "crop, resample and normalise cases into a store for training"
ORDER = 30


def arguments(parser: VerbParser) -> None:
    parser.add_argument("data", type=Path, metavar="DATA", help="folder with cases at any depth")
    parser.add_argument("store", type=output_path, metavar="STORE", help="folder to write")
    parser.takes_configuration("preprocess and data")
    parser.takes_jobs(by_memory=True)
    parser.takes_on_error("lists them and makes the store of the others", "makes no store before all can be used")
    parser.add_argument("--shard", type=_shard, metavar="i/n",
                        help="make the i-th of n shares of the cases; the call that finds all made, or one without "
                        "--shard, finishes the store")  # fmt: skip
    parser.takes_overrides("settings to change, as --preprocess.margin_voxels=2 or --data.cavity=true")


def run(options: argparse.Namespace) -> int:
    from mets3d.data.preprocess import preprocess
    from mets3d.settings import READING

    config = configuration(options, sections=("preprocess", *READING))
    print_case_folders(options.data, config.data)
    result = preprocess(
        options.data,
        options.store,
        config.preprocess,
        data=config.data,
        jobs=chosen_jobs(options.jobs, options.data, config.data),
        on_error=options.on_error,
        shard=options.shard,
        progress=progress_of("preprocess"),
    )
    for note in result:
        print(note)
    print_not_usable("preprocess", result.not_usable, options.store)
    if result.waiting:
        print(_what_is_missing(options, len(result.cases) + len(result.not_usable), result.waiting))
    else:
        print(f"store of {counted(len(result.cases), 'case')} in {options.store}")
    return 1 if result.not_usable else 0


def _what_is_missing(options: argparse.Namespace, done: int, waiting: Sequence[str]) -> str:
    shown = ", ".join(waiting[:3]) + (" ..." if len(waiting) > 3 else "")
    return (
        f"{done} of {counted(done + len(waiting), 'case')} {agreed(done, 'is', 'are')} done, {len(waiting)} "
        f"{agreed(len(waiting), 'is', 'are')} still to come ({shown}): the store in "
        f"{options.store} is finished by the last shard, or by this command without --shard"
    )


def _shard(text: str) -> Any:
    from mets3d.data.shards import read_shard

    try:
        return read_shard(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
