"""Arms of a study are compared fairly: one seed gives the same samples, changes and first weights whatever the loss."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

import train as script
from mets3d.config import load_file
from mets3d.data.loader import Batch, batches, keys_on_device
from mets3d.rundir import RunDir
from mets3d.settings.loss import BoundaryName
from mets3d.training import step as training_step
from mets3d.training.augmented import augmented
from mets3d.training.job import Job
from tests.builders.runs import forget_accelerator, train, write_config

STEPS, BATCH = 3, 2
BOTHERED = {"copy_paste": 0.5, "rotation": 1.0, "noise": 1.0, "mirror": 0.5}  # so that every sample is changed
MODES = ("cnn", "encoder", "decoder", "both")


class Arm(NamedTuple):
    """What an arm begins with: its first batches, its network and its split."""

    first: list[tuple[Any, ...]]
    weights: Mapping[str, Tensor]
    split: Mapping[str, Any]


def compose(folder: Path, store: Path, **sections: Any) -> Job:
    forget_accelerator()
    of_data = {"augment": BOTHERED, "train": {"steps": STEPS, "batch_size": BATCH}}
    return script.compose(load_file(write_config(folder, store, **(of_data | sections))), Accelerator(cpu=True))


def arm(folder: Path, store: Path, **sections: Any) -> Arm:
    job = compose(folder, store, **sections)
    loaded = batches(job.samples, steps=range(STEPS), batch_size=BATCH)
    first = [content(job, batch) for (batch,) in loaded]
    return Arm(first, job.network.state_dict(), job.records[job.run.split])


def content(job: Job, batch: Batch) -> tuple[Any, ...]:
    """The keys of a batch, on the host and for the device, its cases, and its images and labels after augmentation."""
    image, labels, _ = augmented(batch, job.samples.patch, torch.device("cpu"))
    keys = keys_on_device(job.config.seed, batch.keys)
    return batch.keys, keys.tolist(), batch.cases, batch.origin, bits(image), bits(labels)


def bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def shared(a: Arm, b: Arm) -> list[str]:
    """Names of the parameters that both networks have, of the same shape."""
    return [name for name in a.weights if name in b.weights and a.weights[name].shape == b.weights[name].shape]


def equal(a: Arm, b: Arm, names: list[str]) -> bool:
    return all(torch.equal(a.weights[name], b.weights[name]) for name in names)


@pytest.fixture(scope="module")
def base(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Arm:
    return arm(tmp_path_factory.mktemp("base"), phantom_store)


def test_first_batches_are_worth_comparing(base: Arm) -> None:
    """Every sample has its own content, and some have lesions."""
    pictures = [picture for _, _, _, _, picture, _ in base.first]
    assert len(set(pictures)) == STEPS
    assert any(any(labels) for *_, labels in base.first)
    assert [keys for keys, *_ in base.first] == [[(step, index) for index in range(BATCH)] for step in range(STEPS)]


@pytest.mark.parametrize("boundary", [*get_args(BoundaryName), "hausdorff_distance+cc_dice"])
def test_a_term_of_the_loss_changes_no_sample_and_no_first_weight(
    boundary: str, base: Arm, phantom_store: Path, tmp_path: Path
) -> None:
    """Some terms number the lesions of a sample, which move as its labels do."""
    other = arm(tmp_path, phantom_store, loss={"boundary": boundary, "boundary_weight": 3.0})
    assert other.first == base.first
    assert other.split == base.split
    assert list(other.weights) == list(base.weights)
    assert equal(other, base, list(base.weights))


def test_schedules_and_weights_of_the_loss_change_nothing_either(
    base: Arm, phantom_store: Path, tmp_path: Path
) -> None:
    loss = {"dice_weight": 0.5, "batch_dice": True, "deep_targets": "max", "boundary": "signed_distance"}
    other = arm(tmp_path, phantom_store, loss=loss | {"boundary_schedule": "ramp", "boundary_reduction": "sum"})
    assert other.first == base.first
    assert equal(other, base, list(base.weights))
    balanced = arm(tmp_path, phantom_store, loss=loss | {"boundary_schedule": "gradient"})
    assert balanced.first == base.first
    assert equal(balanced, base, list(base.weights))


@pytest.mark.parametrize("mode", MODES)
def test_the_mode_of_the_network_changes_no_sample(mode: str, base: Arm, phantom_store: Path, tmp_path: Path) -> None:
    other = arm(tmp_path, phantom_store, model={"mode": mode})
    assert other.first == base.first
    assert other.split == base.split
    # Both paths of the U-Net begin alike in all modes; heads and transformers are drawn after them.
    trunk = [name for name in shared(base, other) if name.startswith(("encoder.", "decoder."))]
    assert len(trunk) > 20
    assert equal(other, base, trunk)


def test_another_seed_changes_samples_and_weights_but_no_fold(base: Arm, phantom_store: Path, tmp_path: Path) -> None:
    other = arm(tmp_path, phantom_store, seed=1)
    for own, its in zip(base.first, other.first, strict=True):
        assert own[1] != its[1]  # keys on the device, for dropout
        assert own[4] != its[4]
    assert any(own[5] != its[5] for own, its in zip(base.first, other.first, strict=True))
    drawn = [name for name in shared(base, other) if base.weights[name].ndim > 1]
    assert drawn
    assert not any(torch.equal(base.weights[name], other.weights[name]) for name in drawn)
    assert other.split == base.split


def test_another_fold_holds_out_others(base: Arm, phantom_store: Path, tmp_path: Path) -> None:
    folds = [compose(tmp_path, phantom_store, data={"fold": fold, "folds": 3}) for fold in range(3)]
    held_out = [case for job in folds for case in job.records[job.run.split]["validation"]]
    assert sorted(held_out) == sorted({*base.split["training"], *base.split["validation"]})


def test_a_training_makes_the_same_steps_from_the_same_batches(
    phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, ...]] = []

    def watched(batch: Batch, *others: Any) -> Any:
        image, labels, lesions = augmented(batch, *others)
        seen.append((batch.keys, batch.cases, bits(image), bits(labels)))
        return image, labels, lesions

    monkeypatch.setattr(training_step, "augmented", watched)
    runs = {}
    for boundary in ("none", "blob"):
        folder = tmp_path / boundary
        folder.mkdir()
        sections = {"augment": BOTHERED, "train": {"steps": STEPS, "batch_size": BATCH}}
        file = write_config(folder, phantom_store, name="run", loss={"boundary": boundary}, **sections)
        assert train(file, f"--validate.every={STEPS}") == 0
        logged = [row["step"] for row in RunDir(folder / "runs" / "run").read_metrics() if row["kind"] == "train"]
        runs[boundary] = (logged, list(seen))
        seen.clear()
    assert runs["none"] == runs["blob"]
    assert runs["none"][0] == [1, 2, 3]
    assert len(runs["none"][1]) == STEPS
