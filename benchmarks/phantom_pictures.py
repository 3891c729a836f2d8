"""Draws phantoms as hard as metastases, and real cases above them where some are given.

    .venv/bin/python benchmarks/phantom_pictures.py [CASE ...] [--patients 4 2 7 0] [--out FILE.png]

A row is a patient: t1n, t1c, t2w, t2f, and t1c with the labels' outlines, in the plane with most of the tumour core.
CASE is a folder of a real case with its reference. Prints a table of intensities relative to the brain's median, a row
for each sequence and patient. Look at the terms of use before you show a picture of a real case to others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from harness import print_table
from matplotlib import use
from matplotlib.figure import Figure

from mets3d.data.cases import SEQUENCES, find_cases
from mets3d.data.nifti import read_image, read_labels
from mets3d.ops.voxels import bounding_box
from mets3d.phantoms.mets.patient import site_of
from mets3d.phantoms.synth import phantom
from mets3d.regions import RC, TC, scored_regions

Patient = tuple[str, dict[str, np.ndarray], np.ndarray]

SHARES = (1, 5, 25, 75, 95, 99, 99.7)


def main() -> None:
    options = _options()
    use("Agg")
    patients = [_real(folder) for folder in options.cases]
    patients += [_made(options.seed, index) for index in options.patients]
    figure = Figure(figsize=(10, 2.45 * len(patients)), dpi=options.dpi, facecolor="black")
    axes = figure.subplots(len(patients), len(SEQUENCES) + 1, squeeze=False)
    for row, patient in zip(axes, patients, strict=True):
        _draw(row, *patient)
    figure.subplots_adjust(0.002, 0.002, 0.998, 1 - 0.08 / len(patients), 0.01, 0.09)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out, facecolor="black")
    rows = [
        [
            name,
            kind,
            *(f"{value:.2f}" for value in np.percentile(image[image > 0], SHARES) / np.median(image[image > 0])),
        ]
        for name, images, _ in patients
        for kind, image in images.items()
    ]
    print_table("Intensities over the brain's median", ["", "", *(f"{share} %" for share in SHARES)], rows)


def _made(seed: int, index: int) -> Patient:
    patient = phantom(seed, index, (240, 240, 155), (1.0, 1.0, 1.0), difficulty="mets")
    return f"phantom {index}, site {site_of(seed, index).name}", patient.images, patient.labels


def _real(folder: Path) -> Patient:
    (case,) = find_cases(folder)
    if case.labels is None:
        raise SystemExit(f"{folder}: expected a reference, found none")
    images = {name: read_image(scan.path).data for name, scan in case.sequences.items()}
    return case.name, {name: images[name] for name in SEQUENCES}, read_labels(case.labels).labels


def _draw(row: np.ndarray, name: str, images: dict[str, np.ndarray], labels: np.ndarray) -> None:
    box = bounding_box(images["t1c"] > 0, margin=2)
    if box is None:
        raise SystemExit(f"{name}: its t1c is empty")
    x, y, _ = box
    plane = int((TC.mask(labels) | RC.mask(labels)).sum((0, 1)).argmax())
    for axis, kind in zip(row, (*SEQUENCES, "t1c"), strict=True):
        image = images[kind]
        axis.imshow(
            image[x, y, plane].T, origin="lower", cmap="gray", vmin=0, vmax=np.percentile(image[image > 0], 99.7)
        )
        axis.set_title(f"{name}: {kind}" if axis is row[0] else kind, color="white", fontsize=7, pad=2)
        axis.axis("off")
    for region in scored_regions(cavity=True):
        mask = region.mask(labels[x, y, plane])
        if mask.any():
            row[-1].contour(mask.T, levels=[0.5], colors=[region.colour], linewidths=0.7)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, nargs="*", metavar="CASE", help="folders of real cases")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--patients", type=int, nargs="+", default=(4, 2, 7, 0), help="phantoms of that seed")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/phantoms_mets.png"))
    parser.add_argument("--dpi", type=int, default=72)
    return parser.parse_args()


if __name__ == "__main__":
    main()
