"""Writes phantoms: `mets3d synth`."""

from __future__ import annotations

import argparse

from mets3d.console import progress_of
from mets3d.verbs.parser import VerbParser, output_folder
from mets3d.wording import counted

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
    parser.add_argument(
        "--difficulty",
        choices=("easy", "mets"),
        default="easy",
        help="few bright tumours, or as in BraTS-METS: many small and faint ones, five sites (default easy)",
    )
    parser.add_argument(
        "--annotation-noise",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="0 to 1: share of boundaries a voxel off, and of tumours below 27 mm3 not marked; OUT/truth has the true "
        "labels then (default 0)",
    )


def run(options: argparse.Namespace) -> int:
    from mets3d.phantoms.site_files import SITES_FILE, SPLITS_FILE
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
        difficulty=options.difficulty,
        annotation_noise=options.annotation_noise,
        progress=progress_of("synth"),
    )
    print(f"{counted(len(names), 'case')} in {options.out}")
    others = [path for path in options.out.glob("BraTS-MET-*") if path.is_dir() and path.name not in names]
    if others:
        print(f"{len(others)} more there from before, left as found: for one set of phantoms name an empty folder")
    if options.difficulty == "mets":
        print(f"their sites are in {options.out / SITES_FILE}")
        if (options.out / SPLITS_FILE).exists():
            print(f"--data.split={options.out / SPLITS_FILE} holds one site out and trains on the others")
    return 0
