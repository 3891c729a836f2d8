"""Tests and ranks methods by their score tables: `mets3d compare`."""

from __future__ import annotations

import argparse
from pathlib import Path

from mets3d.verbs.parser import VerbParser, output_file

SUMMARY = "paired tests between the score tables of two or more methods, and their ranks"
ORDER = 80


def arguments(parser: VerbParser) -> None:
    parser.add_argument(
        "tables",
        type=Path,
        nargs="+",
        metavar="SCORES.csv",
        help="score tables, or run directories; runs that differ in seed and fold alone are one method",
    )
    parser.add_argument("--names", nargs="+", metavar="NAME", help="what the methods are called, in the same order")
    parser.add_argument("--scores", nargs="+", metavar="COLUMN",
                        help="scores to compare and to test (default those of the page)")  # fmt: skip
    parser.add_argument("--out", type=output_file, metavar="comparison.csv", help="write the numbers there too")


def run(options: argparse.Namespace) -> int:
    from mets3d.files import write_text
    from mets3d.reporting.compared_tables import compared_tables
    from mets3d.statistics.comparison import compare_methods
    from mets3d.statistics.comparison_tables import comparison_csv, comparison_text, seeds_text

    tables = compared_tables(options.tables, options.names)
    comparison = compare_methods(tables.scores, scores=options.scores, lesions=tables.lesions)
    print("\n".join([*tables.remarks, comparison_text(comparison), *seeds_text(comparison, tables.arms)]))
    if options.out is not None:
        write_text(options.out, comparison_csv(comparison))
        print(f"comparison in {options.out}")
    return 0
