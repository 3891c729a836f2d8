"""Compares the gradient of one training step for 1, 2 and 4 processes and accumulation 1 and 2, in every combination.

    python -m tests.training.equality [--out FILE.json] [--short]

prints the table of docs/log.md. The short form, which the test suite runs, has each of the terms that are with every
mode with one of the two targets in turn, and with 4 processes, which then all accumulate, with one mode for each
target. Every case is a step of the training loop itself on phantoms: mode x boundary term x target, with augmentation,
dropout and sampled points, at the same parameters, in fp64, and in fp32 without a boundary term. The gradient is the
one that the optimizer gets, unclipped. The reference is one process without accumulation.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import torch
from torch import Tensor, nn

MODES, TARGETS = ("cnn", "encoder", "decoder", "both"), ("regions", "labels")
WORLDS, ACCUMULATIONS = (1, 2, 4), (1, 2)
SHORT = {1: 2, 2: 2, 4: 4}  # one case in so many, by the number of processes
SHORT_ACCUMULATIONS = {1: (1, 2), 2: (1, 2), 4: (2,)}
JOINED = "hausdorff_distance+blob"
# A term knows nothing of the network's mode: these are with every mode, all others take turns.
WITH_EVERY_MODE = (
    *("none", "hausdorff_distance", "hausdorff_log", "hausdorff_erosion", "hausdorff_convolution"),
    *("signed_distance", "blob"),
)
STEP = 2  # of which some crop has no foreground
BARS = {"fp64": 1e-12, "fp32": 1e-5}
DTYPES = {"fp64": torch.float64, "fp32": torch.float32}

Gradients = dict[str, Tensor]

# What every process would import by itself, a large part of its time.
IMPORTED = ("torch._dynamo", "accelerate", "train", "mets3d.training.loop", "mets3d.training.session", "scipy.optimize",
            "scipy.sparse.csgraph", "mets3d.data.preprocess", "mets3d.phantoms.synth", "mets3d.losses.hausdorff",
            "tests.builders.runs")  # fmt: skip


def cases(*, one_in: int = 1) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields every case by its name `PRECISION/MODE/BOUNDARY/TARGET/DICE`, and its sections of the configuration.

    one_in: of the terms that are with every mode, yields one case in so many in fp64, each with each target.
    """
    from mets3d.settings.loss import BoundaryName

    boundaries = ("none", *get_args(BoundaryName), JOINED)
    for number, (precision, mode, boundary, target) in enumerate(itertools.product(BARS, MODES, boundaries, TARGETS)):
        if precision == "fp32" and boundary != "none":
            continue
        places = MODES.index(mode) + boundaries.index(boundary) + TARGETS.index(target)
        turn = (boundaries.index(boundary) + TARGETS.index(target)) % len(MODES)
        thinned = precision == "fp64" and places % one_in
        if thinned if boundary in WITH_EVERY_MODE else mode != MODES[turn]:
            continue
        # Both kinds of Dice where nothing else is added; else they take turns.
        for batch_dice in (False, True) if boundary == "none" else (number % 3 == 0,):
            name = "/".join((precision, mode, boundary, target, "batch" if batch_dice else "sample"))
            yield name, _sections(precision, mode, boundary, target, batch_dice)


def _sections(precision: str, mode: str, boundary: str, target: str, batch_dice: bool) -> dict[str, Any]:
    # Where a voxel's side of a threshold decides, rounding in fp32 may decide too: there nothing hangs on a threshold.
    exact = precision == "fp64"
    return {
        "data": {"target": target, "lesion_fraction": 0.25, "patch": [8, 8, 8]},
        "model": {
            "mode": mode,
            "deep_heads": 1,
            # So many that dropout leaves no layer without a channel: norms would turn rounding into features.
            "features": 8,
            "dropout": 0.2,
            "vit_dropout": 0.2,
            "masked_attention": exact,
        },
        "loss": {
            "boundary": boundary,
            "boundary_schedule": "gradient" if boundary == JOINED else "balanced",
            "boundary_weight": 1.0,
            "boundary_ramp": [0.0, 0.0],
            "batch_dice": batch_dice,
            "query_points": 24 if exact else 0,
        },
        "optim": {"clip_norm": 1e30},
        "train": {"batch_size": 8},
    }


def main() -> int:
    """Runs all worlds, prints the table and returns 0 if every difference is within its bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="writes the differences to this file too")
    parser.add_argument("--short", action="store_true", help="makes half of the cases, a quarter with 4 processes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _start(_make_store, folder / "store", processes=1)
        for world in WORLDS:
            told = (SHORT[world], SHORT_ACCUMULATIONS[world]) if options.short else (1, ACCUMULATIONS)
            _start(_run, world, _free_port(), folder, *told, processes=world)
        worlds = {file.stem: torch.load(file) for file in folder.glob("*.pt")}
    found = differences(worlds)
    print("\n".join(table(found)))
    if options.out is not None:
        options.out.write_text(json.dumps(found), encoding="utf-8")
    return 0 if all(value < BARS[case.split("/")[0]] for row in found.values() for case, value in row.items()) else 1


def _start(run: Callable[..., None], *told: Any, processes: int) -> None:
    """Runs a function in processes, each told its rank: forks of this one, which has imported all and computed nothing.

    Where there are no forks each imports by itself.
    """
    if not hasattr(os, "fork"):
        torch.multiprocessing.start_processes(run, told, nprocs=processes, start_method="spawn")
        return
    for module in IMPORTED:
        importlib.import_module(module)
    torch.multiprocessing.start_processes(run, told, nprocs=processes, start_method="fork")


def differences(worlds: Mapping[str, Gradients]) -> dict[str, dict[str, float]]:
    """Returns for each world but the first, and each case, the norm of the difference over the norm of the gradient."""
    reference = worlds["1x1"]
    return {
        world: {case: float((found - reference[case]).norm() / reference[case].norm()) for case, found in cases.items()}
        for world, cases in sorted(worlds.items())
        if world != "1x1"
    }


def table(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Returns the table: the largest difference per precision and mode, by processes x accumulation."""
    lines = ["| precision | mode | cases | " + " | ".join(found) + " |", "|---" * (3 + len(found)) + "|"]
    for precision, mode in itertools.product(BARS, MODES):
        rows = {
            world: [v for case, v in row.items() if case.startswith(f"{precision}/{mode}/")]
            for world, row in found.items()
        }
        largest = " | ".join(f"{max(values):.1e}" for values in rows.values())
        lines.append(f"| {precision} | {mode} | {len(next(iter(rows.values())))} | {largest} |")
    return lines


# ---------------------------------------------------------------- in each process


def _run(rank: int, world: int, port: int, folder: Path, one_in: int, accumulations: Sequence[int]) -> None:
    """Makes the step of every case in this process, and saves the gradients of rank 0."""
    torch.set_num_threads(1)
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in names.items()} if world > 1 else {}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_CPU": "true", "WANDB_MODE": "disabled"}
    from accelerate import Accelerator

    from mets3d.training.step import train_step
    from tests.builders.runs import write_config

    accelerator = Accelerator(cpu=True)
    assert accelerator.num_processes == world
    mine = folder / f"rank{rank}"
    mine.mkdir(exist_ok=True)
    for accumulation in accumulations:
        gradients: Gradients = {}
        micro_batches: list[Any] = []  # the same in every case
        sessions: dict[tuple[str, ...], Any] = {}  # of the cases with one network
        for name, sections in cases(one_in=one_in):
            sections["train"]["accumulation"] = accumulation
            file = write_config(mine, folder / "store", **sections)
            precision, mode, _, target, _ = name.split("/")
            if (precision, mode, target) not in sessions:
                sessions[precision, mode, target] = _session(file, accelerator, DTYPES[precision])
            session = _with_the_loss_of(file, sessions[precision, mode, target])
            micro_batches = micro_batches or _micro_batches(session)
            torch.manual_seed(rank)  # nothing may hang on it
            train_step(session, STEP, micro_batches)
            found = [parameter.grad for parameter in session.network.parameters() if parameter.grad is not None]
            gradients[name] = torch.cat([gradient.double().flatten() for gradient in found])
        if rank == 0:
            torch.save(gradients, folder / f"{world}x{accumulation}.pt")
    accelerator.end_training()


def _session(file: Path, accelerator: Any, dtype: torch.dtype) -> Any:
    """Returns what a step needs of a session, without a run directory."""
    import train as script
    from mets3d.config import load_file
    from mets3d.training import optim

    config = load_file(file)
    job = script.compose(config, accelerator)
    network = InPrecision(job.network, dtype)
    prepared, optimizer = accelerator.prepare(network, optim.build(network, config.optim))
    return SimpleNamespace(
        job=replace(job, network=network),
        accelerator=accelerator,
        network=prepared,
        optimizer=optimizer,
        balance=None,
        ema=None,
        start={name: tensor.clone() for name, tensor in network.state_dict().items()},
    )


def _with_the_loss_of(file: Path, session: Any) -> Any:
    """Gives a session the loss of a configuration, and the parameters that it began with."""
    from mets3d import losses
    from mets3d.config import load_file
    from mets3d.training.balance import balance_of

    job, config = session.job, load_file(file)
    queries = job.network.inner.has_queries
    loss = losses.build(config.loss, target=job.target, steps=config.train.curve_steps, queries=queries)
    session.job = replace(job, config=config, loss=loss)
    job.network.load_state_dict(session.start)
    if loss.needs_ratio:
        session.balance = balance_of(config.loss, session.accelerator.device)
        session.balance.averages += torch.tensor([[1.0], [0.5], [0.5]])
    return session


def _micro_batches(session: Any) -> list[Any]:
    from mets3d.data.loader import batches

    train, accelerator = session.job.config.train, session.accelerator
    (micro_batches,) = batches(
        session.job.samples,
        steps=range(STEP, STEP + 1),
        batch_size=train.batch_size,
        processes=accelerator.num_processes,
        rank=accelerator.process_index,
        accumulation=train.accumulation,
    )
    if accelerator.num_processes == 1:
        empty = [bool(labels.max() == 0) for batch in micro_batches for labels in batch.labels]
        assert any(empty), "the comparison is only of use with a crop without foreground"
        assert not all(empty)
    return list(micro_batches)


class InPrecision(nn.Module):
    """A network in another precision than that of its images."""

    def __init__(self, inner: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.inner, self.dtype = inner.to(dtype), dtype

    def forward(self, image: Tensor, keys: Tensor) -> Any:
        return self.inner(image.to(self.dtype), keys)


# ---------------------------------------------------------------- preparation


def _make_store(_rank: int, store: Path) -> None:
    torch.set_num_threads(1)
    from mets3d.config import Data, Preprocess
    from mets3d.data.preprocess import preprocess
    from mets3d.phantoms.synth import synthesise

    synthesise(store.with_name("data"), 6, 5, shape=(40, 48, 36), spacing_mm=(4.0, 4.0, 4.0))
    preprocess(store.with_name("data"), store, Preprocess(spacing_mm=(4.0, 4.0, 4.0)), data=Data())


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
