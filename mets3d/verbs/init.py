"""Makes the folder of a new project: `mets3d init`."""

from __future__ import annotations

import argparse
from pathlib import Path

from mets3d.verbs.parser import VerbParser

SUMMARY = "make a project's folder: configuration, launch files, train.py, a Makefile of the stages"
ORDER = 105


def arguments(parser: VerbParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="new folder; its name is the project's")
    parser.add_argument(
        "--base", default="brats_mets", metavar="NAME", help="configuration that the project's lies over (brats_mets)"
    )


def run(options: argparse.Namespace) -> int:
    from mets3d.workplace.project import write_project

    following = write_project(options.folder, options.base)
    print(f"{options.folder.absolute()} is made; next:")
    print("\n".join(f"    {command}" for command in following))
    return 0
