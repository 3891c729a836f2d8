"""Compares planning and preprocessing with nnU-Net v2: the same four cases, each tool by its own commands, in turns.

    .venv/bin/python -m pip install --no-deps -r benchmarks/requirements.txt
    .venv/bin/python benchmarks/preprocess.py [--cases 4] [--rounds 3] [--jobs 2]

Cases are phantoms of 240x240x155 voxels at 1 mm; `mets3d convert` lays them out for nnU-Net, which is not timed.

    mets3d     mets3d plan DATA --out plan.yaml; mets3d preprocess DATA STORE --config plan.yaml --jobs 2
    nnU-Net    nnUNetv2_plan_and_preprocess -d 1 -c 3d_fullres -np 2 --verify_dataset_integrity (8 processes
               make the fingerprint), and the same with -npfp 2

Measured are wall seconds, CPU seconds with those of child processes, and the peak of the memory of all processes
together, each shared page counted once (PSS), looked at five times a second.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import torch
from harness import MIB, Measures, print_table, ratios, save, shown, spread

from mets3d.phantoms.synth import synthesise

OURS, AS_IT_COMES, FEWER = "mets3d", "nnU-Net", "nnU-Net -npfp 2"


def main() -> None:
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="preprocess-", dir=options.folder))
    try:
        synthesise(folder / "data", options.cases, 0)
        raw = folder / "raw" / "Dataset001_Phantoms"
        _run(_mets3d("convert", folder / "data", raw, "--to", "nnunet-v2"), folder)
        measured: dict[str, Measures] = {OURS: {}, AS_IT_COMES: {}, FEWER: {}}
        for _ in range(options.rounds):
            for name, row in measured.items():
                commands = _ours(folder, options.jobs) if name == OURS else _theirs(options.jobs, fewer=name == FEWER)
                for key, value in _measured(commands, folder).items():
                    row.setdefault(key, []).append(value)
    finally:
        shutil.rmtree(folder)
    _show(measured, options)


def _ours(folder: Path, jobs: int) -> list[list[str]]:
    shutil.rmtree(folder / "store", ignore_errors=True)
    plan = folder / "plan.yaml"
    plan.unlink(missing_ok=True)
    planning = _mets3d("plan", folder / "data", "--out", plan, "--memory-gb", "8", "--jobs", jobs)
    return [planning, _mets3d("preprocess", folder / "data", folder / "store", "--config", plan, "--jobs", jobs)]


def _mets3d(*words: object) -> list[str]:
    return [sys.executable, "-m", "mets3d", *map(str, words)]


def _theirs(jobs: int, *, fewer: bool) -> list[list[str]]:
    program = str(Path(sys.executable).parent / "nnUNetv2_plan_and_preprocess")
    words = [program, "-d", "1", "-c", "3d_fullres", "-np", str(jobs), "--verify_dataset_integrity", "--clean"]
    return [words + (["-npfp", str(jobs)] if fewer else [])]


# ---------------------------------------------------------------- measuring


def _measured(commands: Sequence[Sequence[str]], folder: Path) -> dict[str, float]:
    cpu, wall, peak = 0.0, 0.0, 0.0
    for command in commands:
        before, start = os.times(), time.perf_counter()
        peak = max(peak, _run(command, folder))
        after = os.times()
        wall += time.perf_counter() - start
        cpu += after.children_user + after.children_system - before.children_user - before.children_system
    return {"cpu_s": cpu, "wall_s": wall, "peak_bytes": peak}


def _run(command: Sequence[str], folder: Path) -> float:
    """Runs a command to its end and returns the peak memory of its processes in bytes."""
    places = {name: str(folder / inner) for name, inner in (
        ("nnUNet_raw", "raw"), ("nnUNet_preprocessed", "preprocessed"), ("nnUNet_results", "results"))}  # fmt: skip
    process = subprocess.Popen(
        command, env={**os.environ, **places}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    peaks = [0.0]
    watching = threading.Thread(target=_watch, args=(process.pid, peaks), daemon=True)
    watching.start()
    _, errors = process.communicate()
    watching.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\n{errors[-3000:]}")
    return max(peaks)


def _watch(pid: int, peaks: list[float]) -> None:
    try:
        root = psutil.Process(pid)
        while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
            peaks.append(float(sum(_pss(process) for process in [root, *root.children(recursive=True)])))
            time.sleep(0.2)
    except psutil.NoSuchProcess:
        return


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def _show(measured: dict[str, Measures], options: argparse.Namespace) -> None:
    rows = []
    for name, row in measured.items():
        cells = []
        for key, scale in (("cpu_s", 1), ("wall_s", 1), ("peak_bytes", 1 / MIB)):
            cells += [shown(spread(row[key]), scale), shown(ratios(row[key], measured[OURS][key]))]
        rows.append([name, *cells])
    header = ["", "CPU s", "ours less by", "wall s", "ours less by", "peak MiB", "ours less by"]
    print_table(f"{options.cases} cases of 240x240x155, {options.jobs} processes", header, rows)
    result = {name: {key: spread(values) for key, values in row.items()} for name, row in measured.items()}
    save("preprocess", "plan and preprocess", result, torch.device("cpu"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to write, on a disk with 5 GB free")
    return parser.parse_args()


if __name__ == "__main__":
    main()
