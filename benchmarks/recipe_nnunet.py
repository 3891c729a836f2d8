"""Runs nnU-Net v2 itself for benchmarks/recipe.py: its planner, trainer, augmentation, schedule and inference.

What is set by hand stands in `prepare` (the plan's patch, batch and topology, so that both networks are alike) and in
`train` (the number of its epochs and of the steps in one). Only imported; run by itself it does nothing.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recipe_arms import FEATURES, LEVELS, SCALES, Scale
from recipe_data import Place

from mets3d.data.convert.convert import convert
from mets3d.files import write_json

NUMBER, NAME, CONFIGURATION = 12, "Dataset012_Recipe", "3d_fullres"
GPU_WORKERS = 3  # a GPU would wait for one; they do not draw the same samples in two runs of a seed
EPOCHS = 50  # the schedule falls once an epoch; of its own 1000 epochs each would have one step


def prepare(place: Place, jobs: int) -> None:
    """Converts the heads in so many processes, and has nnU-Net take their fingerprint, plan and preprocess them."""
    _environment(place)
    from nnunetv2.experiment_planning import plan_and_preprocess_api as nnunet
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor

    converted = convert(place.cases, place.nnunet / "raw" / NAME, "nnunet-v2", jobs=jobs)
    if converted.faults:
        raise SystemExit(f"cases that nnU-Net cannot have: {converted.faults}")
    fingerprint = DatasetFingerprintExtractor(NUMBER, jobs)
    fingerprint.num_foreground_voxels_for_intensitystats = 1e6  # only CT reads these numbers; 1e8 take 5 GB
    fingerprint.run(overwrite_existing=True)
    nnunet.plan_experiments([NUMBER])
    folder = place.nnunet / "preprocessed" / NAME
    _set_topology(folder / "nnUNetPlans.json", SCALES["compare"])
    nnunet.preprocess_dataset(NUMBER, "nnUNetPlans", (CONFIGURATION,), [jobs])
    (folder / "splits_final.json").write_bytes(place.split.read_bytes())


def _set_topology(plans_file: Path, scale: Scale) -> None:
    """Writes our patch, batch, stages and channels into the plan; all else stays as nnU-Net planned it."""
    plans = json.loads(plans_file.read_text(encoding="utf-8"))
    configuration = plans["configurations"][CONFIGURATION]
    configuration |= {"patch_size": [scale.patch] * 3, "batch_size": scale.batch}
    stages = LEVELS + 1
    configuration["architecture"]["arch_kwargs"] |= {
        "n_stages": stages,
        "features_per_stage": [FEATURES * 2**stage for stage in range(stages)],
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [[1, 1, 1], *[[2, 2, 2]] * LEVELS],
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * LEVELS,
    }
    write_json(plans_file, plans)


def train(place: Place, name: str, seed: int, steps: int, device: str) -> dict[str, Any]:
    """Trains over so many steps, going on from nnU-Net's own checkpoint where there is one."""
    _seed(seed)
    trainer = _trainer(place, name, device)
    epochs = min(EPOCHS, steps)
    trainer.num_epochs, trainer.num_iterations_per_epoch = epochs, steps // epochs
    trainer.num_val_iterations_per_epoch = 1  # these choose checkpoint_best alone, which is not used
    trainer.save_every = max(1, epochs // 10)
    trainer.logger.plot_progress_png = lambda _folder: None  # a picture after each epoch, which nobody looks at
    trainer.initialize()
    folder = Path(trainer.output_folder)
    if not (folder / "checkpoint_final.pth").exists():
        latest = folder / "checkpoint_latest.pth"
        if latest.exists():
            trainer.load_checkpoint(str(latest))
            trainer._best_ema = None
        # Otherwise resumed steps would repeat the draws of the first ones.
        _seed(1000 * seed + trainer.current_epoch)
        start, before = time.process_time(), trainer.current_epoch
        trainer.run_training()
        _note_seconds(folder, time.process_time() - start, first=before == 0)
    return {
        "parameters": sum(parameter.numel() for parameter in trainer.network.parameters()),
        "train_cpu_s": _seconds(folder),
    }


def predict(place: Place, name: str, out: Path, device: str, *, mirror: bool) -> None:
    """Predicts the held-out heads by nnU-Net's own sliding windows, with its mirrored copies or without."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    trainer = _trainer(place, name, device)
    predictor = nnUNetPredictor(
        tile_step_size=0.5, use_gaussian=True, use_mirroring=mirror, perform_everything_on_device=device == "cuda",
        device=torch.device(device), allow_tqdm=False,
    )  # fmt: skip
    predictor.initialize_from_trained_model_folder(trainer.output_folder_base, (0,), "checkpoint_final.pth")
    raw = place.nnunet / "raw" / NAME / "imagesTr"
    names = [name for name in place.held_out() if not (out / f"{name}.nii.gz").exists()]
    out.mkdir(parents=True, exist_ok=True)
    predictor.predict_from_files_sequential(
        [[str(file) for file in sorted(raw.glob(f"{name}_*.nii.gz"))] for name in names],
        [str(out / name) for name in names],
    )


def _trainer(place: Place, name: str, device: str) -> Any:
    """Returns nnU-Net's own trainer, with a folder of the run's name."""
    _environment(place, name, workers=0 if device == "cpu" else GPU_WORKERS)
    from nnunetv2.run.run_training import get_trainer_from_args

    return get_trainer_from_args(str(NUMBER), CONFIGURATION, 0, device=torch.device(device))


def _environment(place: Place, name: str = "none", workers: int = 1) -> None:
    """Sets the variables that nnU-Net reads. workers: processes that augment, 0: the training process itself."""
    os.environ |= {
        "nnUNet_raw": str(place.nnunet / "raw"),
        "nnUNet_preprocessed": str(place.nnunet / "preprocessed"),
        "nnUNet_results": str(place.nnunet / "results" / name),
        "nnUNet_n_proc_DA": str(workers),
        "nnUNet_def_n_proc": "1",
        "nnUNet_compile": "false",
    }


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)


def _note_seconds(folder: Path, seconds: float, *, first: bool) -> None:
    write_json(folder / "cpu_seconds.json", {"seconds": seconds, "whole": first})


def _seconds(folder: Path) -> float | None:
    """Returns the CPU seconds of a training that was made in one go."""
    note = folder / "cpu_seconds.json"
    found = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {"whole": False}
    return round(found["seconds"], 1) if found["whole"] else None
