"""Trains one network: accelerate launch train.py --config configs/quickstart.yaml [--section.key=value ...]

Composes configuration, Accelerator, data, network and loss into a job, opens a session with it, and hands that to the
loop. The same command started again goes on from the newest checkpoint.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mets3d.config import Config, from_command_line
from mets3d.console import in_utf8
from mets3d.training.accumulation import asked, find
from mets3d.training.orphan import follow_launcher
from mets3d.training.stop import listening

if TYPE_CHECKING:
    from collections.abc import Sequence

    from accelerate import Accelerator

    from mets3d.data.loader import Samples
    from mets3d.data.store import Store
    from mets3d.training.job import Job


def main() -> int:
    """Trains as the command line says and returns the exit code."""
    with listening(to_the_end=__name__ == "__main__") as wish:
        follow_launcher()
        words, processes = asked(sys.argv[1:])
        config = from_command_line(words, program="train.py")

        # Torch is imported only now, so that a mistyped key is reported at once.
        from mets3d.training.launch import leave, one_message, started
        from mets3d.training.loop import fit
        from mets3d.training.session import open_session

        with started(config) as accelerator:
            with one_message(accelerator):
                job = compose(config, accelerator)
                if processes:
                    return find(job, accelerator, processes)
            with open_session(job, accelerator, wish) as session:
                fit(session)
            leave(accelerator, session.exit_code)
            return session.exit_code


def compose(config: Config, accelerator: Accelerator) -> Job:
    """Composes the job of a run and writes nothing but the copy of the store that data.cache asks for.

    Raises ValueError or OSError if settings or files do not fit.

    In a notebook: `with open_session(compose(config, accelerator), accelerator) as session: fit(session)`.
    """
    import torch

    from mets3d import losses, models
    from mets3d.data.asked_of_store import check_asked
    from mets3d.data.fingerprint import best_threshold
    from mets3d.data.folds import split_of
    from mets3d.data.loader import check_divisible
    from mets3d.regions import Target
    from mets3d.rundir import RunDir
    from mets3d.training.begin_from import begin_from
    from mets3d.training.job import Job
    from mets3d.training.validation import HeldOutCases

    data = config.data
    run = RunDir(Path(config.output) / config.name)
    check_divisible(config.train.batch_size, accelerator.num_processes, config.train.accumulation)
    store = _store(config, accelerator)
    asked, split = check_asked(store, data), split_of(store, data)
    target = Target(data.target, data.cavity)

    torch.manual_seed(config.seed)
    network = models.build(config.model, in_channels=len(store.plan.sequences), target=target, patch=data.patch)
    # A run that has checkpoints goes on from them, also after the weights that it began with are gone.
    fresh = config.weights is not None and not run.checkpoint_steps()
    begun, origin = begin_from(config, network) if fresh else ([], None)
    loss = losses.build(config.loss, target=target, steps=config.train.curve_steps, queries=network.has_queries)
    samples = _samples(config, store, split.training, target.names if loss.needs_lesions else ())
    validation = HeldOutCases(config, accelerator, store, split.held_out)
    records: dict[Path, Any] = {
        run.plan: store.plan.as_json(),
        run.split: split.as_json(),
        run.splits: split.entries,
        # The score to beat: the best single threshold on one sequence, t2f where it is there.
        run.baseline: best_threshold(store.fingerprint, split.training, split.held_out),
    }
    remarks = [*asked, *split.remarks, *begun]
    return Job(config, run, network, loss, samples, target, validation, records, store, remarks, origin)


def _store(config: Config, accelerator: Accelerator) -> Store:
    from mets3d.data.store import open_store
    from mets3d.data.store_cache import local_copy

    place = Path(config.data.store)
    if config.data.cache is not None:
        with accelerator.local_main_process_first():  # one process a host copies, the others find the copy
            place = local_copy(place, Path(config.data.cache))
    return open_store(place, expected=(config.preprocess, config.data), source_may_change=True)


def _samples(config: Config, store: Store, cases: Sequence[str], lesions_of: Sequence[str]) -> Samples:
    from mets3d import augment
    from mets3d.data.loader import Samples
    from mets3d.settings.channels import parents

    data, channels = config.data, store.plan.sequences
    return Samples(
        store.path,
        cases,
        patch=data.patch,
        seed=config.seed,
        lesion_fraction=data.lesion_fraction,
        lesions_per_case=data.lesions_per_case,
        draw=augment.build(config.augment, sequences=len(channels), parents=[parents(name) for name in channels]),
        channels=channels,
        lesions_of=lesions_of,
        copy_paste=config.augment.copy_paste if config.augment.enabled else 0.0,
    )


if __name__ == "__main__":
    in_utf8()
    raise SystemExit(main())
