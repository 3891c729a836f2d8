"""Chooses thresholds and component limits on held-out predictions: `mets3d tune`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mets3d.console import progress_of
from mets3d.verbs.parser import VerbParser, output_file

SUMMARY = "choose thresholds and component limits on held-out predictions"
ORDER = 50


def arguments(parser: VerbParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN",
                        help="run with predictions/probabilities; its configuration is used as trained")  # fmt: skip
    parser.add_argument("data", type=Path, metavar="DATA", help="data set that the run was trained on")
    parser.add_argument("--objective", default="lesion_wise_dice", metavar="SCORE",
                        help="its mean is raised: lesion_wise_dice (default), f1 or dice")  # fmt: skip
    parser.add_argument("--rules",
                        help="rule set of the score (default the run's; another one needs --force)")  # fmt: skip
    parser.takes_jobs()
    parser.add_argument("--out", type=output_file, metavar="FILE", help="file to write (default RUN/decoding.json)")
    parser.add_argument("--force", action="store_true",
                        help="write settings that cross-validation does not support; the file says so")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    from mets3d.tuning.tune import tune

    tuning = tune(
        options.run,
        options.data,
        objective=options.objective,
        rules=options.rules,
        jobs=options.jobs,
        out=options.out,
        force=options.force,
        progress=progress_of("tune"),
    )
    whose = "--rules" if options.rules else "validate.rules of the run"
    print(f"mean {tuning.objective} by {tuning.rules} ({whose})")
    print(tuning.table())
    for caveat in tuning.caveats():
        print(caveat)
    if not tuning.written:
        print(f"mets3d tune: {tuning.refusal(former=tuning.file.exists())}", file=sys.stderr)
        return 1
    print(f"decoding in {tuning.file}: predict again, for held-out cases by settings chosen without their patient")
    return 0
