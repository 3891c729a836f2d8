"""What the benchmarks share: masks, rounds over contestants, peak memory, the machine, tables and result files.

Only imported; run by itself it does nothing.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from mets3d.files import write_text

RESULTS = Path(__file__).parent / "results"
LIBRARIES = (
    *("torch", "numpy", "scipy", "numba", "edt", "monai", "triton", "cupy", "cucim"),
    *("connected-components-3d", "panoptica", "surface-distance", "nnunetv2"),
)
LABELS = 3
MIB = 2**20

Shape = tuple[int, int, int]
Run = Callable[[], Any]
Measures = dict[str, list[float]]


def masks(kind: str, volumes: int, shape: Shape, seed: int = 0) -> Tensor:
    """Boolean [volumes, X, Y, Z] of one of KINDS, each volume with voxels of both classes."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([KINDS[kind](rng, shape) for _ in range(volumes)]))


def _small_lesions(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    for _ in range(rng.integers(1, 11)):
        mask |= _ball(shape, rng.uniform(0, shape), rng.uniform(2, 10))
    return mask


def _organ(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return _ball(shape, np.array(shape) / 2 + rng.uniform(-2, 2, 3), min(shape) * 45 / 128)


def _half(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[: shape[0] // 2 + rng.integers(-2, 3)] = True
    return mask


def _noise(share: float) -> Callable[[np.random.Generator, Shape], np.ndarray]:
    return lambda rng, shape: rng.random(shape) < share


def _smooth_noise(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    values = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 3)
    mask: np.ndarray = values > np.quantile(values, 0.9)
    return mask


def _ball(shape: Shape, centre: np.ndarray, radius: float) -> np.ndarray:
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    squares = [np.square(axis - c, dtype=np.float32) for axis, c in zip(axes, centre, strict=True)]
    ball: np.ndarray = squares[0] + squares[1] + squares[2] <= radius**2
    return ball


KINDS: dict[str, Callable[[np.random.Generator, Shape], np.ndarray]] = {
    "small-lesions": _small_lesions,
    "organ": _organ,
    "half": _half,
    "noise-50": _noise(0.5),
    "noise-1": _noise(0.01),
    "smooth-noise-10": _smooth_noise,
}


def round_robin(
    contestants: Mapping[str, Run],
    rounds: int,
    device: torch.device,
    *,
    warm_up: int = 1,
    look: Callable[[str, Any], None] = lambda _name, _result: None,
) -> dict[str, Measures]:
    """Measures of each contestant, one a round; all take turns, so that a busy spell of the machine hits them alike.

    The first `warm_up` rounds are not counted. `look` sees each result of the very first round.
    """
    measures: dict[str, Measures] = {name: {} for name in contestants}
    for number in range(-warm_up, rounds):
        for name, run in contestants.items():
            result, measured = _measured(run, device)
            if number == -warm_up:
                look(name, result)
            del result
            if number >= 0:
                for measure, value in measured.items():
                    measures[name].setdefault(measure, []).append(value)
    return measures


def _measured(run: Run, device: torch.device) -> tuple[Any, dict[str, float]]:
    """Result of one call; its CPU and wall seconds; on CUDA also seconds between two events, and bytes it added."""
    if device.type != "cuda":
        cpu, wall = time.process_time(), time.perf_counter()
        result = run()
        return result, {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    _empty_cupy_pool()
    torch.cuda.synchronize()
    cpu, wall = time.process_time(), time.perf_counter()
    start.record()
    result = run()
    end.record()
    torch.cuda.synchronize()
    measured = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    measured["event_s"] = start.elapsed_time(end) / 1000
    measured["peak_bytes"] = torch.cuda.max_memory_allocated() - before + _cupy_pool_bytes()
    return result, measured


def _empty_cupy_pool() -> None:
    if "cupy" in sys.modules:
        sys.modules["cupy"].get_default_memory_pool().free_all_blocks()


def _cupy_pool_bytes() -> float:
    """What CuPy took from the device, which torch does not see; its pool keeps everything, so this is a peak."""
    if "cupy" not in sys.modules:
        return 0
    total: float = sys.modules["cupy"].get_default_memory_pool().total_bytes()
    return total


def resident_added(run: Run) -> int | None:
    """Bytes that one call adds at its peak to the memory of this process; None where the system does not tell.

    For a fresh process: in a used one the call would find freed memory that is still resident.
    """
    try:
        Path("/proc/self/clear_refs").write_text(
            "5", encoding="utf-8"
        )  # the high-water mark falls to what is resident now
        before = resident_bytes()
        kept = run()
        peak = resident_bytes("VmHWM")
    except (OSError, TypeError):
        return None
    del kept
    return peak - before


def resident_bytes(field: str = "VmRSS") -> int:
    """Resident memory of this process, or with VmHWM the most it was. OSError where there is no /proc."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    if not found:
        raise OSError(f"no {field} in /proc/self/status")
    return int(found[1]) * 1024


def peak_in_subprocess(name: str, *arguments: str) -> int | None:
    """What this script prints as an integer when it is called with `--peak NAME`; None if it does not."""
    command = [sys.executable, sys.argv[0], "--peak", name, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = done.stdout.strip().splitlines()[-1:]
    return int(last[0]) if done.returncode == 0 and last and last[0].lstrip("-").isdigit() else None


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, least and largest, and the values themselves."""
    kept = [rounded(value) for value in values]
    return {"median": rounded(statistics.median(values)), "min": min(kept), "max": max(kept), "rounds": kept}


def ratios(reference: Sequence[float], mine: Sequence[float]) -> dict[str, Any]:
    """How many times faster than the reference, by round."""
    return spread([theirs / ours for theirs, ours in zip(reference, mine, strict=True)])


def rounded(value: float) -> float:
    return float(f"{value:.4g}")


def shown(values: Mapping[str, Any] | None, scale: float = 1.0, digits: int = 3) -> str:
    """`median (min - max)`."""
    if values is None:
        return "-"
    median, low, high = (plain(values[key] * scale, digits) for key in ("median", "min", "max"))
    return f"{median} ({low} - {high})"


def plain(value: float, digits: int) -> str:
    """To so many significant digits, never with an exponent for a large number."""
    return f"{value:.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    print(f"\n{title}")
    for row in [header, ["-" * width for width in widths], *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), flush=True)


def fill_page(page: Path, texts: Mapping[str, str]) -> None:
    """Writes texts into a page, each between the comments that name it."""
    content = page.read_text(encoding="utf-8")
    for name, text in texts.items():
        print(f"\n{name}\n{text}")
        begin, end = (re.search(mark, content) for mark in (rf"<!-- {name}: .*? -->\n", rf"<!-- end of {name} -->"))
        if begin is None or end is None:
            raise SystemExit(f"{page}: expected the comments that enclose {name}")
        content = f"{content[: begin.end()]}\n{text}\n{content[end.start() :]}"
    write_text(page, content)


def save(name: str, section: str, result: Mapping[str, Any], device: torch.device) -> None:
    """Puts one section into results/NAME.json, with the machine; other sections of the file stay."""
    path = RESULTS / f"{name}.json"
    sections = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    sections[section] = {"machine": machine(device), **result}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(sections, indent=1)
    # One line for the rounds of a measure.
    text = re.sub(r"\[\s+([-\d.e+,\s]+?)\s+\]", lambda found: "[" + re.sub(r"\s+", " ", found[1]) + "]", text)
    path.write_text(text + "\n", encoding="utf-8")


def machine(device: torch.device) -> dict[str, Any]:
    return {
        "command": " ".join(["benchmarks/" + Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d"),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "python": platform.python_version(),
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
    }


def cpu_model() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    """Version of a library; CuPy and cuCIM are packaged by CUDA version."""
    for package in (
        name,
        *(f"{name}-{suffix}" for suffix in ("cuda11x", "cuda12x", "cuda13x", "cu11", "cu12", "cu13")),
    ):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return None


def shape_of(text: str) -> Shape:
    """`96` or `96x160x224`."""
    numbers = [int(number) for number in text.split("x")]
    if len(numbers) not in (1, 3) or min(numbers) < 2:
        raise argparse.ArgumentTypeError(f"expected N or XxYxZ, found {text}")
    x, y, z = numbers * 3 if len(numbers) == 1 else numbers
    return x, y, z


def shape_name(shape: Shape) -> str:
    return str(shape[0]) if len(set(shape)) == 1 else "x".join(map(str, shape))
