"""Time and size of the page of a case, and of those of sixty small cases: phantoms with a prediction of everything.

    .venv/bin/python benchmarks/case_pages.py [--data DIR] [--kinds full small]

full: 240 x 240 x 155 voxels of 1 mm, two cases; small: 64 x 64 x 48 of 2.75 mm, as in the quickstart, sixty. --data:
also the cases of a folder, such as real scans. The prediction is the reference moved by a voxel; probabilities are
blurred masks, uncertainty their entropy. Seconds are of the processor, of one process, per case.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from harness import print_table, save
from scipy.ndimage import gaussian_filter

from mets3d.data.cases import Case, find_cases
from mets3d.data.nifti import write_labels, write_probabilities, write_scalar
from mets3d.data.reading import read_reference
from mets3d.phantoms.synth import synthesise
from mets3d.regions import scored_regions
from mets3d.reporting.case_page import ArmOfCase, CasePage, write_case_page
from mets3d.reporting.viewer.case_layers import PredictedFiles

KINDS = {"full": (2, (240, 240, 155), 1.0), "small": (60, (64, 64, 48), 2.75)}
BLUR_VOXELS, NOISE = 1.5, 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--data", type=Path, help="a data set whose cases are measured too")
    options = parser.parse_args()
    result = {}
    with tempfile.TemporaryDirectory(prefix="case-pages-") as folder:
        for kind in options.kinds:
            amount, shape, side_mm = KINDS[kind]
            data = Path(folder) / kind
            synthesise(data, cases=amount, seed=0, shape=shape, spacing_mm=(side_mm, side_mm, side_mm))
            result[kind] = measured(find_cases(data), Path(folder) / f"{kind}-pages")
        if options.data is not None:
            result["data"] = measured(find_cases(options.data), Path(folder) / "data-pages")
    rows = [[kind, *(f"{value:.3g}" for value in row.values())] for kind, row in result.items()]
    print_table("pages of cases", ["", "cases", "CPU s a case", "largest page, MB"], rows)
    save("case_pages", " ".join(result), result, torch.device("cpu"))


def measured(cases: list[Case], out: Path) -> dict[str, float]:
    """Writes the page of every case; the mean time and the largest size."""
    out.mkdir()
    pages = [page_of(case, predicted(case, out / case.name), out / f"{case.name}.html") for case in cases]
    started = time.process_time()
    for page in pages:
        write_case_page(page)
    seconds = time.process_time() - started
    largest = max(page.file.stat().st_size for page in pages)
    return {"cases": len(pages), "cpu_s_per_case": seconds / len(pages), "largest_mb": largest / 1e6}


def page_of(case: Case, files: PredictedFiles, file: Path) -> CasePage:
    arm = ArmOfCase("base", "", files, (), ())
    return CasePage(case.name, file, case, "", (arm,), scored_regions(), "", None, None, niivue=True)


def predicted(case: Case, folder: Path) -> PredictedFiles:
    """Writes a prediction of a case."""
    folder.mkdir()
    reference = read_reference(case)
    moved = np.roll(reference.labels, 1, axis=0)
    rng = np.random.default_rng(0)
    soft = np.stack([blurred(region.mask(moved), rng) for region in scored_regions()])
    bits = -(soft * np.log2(soft) + (1 - soft) * np.log2(1 - soft)).max(axis=0)
    labels, probabilities, uncertainty = (folder / f"{name}.nii.gz" for name in ("labels", "soft", "bits"))
    write_labels(labels, moved, reference.source)
    write_probabilities(probabilities, soft, reference.source, [region.name for region in scored_regions()])
    write_scalar(uncertainty, bits.astype(np.float32), reference.source)
    return PredictedFiles("base", labels, probabilities, uncertainty)


def blurred(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    smooth = gaussian_filter(mask.astype(np.float32), BLUR_VOXELS)
    return np.clip(smooth + NOISE * rng.standard_normal(mask.shape, dtype=np.float32), 0.001, 0.999)


if __name__ == "__main__":
    main()
