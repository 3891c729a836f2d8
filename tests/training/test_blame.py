"""Who made a step fail: faults of samples, cases by their keys, and whether data or learning rate ended a run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

import train as script
from mets3d.config import load_file
from mets3d.data.loader import Samples
from mets3d.data.store import open_store
from mets3d.files import read_json
from mets3d.rundir import CheckpointDir, RunDir
from mets3d.training import blame
from mets3d.training.blame import IMAGE, LOSS, Fault, Skipped
from mets3d.training.failure import TrainingError
from mets3d.training.loop import fit
from mets3d.training.progress import Progress
from mets3d.training.session import open_session
from tests.builders.poison import poisoned, training_cases
from tests.builders.runs import forget_accelerator, train, write_config
from tests.builders.warm import launch


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_fault_is_the_image_or_else_the_loss(bad: float) -> None:
    image = torch.rand(3, 2, 4, 4, 4)
    image[1, 1, 0, 3, 2] = bad
    assert blame.faults_of(image, torch.tensor(1.0)).tolist() == [0, IMAGE, 0]
    assert blame.faults_of(image, torch.tensor(bad)).tolist() == [LOSS, IMAGE, LOSS]
    assert blame.faults_of(image[:1], torch.tensor(1.0)).tolist() == [0]


def test_faults_are_taken_out_of_the_numbers() -> None:
    numbers = {"loss": 1.0, blame.fault_name(0): 0.0, blame.fault_name(11): 0.5, "lr": 0.1}
    assert blame.take_faults(numbers) == {11: 0.5}
    assert numbers == {"loss": 1.0, "lr": 0.1}


@pytest.fixture(scope="module")
def samples(phantom_store: Path) -> Samples:
    return Samples(phantom_store, open_store(phantom_store).cases, patch=(8, 8, 8), seed=3)


def test_case_origin_and_rank_follow_from_the_sample(samples: Samples) -> None:
    """The numbers are means over four processes; a bad image is blamed alone."""
    divided = {"batch_size": 8, "processes": 4, "accumulation": 2}
    for faults, blamed in (({2: IMAGE / 4, 6: IMAGE / 4, 7: LOSS / 4}, [2, 6]), ({3: LOSS / 4, 7: LOSS / 4}, [3, 7])):
        skipped = blame.explain(5, faults, samples, divided)
        assert [fault.index for fault in skipped.faults] == blamed
        assert [fault.rank for fault in skipped.faults] == [index % 4 for index in blamed]
        assert skipped.data is (blamed == [2, 6])
        for fault in skipped.faults:
            sample = samples[5, fault.index]
            assert (fault.case, fault.origin) == (sample["case"], sample["origin"])
            assert f"{fault.case} from voxel {fault.origin} (sample {fault.index}, rank {fault.rank})" in str(skipped)


def test_without_a_fault_every_sample_of_the_batch_may_have_the_gradient(samples: Samples) -> None:
    skipped = blame.explain(5, {}, samples, {"batch_size": 4, "processes": 2, "accumulation": 1})
    assert [(fault.index, fault.rank) for fault in skipped.faults] == [(0, 0), (1, 0), (2, 1), (3, 1)]
    assert not skipped.data
    assert "images and loss are finite, the gradient is not, of the batch with" in str(skipped)
    assert str(skipped).count("from voxel") == 4


def step_with(number: int, *cases: str, image: bool) -> Skipped:
    return Skipped(number, tuple(Fault(i, case, (0, 0, 0), 0, image) for i, case in enumerate(cases)))


def test_a_case_is_named_after_three_skipped_steps() -> None:
    progress = Progress()
    for number in range(3):
        assert blame.named_cases(progress) == []
        blame.count(progress, step_with(number, "A", "A", image=True))
    blame.count(progress, step_with(3, "B", image=True))
    (line,) = blame.named_cases(progress)
    assert line.startswith("A caused 3 skipped steps: its image is not finite")


def test_a_case_with_finite_images_is_a_suspect_if_it_is_in_every_diverged_step() -> None:
    progress = Progress()
    for number, others in enumerate([("A", "B"), ("A", "C"), ("A", "B"), ("A", "B")]):
        blame.count(progress, step_with(number, *others, image=False))
    (line,) = blame.named_cases(progress)
    assert line.startswith("A belongs to all 4 steps")
    blame.count(progress, step_with(9, "D", image=False))
    assert blame.named_cases(progress) == []


def test_the_verdict_is_what_most_of_the_steps_say() -> None:
    data, rate = step_with(0, "A", image=True), step_with(0, "B", "C", image=False)
    assert blame.verdict([data, data, rate]).startswith("It is the data: in 2 of them an image is not finite, of A.")
    assert "learning rate or the precision: the images are finite in 2 of them, among them of 3 cases" in blame.verdict(
        [data, rate, rate]
    )


# ---------------------------------------------------------------- in a run


def test_a_bad_case_is_said_at_once_and_named_in_the_end(
    tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = training_cases(phantom_store)[1]
    config = write_config(
        tmp_path,
        poisoned(phantom_store, tmp_path, bad, float("nan")),
        train={"steps": 16, "checkpoint_every": 8, "max_skipped": 16},
    )
    assert train(config) == 0
    said = capsys.readouterr().out
    steps = re.findall(rf"step (\d+) skipped.* image is not finite of {bad} from voxel", said)
    assert len(steps) >= 3
    rows = [row for row in RunDir(tmp_path / "runs" / "run").read_metrics() if row["kind"] == "train"]
    assert [row["step"] for row in rows if row["loss"] is None] == [int(step) for step in steps]
    assert rows[-1]["skipped"] == len(steps)
    assert not any(name.startswith("fault") for row in rows for name in row)
    assert "values there are NaN or infinite in the store" in said
    assert said.splitlines()[-1].startswith(f"{bad} caused {len(steps)} skipped steps")
    # A run that is stopped and goes on counts those before.
    record = read_json(CheckpointDir(RunDir(tmp_path / "runs" / "run").checkpoint(16)).progress)
    assert record["bad_images"] == {bad: len(steps)}


def test_a_run_of_bad_data_ends_with_that_verdict(
    tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = phantom_store
    for number, case in enumerate(training_cases(phantom_store)):
        (tmp_path / str(number)).mkdir()
        store = poisoned(store, tmp_path / str(number), case, float("inf"))
    assert train(write_config(tmp_path, store, train={"steps": 9, "max_skipped": 3})) == 1
    said = capsys.readouterr()
    assert "3 steps in a row, up to step 3, were not finite" in said.err
    assert "It is the data: in 3 of them" in said.err
    assert "Traceback" not in said.err


def test_a_run_of_finite_images_ends_with_learning_rate_or_precision(
    tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A huge rate without clipping makes the weights overflow."""
    optim = {"name": "sgd", "lr": 1e30, "warmup_steps": 0, "clip_norm": 1e30}
    assert train(write_config(tmp_path, phantom_store, optim=optim, train={"steps": 9, "max_skipped": 4})) == 1
    said = capsys.readouterr()
    assert "It is the learning rate or the precision: the images are finite in 4 of them" in said.err
    assert "caused" not in said.out
    assert "skipped, it changed no weight: the images are finite, the loss is not" in said.out


def test_a_loss_scaler_below_1_ends_a_run_whose_gradient_stays_bad(
    tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under fp16 it lowers its scale and goes on; below 1 the scale is not what makes a gradient overflow."""
    forget_accelerator()
    accelerator = Accelerator(cpu=True)
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    job = script.compose(
        load_file(write_config(tmp_path, phantom_store, train={"steps": 9, "max_skipped": 2})), accelerator
    )
    next(job.network.parameters()).register_hook(lambda gradient: gradient * torch.nan)  # type: ignore[no-untyped-call]
    expected = pytest.raises(TrainingError, match="It is the learning rate or the precision")
    with expected, open_session(job, accelerator) as session:
        fit(session)
    forget_accelerator()
    assert session.progress.skipped == 2
    assert re.findall(r"step (\d+) skipped, .*the gradient is not", capsys.readouterr().out) == ["4", "5"]


@pytest.mark.slow
def test_rank_0_names_the_samples_of_all_ranks(tmp_path: Path, phantom_store: Path) -> None:
    bad = training_cases(phantom_store)[1]
    store = poisoned(phantom_store, tmp_path, bad, float("nan"))
    train_settings = {"steps": 6, "batch_size": 4, "max_skipped": 9, "checkpoint_every": 6}
    config = write_config(tmp_path, store, train=train_settings)
    assert train(config, "--name=one") == 0
    done = launch("train.py", "--config", str(config), "--name=two")
    assert done.returncode == 0, done.stderr
    found = re.findall(rf"{bad} from voxel \([\d, -]+\) \(sample (\d), rank (\d)\)", done.stdout)
    assert found
    assert all(int(rank) == int(sample) // 2 for sample, rank in found)
    assert {rank for _, rank in found} == {"0", "1"}
    assert done.stdout.count("skipped, it changed no weight") == len(set(re.findall(r"step \d+ skipped", done.stdout)))
