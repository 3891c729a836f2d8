"""Writes phantoms: `mets3d synth`."""

from __future__ import annotations

import argparse

from mets3d.console import progress_of
from mets3d.verbs.parser import VerbParser, output_folder

SUMMARY = "write phantom cases in BraTS-METS layout, with known ground truth"
ORDER = 10


def arguments(parser: VerbParser) -> None:
    parser.add_argument("out", type=output_folder, metavar="OUT", help="folder for the cases")
    parser.add_argument("--cases", type=int, default=8, metavar="N", help="number of patients (default 8)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="case k is the same for every N (default 0)")
    parser.add_argument("--shape", type=int, nargs=3, default=(240, 240, 155), metavar=("X", "Y", "Z"), help="voxels")
    parser.add_argument(
        "--spacing", type=float, nargs="+", default=[1.0], metavar="MM", help="voxel size: one or three"
    )


def run(options: argparse.Namespace) -> int:
    from mets3d.phantoms.synth import synthesise

    if len(options.spacing) not in (1, 3):
        raise ValueError(f"--spacing: expected one or three numbers, found {len(options.spacing)}")
    x_mm, y_mm, z_mm = options.spacing * (3 // len(options.spacing))
    names = synthesise(
        options.out,
        options.cases,
        options.seed,
        shape=tuple(options.shape),
        spacing_mm=(x_mm, y_mm, z_mm),
        progress=progress_of("synth"),
    )
    print(f"{len(names)} case{'s' * (len(names) != 1)} in {options.out}")
    return 0
