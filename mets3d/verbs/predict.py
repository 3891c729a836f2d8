"""Writes label maps of cases, by one trained run or several: `mets3d predict`."""

from __future__ import annotations

import argparse
from pathlib import Path

from mets3d.console import is_main_process, progress_of
from mets3d.verbs.case_folders import print_case_folders, print_not_usable
from mets3d.verbs.parser import VerbParser, output_folder
from mets3d.wording import counted

SUMMARY = "segment cases with a trained run; label maps on each case's own grid"
ORDER = 40


def arguments(parser: VerbParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory")
    parser.add_argument("data", type=Path, metavar="DATA", help="folder with cases at any depth")
    parser.add_argument(
        "out", type=output_folder, nargs="?", metavar="OUT", help="folder to write (default RUN/predictions)"
    )
    parser.add_argument("--probabilities", action="store_true", help="write them too, in OUT/probabilities")
    parser.add_argument("--held-out", action="store_true", help="only the cases that the run was validated on")
    parser.add_argument("--also", type=Path, nargs="+", default=[], metavar="RUN",
                        help="more runs, such as folds, to average as probabilities; needs OUT")  # fmt: skip
    parser.add_argument("--region-weights", nargs="+", default=[], metavar="WT=1,2",
                        help="weights of the average, per region one number per run")  # fmt: skip
    parser.add_argument("--decoding", metavar="FILE",
                        help="thresholds: a file, or `default`: as if the run were not tuned")  # fmt: skip
    parser.takes_on_error("lists them and predicts the others", "predicts none where headers show one")
    parser.takes_overrides(
        "settings of the run to change, as --predict.overlap=0.75 or --precision=bf16", also=["precision"]
    )


def run(options: argparse.Namespace) -> int:
    from mets3d.inference.predict import predict
    from mets3d.inference.setup import Choices

    if options.decoding not in (None, "default") and not Path(options.decoding).is_file():
        raise FileNotFoundError(
            f"--decoding: {options.decoding!r} is no file; name one that `mets3d tune` wrote, or `default`"
        )
    result = predict(
        options.run,
        options.data,
        options.out,
        Choices(options.also, options.region_weights, options.decoding, options.overrides),
        probabilities=options.probabilities,
        held_out=options.held_out,
        on_error=options.on_error,
        progress=progress_of("predict"),
    )
    print_case_folders(options.data)
    if is_main_process():
        for remark in result.remarks:
            print(remark)
        print_not_usable("predict", result.failures, result.folder)
        print(f"decoding: {result.decoded_by}")
        print(f"{counted(len(result.cases), 'label map')} in {result.folder}")
        if result.skipped:
            print(f"{len(result.skipped)} of them were there already, made the same way from the same files")
    return 1 if result.failures else 0
