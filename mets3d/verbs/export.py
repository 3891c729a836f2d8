"""Makes a folder of a run that can be given away: `mets3d export`."""

from __future__ import annotations

import argparse
from pathlib import Path

from mets3d.verbs.parser import VerbParser, output_path

SUMMARY = "make a folder of a run to give away: weights, card, no paths or case names"
ORDER = 60


def arguments(parser: VerbParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN",
                        help="run directory; its configuration is used as trained")  # fmt: skip
    parser.add_argument("out", type=output_path, metavar="OUT", help="folder to make")
    parser.add_argument("--license", metavar="ID", help="of the weights, as cc-by-4.0; it is yours to choose")
    parser.add_argument("--name", dest="model", metavar="NAME", help="of the model (default the run's)")
    parser.add_argument("--dataset", metavar="NAME", help="what the scored cases are called in the card")
    parser.add_argument("--scores", type=Path, metavar="FILE",
                        help="table for the card (default RUN/scores.csv, if there), or `none`")  # fmt: skip
    parser.add_argument("--onnx", action="store_true", help="write model.onnx too, checked against PyTorch")
    parser.add_argument("--bundle", action="store_true", help="make the folder a MONAI bundle too")


def run(options: argparse.Namespace) -> int:
    from mets3d.release.export import export
    from mets3d.rundir import ExportDir

    exported = export(
        options.run,
        options.out,
        name=options.model,
        license_id=options.license,
        dataset=options.dataset,
        scores=options.scores,
        with_onnx=options.onnx,
        with_bundle=options.bundle,
    )
    for remark in exported.remarks:
        print(remark)
    folder = ExportDir(exported.folder)
    print(f"names and colours of the labels: {folder.slicer_table} for 3D Slicer, {folder.itk_snap_table} for ITK-SNAP")
    print(f"model in {exported.folder}, its card is {folder.card}")
    return 0
