"""Trains through a launcher that passes signals on: `mets3d train`."""

from __future__ import annotations

import argparse

from mets3d.verbs.parser import TOP, VerbParser

SUMMARY = "train a network; the same command again goes on from the newest checkpoint"
ORDER = 38


def arguments(parser: VerbParser) -> None:
    parser.add_argument(
        "--launch", metavar="NAME|FILE",
        help="launch file, or the name of one that comes with mets3d: cpu, single_gpu ... (default: by the GPUs seen)",
    )  # fmt: skip
    parser.add_argument(
        "--config", action="append", required=True, metavar="NAME|FILE",
        help="configuration, or the name of one that comes with mets3d: quickstart, brats_mets ...; later ones win",
    )  # fmt: skip
    parser.add_argument(
        "--find-accumulation", nargs="?", type=int, const=0, metavar="PROCESSES",
        help="print the smallest train.accumulation at which the batch fits into memory, by trying, and leave "
        "(PROCESSES of the training: as many as GPUs are seen)",
    )  # fmt: skip
    parser.add_argument("--profile", action="store_true", help="trace five steps: a timeline, a table, the parts")
    parser.add_argument("--print-config", action="store_true", help="print the complete configuration and leave")
    parser.takes_overrides(
        "settings to change, as --loss.boundary=blob or --name=second; `--config base --print-config` lists them",
        also=TOP,
    )


def run(options: argparse.Namespace) -> int:
    from mets3d.config import from_command_line

    files = [word for file in options.config for word in ("--config", file)]
    words = [*files, *["--profile"] * options.profile, *options.overrides]
    # A mistyped key is reported before anything is launched.
    from_command_line([*words, *["--print-config"] * options.print_config], program="mets3d train")

    from mets3d.training.launcher import train

    return train(options.launch, words, program="mets3d train", find_accumulation=options.find_accumulation)
