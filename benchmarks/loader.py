"""Compares the loader with nnU-Net v2's own: patches of 128^3 voxels and four sequences by two workers, in turns.

    .venv/bin/python -m pip install --no-deps -r benchmarks/requirements.txt
    .venv/bin/python benchmarks/loader.py [--cases 6] [--patch 128] [--workers 2] [--patches 100] [--rounds 5]

Phantoms of 240x240x155 voxels at 1 mm (`mets3d synth --difficulty mets`) are prepared by either tool. Each contestant
then loads batches of two in a process of its own, which starts the workers, takes a few batches, and counts from there:

    mets3d                    the training's loader, without augmentation
    mets3d, as it trains      the same with what the default augmentation reads; it is applied on the device
    mets3d, copy-paste        the first with a lesion of another case in every patch
    nnU-Net without           nnUNetTrainerNoDA, nnU-Net's own trainer without augmentation
    nnU-Net, larger patches   the patches of nnUNetTrainer as it reads them, with room for rotations, not augmented
    nnU-Net as it trains      nnUNetTrainer, with its augmentation

Measured are the CPU seconds of the process and its workers, and wall seconds, per patch that the process is handed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import torch
from harness import Measures, print_table, ratios, save, shape_name, shape_of, shown, spread

from mets3d.phantoms.synth import synthesise

OURS, TRAINING, PASTING = "mets3d", "mets3d, as it trains", "mets3d, copy-paste"
WITHOUT, LARGER, AUGMENTED = "nnU-Net without", "nnU-Net, larger patches", "nnU-Net as it trains"
BATCH = 2
WARM_UP = 8  # batches until the workers have started and every case has been read


def main() -> None:
    options = _options()
    if options.measure:
        print(json.dumps(_measured(options.measure, options)))
        return
    folder = options.folder or Path(tempfile.mkdtemp(prefix="loader-"))
    try:
        if not (folder / "store").exists():
            _prepare(folder, options)
        measured: dict[str, Measures] = {name: {} for name in CONTESTANTS}
        for _ in range(options.rounds):
            for name, row in measured.items():
                for key, value in _in_a_process(name, folder).items():
                    row.setdefault(key, []).append(value)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)
    _show(measured, options)


def _prepare(folder: Path, options: argparse.Namespace) -> None:
    """Makes phantoms, and prepares them by the commands of either tool."""
    synthesise(folder / "data", options.cases, 1, difficulty="mets")
    program = str(Path(sys.executable).parent / "nnUNetv2_plan_and_preprocess")
    ours = [sys.executable, "-m", "mets3d"]
    for command in (
        [*ours, "convert", str(folder / "data"), str(folder / "raw" / "Dataset001_Phantoms"), "--to", "nnunet-v2"],
        [program, "-d", "1", "-c", "3d_fullres", "-np", "1", "-npfp", "1"],
        [*ours, "preprocess", str(folder / "data"), str(folder / "store")],
    ):
        subprocess.run(command, env=_environment(folder, options), check=True, stdout=sys.stderr)


def _environment(folder: Path, options: argparse.Namespace) -> dict[str, str]:
    places = {"nnUNet_raw": "raw", "nnUNet_preprocessed": "preprocessed", "nnUNet_results": "results"}
    return {
        **os.environ,
        **{name: str(folder / inner) for name, inner in places.items()},
        "nnUNet_n_proc_DA": str(options.workers),
    }


def _in_a_process(name: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, *sys.argv, "--measure", name, "--folder", str(folder)]
    done = subprocess.run(
        command, env=_environment(folder, _options()), capture_output=True, text=True, check=False, timeout=1800
    )
    if done.returncode:
        raise SystemExit(f"{name}\n{done.stderr[-3000:]}")
    measures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measures


def _measured(name: str, options: argparse.Namespace) -> dict[str, float]:
    with redirect_stdout(sys.stderr), CONTESTANTS[name](options) as following:
        for _ in range(WARM_UP):
            following()
        cpu, wall = _cpu_seconds(), time.perf_counter()
        for _ in range(options.patches // BATCH):
            following()
        cpu, wall = _cpu_seconds() - cpu, time.perf_counter() - wall
    patches = options.patches // BATCH * BATCH
    return {"cpu_s": cpu / patches, "wall_s": wall / patches}


def _cpu_seconds() -> float:
    """CPU seconds of this process and of all that it has started and that run."""
    this = psutil.Process()
    times = [process.cpu_times() for process in (this, *this.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))


# ---------------------------------------------------------------- contestants

Following = Callable[[], Any]  # takes the next batch


@contextmanager
def _ours(options: argparse.Namespace, *, augmented: bool = False, copy_paste: float = 0.0) -> Iterator[Following]:
    from mets3d import augment
    from mets3d.config import Augment
    from mets3d.data.loader import Samples, batches
    from mets3d.data.store import open_store

    store = options.folder / "store"
    draw = augment.build(Augment(), sequences=4) if augmented else None
    cases = open_store(store).cases
    samples = Samples(store, cases, patch=options.patch, seed=0, draw=draw, copy_paste=copy_paste)
    loaded = batches(samples, steps=range(10**4), batch_size=BATCH, workers=options.workers)
    try:
        yield lambda: next(loaded)
    finally:
        loaded.close()


@contextmanager
def _theirs(options: argparse.Namespace, trainer: str = "nnUNetTrainer", *, bare: bool = False) -> Iterator[Following]:
    """nnU-Net's training loader, as its trainer makes it; `bare` leaves out what follows the reading of patches."""
    from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter

    training, validation = _trainer(options, trainer).get_dataloaders()
    validation._finish()
    if bare:
        training._finish()
        training.generator.transforms = None
        training = NonDetMultiThreadedAugmenter(
            training.generator, None, options.workers, num_cached=max(6, options.workers // 2), wait_time=0.002
        )
    try:
        yield lambda: next(training)
    finally:
        training._finish()


def _trainer(options: argparse.Namespace, module: str) -> Any:
    place = options.folder / "preprocessed" / "Dataset001_Phantoms"
    plans, dataset = (json.loads((place / file).read_text()) for file in ("nnUNetPlans.json", "dataset.json"))
    plans["configurations"]["3d_fullres"] |= {"patch_size": list(options.patch), "batch_size": BATCH}
    plans["continue_training"] = False
    kind = getattr(import_module(f"nnunetv2.training.nnUNetTrainer.{module}"), module.rpartition(".")[2])
    trainer = kind(plans, "3d_fullres", "all", dataset, torch.device("cpu"))
    trainer._set_batch_size_and_oversample()
    return trainer


CONTESTANTS: dict[str, Callable[[argparse.Namespace], Any]] = {
    OURS: _ours,
    TRAINING: lambda options: _ours(options, augmented=True),
    PASTING: lambda options: _ours(options, copy_paste=1.0),
    WITHOUT: lambda options: _theirs(options, "variants.data_augmentation.nnUNetTrainerNoDA"),
    LARGER: lambda options: _theirs(options, bare=True),
    AUGMENTED: _theirs,
}


# ---------------------------------------------------------------- the report


def _show(measured: dict[str, Measures], options: argparse.Namespace) -> None:
    ours = measured[OURS]
    rows = []
    for name, row in measured.items():
        cells = [shown(spread(row["cpu_s"]), 1000), shown(ratios(row["cpu_s"], ours["cpu_s"])),
                 shown(spread([1 / seconds for seconds in row["wall_s"]]))]  # fmt: skip
        rows.append([name, *cells])
    title = f"patches of {shape_name(options.patch)}, {options.workers} workers, {options.patches} patches a round"
    print_table(title, ["", "CPU ms a patch", "times ours", "patches a second"], rows)
    result: dict[str, Any] = {
        name: {key: spread(values) for key, values in row.items()}
        | {"cpu_times_ours": ratios(row["cpu_s"], ours["cpu_s"])}
        for name, row in measured.items()
    }
    save("loader", f"{shape_name(options.patch)}, {options.workers} workers", result, torch.device("cpu"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--patch", type=shape_of, default=shape_of("128"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--patches", type=int, default=100, help="counted in a round, by each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where prepared cases are kept for the next time; none: nowhere")
    parser.add_argument("--measure", choices=list(CONTESTANTS), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
