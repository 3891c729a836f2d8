"""Writes the page about a data set: `mets3d explore`."""

from __future__ import annotations

import argparse
from pathlib import Path

from mets3d.console import progress_of
from mets3d.verbs.case_folders import chosen_jobs
from mets3d.verbs.configuration import configuration
from mets3d.verbs.parser import VerbParser, output_path

SUMMARY = "one HTML page about a data set: grids, intensities, lesions, places, pictures, findings"
ORDER = 21


def arguments(parser: VerbParser) -> None:
    parser.add_argument("data", type=Path, metavar="DATA", help="folder with cases at any depth")
    parser.add_argument("--out", type=output_path, required=True, metavar="DIR",
                        help="folder to write: index.html, cases.csv and lesions.csv")  # fmt: skip
    parser.takes_data_settings()
    parser.takes_jobs(by_memory=True)


def run(options: argparse.Namespace) -> int:
    from mets3d.reporting.explore import explore
    from mets3d.rundir import ExploreDir
    from mets3d.settings import READING

    config = configuration(options, sections=READING)
    jobs = chosen_jobs(options.jobs, options.data, config.data)
    found = explore(options.data, options.out, data=config.data, jobs=jobs, progress=progress_of("explore"))
    print(ExploreDir(options.out).page)
    return 1 if found.report.unusable else 0
