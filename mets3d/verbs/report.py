"""mets3d report: the page."""

from __future__ import annotations

import argparse
from pathlib import Path

from mets3d.verbs.console import progress_of
from mets3d.verbs.parser import VerbParser

SUMMARY = "one HTML page of a run, or of several runs compared"
ORDER = 90


def arguments(parser: VerbParser) -> None:
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directories")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR",
                        help="folder to write; the page is index.html")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    from mets3d.reporting.page import report, summary_text

    page = report(options.runs, options.out, progress=progress_of("report"))
    for directory in options.runs:
        print(summary_text(directory))
    print(page)
    return 0
