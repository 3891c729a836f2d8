"""Distance fields of masks to the other class: our backends against SciPy, edt, and on a GPU cuCIM and CuPy.

    .venv/bin/python benchmarks/distance.py [--quick | --product] [--sizes 64 96x160x224] [--rounds 3] [--device cuda]

Everyone makes the same fp32 field: the distance of each voxel to the nearest one of the other class (with --squared its
square). The others need a transform of the mask and one of its complement for that. CPU, one thread; SciPy and edt work
on the host also where the device is a GPU, and carry the masks there and the fields back.

By default one thing varies at a time: sizes and batches with small lesions, kinds of mask at 64^3; --product takes
every combination. Writes benchmarks/results/distance.json and prints medians (least - largest) over the rounds, the
speed as a multiple of SciPy's by round, memory at the peak as a multiple of the masks as fp32, and the largest relative
error against SciPy in fp64.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from harness import (
    KINDS,
    LABELS,
    Shape,
    peak_in_subprocess,
    print_table,
    ratios,
    resident_added,
    round_robin,
    rounded,
    save,
    shape_name,
    shape_of,
    shown,
    spread,
)
from harness import masks as make_masks
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from mets3d.ops.distance import load_backend

Spacing = tuple[float, float, float]
Fields = Callable[[Tensor], Tensor]  # bool [N, X, Y, Z] to fp32 of the same shape

SCIPY = "SciPy fg + bg"
SIZES = ["64", "96", "128", "160", "96x160x224"]


@dataclass(frozen=True)
class Case:
    shape: Shape
    batch: int
    kind: str

    @property
    def name(self) -> str:
        return f"{self.kind}, {self.batch} x {LABELS} x {shape_name(self.shape)}"

    @property
    def masks(self) -> Tensor:
        return make_masks(self.kind, self.batch * LABELS, self.shape)


REFERENCE = Case((128, 128, 128), 2, "small-lesions")


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    device = torch.device(options.device)
    runs, missing = contestants(device, options.spacing, options.squared)
    if options.peak:
        print(peak(runs[options.peak]))
        return
    for name, reason in missing.items():
        print(f"{name}: {reason}")
    peaks = {} if device.type == "cuda" else peaks_on_cpu(runs, options)
    cases = []
    for case in plan(options):
        cases.append(compare(case, runs, options, device))
        print_case(cases[-1], device)
    print_peaks(peaks)
    result = {"spacing_mm": options.spacing, "squared": options.squared, "not_installed": list(missing)}
    save("distance", device.type, result | {"peak_of_fp32_masks": peaks, "cases": cases}, device)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=shape_of, help=f"N or XxYxZ; default {' '.join(SIZES)}")
    parser.add_argument("--batches", nargs="+", type=int, help=f"items of {LABELS} labels each; default 1 2 4")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--kinds-size", type=shape_of, default="64", help="size at which the kinds are compared")
    parser.add_argument("--product", action="store_true", help="every combination of sizes, batches and kinds")
    parser.add_argument("--quick", action="store_true", help="sizes 64 and 128 and batch 2, unless given")
    parser.add_argument("--rounds", type=int, default=3, help="counted ones; one more warms up")
    parser.add_argument("--spacing", nargs=3, type=float, default=(1.0, 1.0, 1.0), help="voxel size in mm")
    parser.add_argument("--squared", action="store_true", help="squared distances, as the losses use them")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--peak", metavar="CONTESTANT", help="only print the bytes that one call of it adds")
    options = parser.parse_args()
    options.sizes = options.sizes or [shape_of(size) for size in (["64", "128"] if options.quick else SIZES)]
    options.batches = options.batches or ([2] if options.quick else [1, 2, 4])
    return options


def plan(options: argparse.Namespace) -> list[Case]:
    if options.product:
        return [Case(*each) for each in itertools.product(options.sizes, options.batches, options.kinds)]
    cases = [Case(options.kinds_size, REFERENCE.batch, kind) for kind in options.kinds]
    cases += [Case(size, REFERENCE.batch, REFERENCE.kind) for size in options.sizes]
    cases += [Case(REFERENCE.shape, batch, REFERENCE.kind) for batch in options.batches]
    return list(dict.fromkeys(cases))


def contestants(device: torch.device, spacing: Spacing, squared: bool) -> tuple[dict[str, Fields], dict[str, str]]:
    """What can run here, and why the rest cannot."""
    makers: dict[str, Callable[[Spacing, bool], Fields]] = {SCIPY: scipy_fields}
    if device.type == "cuda":
        makers["cuCIM fg + bg"] = cupy_fields("cucim.core.operations.morphology")
        makers["CuPy fg + bg"] = cupy_fields("cupyx.scipy.ndimage")
    makers["edt fg + bg"] = edt_fields
    for name in ("triton", "torch") if device.type == "cuda" else ("numba", "edt", "torch"):
        makers[f"mets3d {name}"] = our_fields(name)
    runs, missing = {}, {}
    for name, maker in makers.items():
        try:
            runs[name] = maker(spacing, squared)
        except ImportError as error:
            missing[name] = f"not installed ({error})"
    return runs, missing


def our_fields(name: str) -> Callable[[Spacing, bool], Fields]:
    def maker(spacing: Spacing, squared: bool) -> Fields:
        squared_field = load_backend(name)

        def fields(masks: Tensor) -> Tensor:
            field = squared_field(masks, np.tile(spacing, (len(masks), 1)), np.full(len(masks), np.inf))
            return field if squared else field.sqrt_()

        return fields

    return maker


def scipy_fields(spacing: Spacing, squared: bool, dtype: torch.dtype = torch.float32) -> Fields:
    def fields(masks: Tensor) -> Tensor:
        out = torch.empty(masks.shape, dtype=dtype)
        for mask, field in zip(masks.cpu().numpy(), out.numpy(), strict=True):
            field[...] = distance_transform_edt(mask, spacing) + distance_transform_edt(~mask, spacing)
        return (out.square_() if squared else out).to(masks.device)

    return fields


def edt_fields(spacing: Spacing, squared: bool) -> Fields:
    edt = importlib.import_module("edt")
    transform = edt.edtsq if squared else edt.edt

    def fields(masks: Tensor) -> Tensor:
        out = torch.empty(masks.shape, dtype=torch.float32)
        for mask, field in zip(masks.cpu().numpy(), out.numpy(), strict=True):
            np.add(
                transform(mask, anisotropy=tuple(spacing), parallel=1),
                transform(~mask, anisotropy=tuple(spacing), parallel=1),
                out=field,
            )
        return out.to(masks.device)

    return fields


def cupy_fields(module: str) -> Callable[[Spacing, bool], Fields]:
    def maker(spacing: Spacing, squared: bool) -> Fields:
        cupy = importlib.import_module("cupy")
        transform = importlib.import_module(module).distance_transform_edt

        def fields(masks: Tensor) -> Tensor:
            out = torch.empty(masks.shape, dtype=torch.float32, device=masks.device)
            for mask, field in zip(cupy.asarray(masks), cupy.asarray(out), strict=True):
                for side in (mask, ~mask):
                    distance = transform(side, sampling=spacing, float64_distances=False)
                    field[...] = distance if side is mask else field + distance
            return out.square_() if squared else out

        return fields

    return maker


def compare(case: Case, runs: dict[str, Fields], options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    masks = case.masks
    truth = scipy_fields(options.spacing, options.squared, torch.float64)(masks)
    errors = {}

    def look(name: str, fields: Tensor) -> None:
        errors[name] = max(relative_error(*pair) for pair in zip(fields.cpu(), truth, strict=True))

    masks = masks.to(device)
    measures = round_robin({name: bound(run, masks) for name, run in runs.items()}, options.rounds, device, look=look)
    compared = "wall_s" if device.type == "cuda" else "cpu_s"
    results: dict[str, dict[str, Any]] = {}
    for name, measured in measures.items():
        results[name] = {key: spread(measured[key]) for key in ("cpu_s", "wall_s")}
        results[name]["times_faster_than_scipy"] = ratios(measures[SCIPY][compared], measured[compared])
        results[name]["max_relative_error"] = rounded(errors[name])
        if "peak_bytes" in measured:
            results[name]["peak_of_fp32_masks"] = rounded(max(measured["peak_bytes"]) / (4 * masks.numel()))
    return {"case": case.name, "share_inside": rounded(masks.float().mean().item()), "results": results}


def bound(run: Fields, masks: Tensor) -> Callable[[], Tensor]:
    return lambda: run(masks)


def relative_error(found: Tensor, truth: Tensor) -> float:
    return float(((found.double() - truth).abs() / truth).max())


def peaks_on_cpu(runs: dict[str, Fields], options: argparse.Namespace) -> dict[str, float | None]:
    """One process a contestant: allocators keep what they free, and a second one would find it."""
    flags = ["--device", options.device, *(["--squared"] if options.squared else [])]
    found = {name: peak_in_subprocess(name, *flags) for name in runs}
    values = 4 * REFERENCE.batch * LABELS * np.prod(REFERENCE.shape)
    return {name: None if added is None else rounded(added / values) for name, added in found.items()}


def peak(run: Fields) -> int | None:
    masks = REFERENCE.masks
    run(masks[:, :8, :8, :8].contiguous())  # what compiling and importing take does not count
    return resident_added(lambda: run(masks))


def print_case(case: dict[str, Any], device: torch.device) -> None:
    gpu = device.type == "cuda"
    header = ["", "CPU s", "wall ms" if gpu else "wall s", "x SciPy", "max rel. error", *(["peak"] if gpu else [])]
    rows = []
    for name, result in case["results"].items():
        row = [name, shown(result["cpu_s"]), shown(result["wall_s"], 1000 if gpu else 1)]
        row += [shown(result["times_faster_than_scipy"]), f"{result['max_relative_error']:.1e}"]
        rows.append([*row, f"{result['peak_of_fp32_masks']:.2f} x"] if gpu else row)
    print_table(f"{case['case']} ({case['share_inside']:.2%} inside)", header, rows)


def print_peaks(peaks: dict[str, float | None]) -> None:
    rows = [[name, "-" if value is None else f"{value:.2f} x"] for name, value in peaks.items()]
    if rows:
        print_table(f"Memory added at the peak, in fp32 masks ({REFERENCE.name})", ["", "peak"], rows)


if __name__ == "__main__":
    main()
