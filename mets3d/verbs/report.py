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
    parser.add_argument("--watch", action="store_true",
                        help="write the page of a run anew at each validation, until its training ends")  # fmt: skip
    parser.takes_jobs()


def run(options: argparse.Namespace) -> int:
    from mets3d.reporting import read_arms, summary_of, write_page
    from mets3d.rundir import RunDir

    several = len(options.runs) > 1
    if options.watch and several:
        raise ValueError(f"--watch: expected one run to follow, found {len(options.runs)}; start one for each")
    if options.out is None and several:
        raise ValueError(f"--out: expected a folder for the page that compares {len(options.runs)} runs, found none")
    out = options.out or RunDir(options.runs[0]).report
    if options.watch and not _watched(options.runs[0], out):
        return 0
    records = read_arms(options.runs)
    page = write_page(records, out, progress=progress_of("report"), jobs=options.jobs)
    for record in records:
        print(summary_of(record))
    print(page)
    return 0


def _watched(run: Path, out: Path) -> bool:
    """Writes the page at each validation; returns whether the training has ended, so that the last page is due."""
    from mets3d.reporting import read_arms, write_page
    from mets3d.reporting.pace import progress_line
    from mets3d.reporting.watch import watch

    def write() -> None:
        records = read_arms([run])
        page = write_page(records, out)
        print(f"{page}: {progress_line(records[0])}", flush=True)

    try:
        return watch(run, write, lambda text: print(text, flush=True))
    except KeyboardInterrupt:
        print(f"no longer watching {run}", flush=True)
        return False
