"""Trains one network: accelerate launch train.py --config configs/quickstart.yaml [--section.key=value ...]

Composes configuration, Accelerator, data, network and loss, and hands them to the loop. Start it again with the same
words and it goes on where it was.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mets3d.config import from_command_line
from mets3d.training.orphan import follow_launcher


def main() -> int:
    follow_launcher()
    config = from_command_line(sys.argv[1:], program="train.py")

    # After the configuration is known to be good: a mistyped key is answered before torch is imported.
    import torch

    from mets3d import augment, losses, models
    from mets3d.data.cases import split
    from mets3d.data.fingerprint import best_threshold
    from mets3d.data.loader import Samples, check_divisible
    from mets3d.data.store import open_store
    from mets3d.files import write_json
    from mets3d.models.weights import load_weights
    from mets3d.regions import Target
    from mets3d.rundir import RunDir, open_run
    from mets3d.training import launch, loop, state
    from mets3d.training.validation import HeldOutCases

    run = RunDir(Path(config.output) / config.name)
    with launch.one_message():
        accelerator = launch.start(config, run)
    try:
        with launch.one_message(accelerator):
            check_divisible(config.train.batch_size, accelerator.num_processes, config.train.accumulation)
            store = open_store(Path(config.data.store), expected=config.preprocess, cavity=config.data.cavity)
            training, held_out = split(store.cases, config.data.folds, config.data.fold, config.data.split_seed)
            target = Target(config.data.target, config.data.cavity)
            sequences = len(store.plan["sequences"])
            spacing_mm = tuple(store.plan["spacing_mm"])

            torch.manual_seed(config.seed)
            network = models.build(config.model, in_channels=sequences, target=target, patch=config.data.patch)
            if config.weights is not None:
                load_weights(network, open_run(Path(config.weights), needs=("weights",)).weights)
            samples = Samples(
                Path(config.data.store),
                training,
                patch=config.data.patch,
                seed=config.seed,
                lesion_fraction=config.data.lesion_fraction,
                draw=augment.build(config.augment, sequences=sequences),
            )
            fold = {"fold": config.data.fold, "folds": config.data.folds, "training": training, "validation": held_out}
            state.prepare_run(config, run, accelerator, plan=store.plan, split=fold)

        if accelerator.is_main_process:
            write_json(run.baseline, best_threshold(store.fingerprint, training, held_out))
            launch.note_start(run, accelerator, state.count_parameters(network))
        job = loop.Job(
            config=config,
            run=run,
            network=network,
            loss=losses.build(config.loss, target=target, spacing_mm=spacing_mm, steps=config.train.steps),
            samples=samples,
            target=target,
            spacing_mm=spacing_mm,
            validate=HeldOutCases(config, accelerator, store, held_out, target),
        )
        exit_code = loop.fit(job, accelerator)
        if accelerator.is_main_process:
            launch.note_end(run, exit_code)
        return exit_code
    finally:
        accelerator.end_training()


if __name__ == "__main__":
    raise SystemExit(main())
