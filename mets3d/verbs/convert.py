"""Converts a data set to the layout of nnU-Net or of BraTS: `mets3d convert`."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mets3d.console import progress_of
from mets3d.verbs.case_folders import chosen_jobs, print_case_folders
from mets3d.verbs.configuration import configuration
from mets3d.verbs.parser import VerbParser, output_folder
from mets3d.wording import counted

if TYPE_CHECKING:
    from mets3d.data.convert import Conversion

SUMMARY = "write a data set in the layout of nnU-Net or of BraTS, by links; exit 1 if a case cannot be converted"
ORDER = 25

TARGETS = ("nnunet-v1", "nnunet-v2", "brats")
FOLDER_NAMES = {"nnunet-v1": ("Task", "Task001_Mets"), "nnunet-v2": ("Dataset", "Dataset001_Mets")}


def arguments(parser: VerbParser) -> None:
    parser.add_argument("data", type=Path, metavar="DATA", help="folder with cases of any known layout")
    parser.add_argument("out", type=output_folder, metavar="OUT", help="folder to write, with dataset.json for nnU-Net")
    parser.add_argument("--to", choices=TARGETS, required=True, help="the layout to write")
    parser.add_argument(
        "--copy", action="store_true", help="copy files that can stay as they are, rather than link them"
    )
    parser.takes_data_settings()
    parser.takes_jobs(by_memory=True)


def run(options: argparse.Namespace) -> int:
    from mets3d.data.convert import convert
    from mets3d.settings import READING

    data = configuration(options, sections=READING).data
    print_case_folders(options.data, data)
    conversion = convert(
        options.data,
        options.out,
        options.to,
        data,
        copy=options.copy,
        jobs=chosen_jobs(options.jobs, options.data, data),
        progress=progress_of("convert"),
    )
    print("\n".join(_lines(conversion, options.out, options.to)))
    return 1 if conversion.faults else 0


def _lines(conversion: Conversion, out: Path, to: str) -> list[str]:
    """Returns what to say at the end: counts, names that were changed and cases that were left out."""
    learned, tested = len(conversion.learned), len(conversion.tested)
    files = ", ".join(f"{count} {how}" for how, count in sorted(conversion.files.items())) or "none"
    lines = [f"{counted(learned, 'case')} with reference and {tested} without in {out}; files: {files}"]
    if conversion.renamed:
        lines.append(f"{counted(conversion.renamed, 'name')} changed to what nnU-Net can have, see {out / 'names.csv'}")
    start, example = FOLDER_NAMES.get(to, ("", ""))
    if start and not re.fullmatch(rf"{start}\d{{3}}_.+", out.resolve().name):
        lines.append(f"nnU-Net wants the folder to be named as {example}")
    if conversion.faults:
        lines.append(f"{counted(len(conversion.faults), 'case')} not converted:")
        lines += [f"  {case}: {fault}" for case, fault in conversion.faults.items()]
    return lines
