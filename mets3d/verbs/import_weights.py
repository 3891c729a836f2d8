"""Makes a run directory of an original 3D TransUNet checkpoint: `mets3d import-weights`."""

from __future__ import annotations

import argparse
from pathlib import Path

from mets3d.verbs.parser import VerbParser, output_path

SUMMARY = "make a run directory of an original 3D TransUNet checkpoint"
ORDER = 100


def arguments(parser: VerbParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="checkpoint: .model, .pth or .safetensors")
    parser.add_argument("--patch", type=int, nargs=3, required=True, metavar=("X", "Y", "Z"), help="its patch, voxels")
    parser.add_argument("--layer-scale", choices=("off", "correct", "reference"), default="reference",
                        help="form given to the LayerScale in the file (default reference)")  # fmt: skip
    parser.add_argument("--target", choices=("regions", "labels"), default="regions", help="what its classes are")
    parser.add_argument("--sequences", nargs="+", default=["t1n", "t1c", "t2w", "t2f"], metavar="NAME",
                        help="its input channels in their order (default t1n t1c t2w t2f)")  # fmt: skip
    parser.add_argument("--out", type=output_path, required=True, metavar="DIR", help="run directory to write")


def run(options: argparse.Namespace) -> int:
    from mets3d.release.import_original import write_run

    directory = write_run(
        options.file,
        options.out,
        patch=tuple(options.patch),
        layer_scale=options.layer_scale,
        target=options.target,
        sequences=options.sequences,
    )
    print(f"run directory in {directory}")
    return 0
