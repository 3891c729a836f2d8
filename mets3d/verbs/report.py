"""Writes the page of a run or of a comparison: `mets3d report`."""

from __future__ import annotations

import argparse
from pathlib import Path

from mets3d.console import progress_of
from mets3d.verbs.parser import VerbParser, output_path

SUMMARY = "one HTML page of a run, or of several runs compared"
ORDER = 90


def arguments(parser: VerbParser) -> None:
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directories")
    parser.add_argument("--out", type=output_path, metavar="DIR",
                        help="folder to write; the page is index.html (default RUN/report, for one run)")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    from mets3d.reporting import read_arms, summary_of, write_page
    from mets3d.rundir import RunDir

    if options.out is None and len(options.runs) > 1:
        raise ValueError(f"--out: expected a folder for the page that compares {len(options.runs)} runs, found none")
    out = options.out or RunDir(options.runs[0]).report
    records = read_arms(options.runs)
    page = write_page(records, out, progress=progress_of("report"))
    for record in records:
        print(summary_of(record))
    print(page)
    return 0
