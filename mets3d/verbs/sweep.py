"""Runs a W&B sweep file without a server: `mets3d sweep`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from mets3d.verbs.parser import TOP, VerbParser, output_folder
from mets3d.wording import counted

SUMMARY = "every run of a W&B sweep file without a server, resumable, to the page that compares them"
ORDER = 39


def arguments(parser: VerbParser) -> None:
    parser.add_argument("file", metavar="FILE", help="sweep file, or the name of one that comes with mets3d: smoke ...")
    parser.add_argument("--out", type=output_folder, metavar="DIR",
                        help="folder of the study: runs, logs, the page (default runs/ and FILE's name)")  # fmt: skip
    parser.add_argument("--jobs", type=int, metavar="N", help="runs at once (default one for each GPU, or 1)")
    parser.add_argument("--launch", metavar="NAME|FILE",
                        help="launch file of each run, as for `train` (default by the GPU that it has)")  # fmt: skip
    parser.add_argument("--data", type=Path, metavar="DATA",
                        help="data set that the store was made from, where it has moved")  # fmt: skip
    parser.add_argument("--shard", type=_shard, metavar="i/n",
                        help="run every n-th run from the i-th, as in a Slurm array; the last one to end writes "
                        "the page")  # fmt: skip
    parser.add_argument("--test", type=Path, metavar="CASES",
                        help="score the finished runs on test cases, which no run has seen, once")  # fmt: skip
    parser.add_argument(
        "--again", action="store_true", help="use test cases that the study's ledger has; the page says so"
    )
    parser.takes_overrides("settings to change in every run, as --train.steps=100 or --seed=3", also=TOP)


def run(options: argparse.Namespace) -> int:
    from mets3d.config import ConfigError

    if options.again and options.test is None:
        raise ValueError("--again: expected --test CASES with it, the test cases to use again")
    if options.test is not None and options.shard is not None:
        raise ValueError("--test: expected one call without --shard, which shares its runs by --jobs")
    if options.jobs is not None and options.jobs < 1:
        raise ValueError(f"--jobs: expected a whole number from 1, found {options.jobs}")
    try:
        return _run(options)
    except ConfigError as error:
        header = f"mets3d sweep: {counted(len(error.faults), 'fault')}, nothing was started"
        print("\n  ".join([header, *error.faults]), file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    from mets3d.study.folder import StudyDir, TestDir
    from mets3d.study.machine import this_machine
    from mets3d.study.on_test import run_on_test
    from mets3d.study.study import Order, run_study
    from mets3d.study.sweep_file import read_sweep

    sweep = read_sweep(options.file)
    study = StudyDir(options.out or Path("runs") / sweep.file.stem)
    machine = this_machine(options.jobs, options.launch)
    order = Order(study, machine, options.launch, options.data, options.shard, tuple(options.overrides))
    if options.test is None:
        return _ended(study, run_study(sweep, order, _say))
    return _ended(TestDir(study.path), run_on_test(sweep, order, options.test, _say, again=options.again))


def _say(text: str) -> None:
    print(text, flush=True)


def _ended(study: Any, result: Any) -> int:
    """Prints how the runs ended, the page last; returns the exit code."""
    from mets3d.training.stop import exit_code_of

    counts = Counter(state.state for state in result.states.values())
    print(", ".join(f"{count} {state}" for state, count in counts.items()))
    for name, state in result.states.items():
        if state.state == "failed":
            print(f"{name} failed: {state.reason}; see {study.log(name)}", file=sys.stderr)
    if result.signal:
        print("the same command goes on from here")
        return exit_code_of(result.signal)
    if result.page is not None:
        print(result.page)
    elif counts["waiting"] + counts["running"] + counts["interrupted"]:
        print("the page is written by the last shard, or by this command without --shard")
    return 1 if counts["failed"] else 0


def _shard(text: str) -> Any:
    from mets3d.data.shards import read_shard

    try:
        return read_shard(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
