"""Says what is installed and what the machine has: `mets3d doctor`."""

from __future__ import annotations

import argparse
import json

from mets3d.verbs.parser import VerbParser

SUMMARY = "say what is installed, what the machine has and what needs mending, for a bug report"
ORDER = 110


def arguments(parser: VerbParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")


def run(options: argparse.Namespace) -> int:
    from mets3d.workplace.diagnosis import diagnose

    found = diagnose()
    if options.json:
        print(json.dumps({**found.facts, "findings": found.findings}, indent=2))
    else:
        print("\n".join(found.lines()))
    return 1 if found.findings else 0
