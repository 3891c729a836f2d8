"""What may change between a start and its resumption, what is refused, and what is said."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mets3d.config import Data, Preprocess
from mets3d.data.preprocess import preprocess
from mets3d.rundir import CheckpointDir, RunDir
from mets3d.training.progress import Progress, Record
from mets3d.training.same_run import Launch, check_same_run, scored_under
from tests.builders.cases import PHANTOM_SPACING, make_case
from tests.builders.runs import train, write_config

Again = Callable[..., int]
STEPS = ("--train.steps=2", "--train.checkpoint_every=1", "--validate.every=1")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, phantom_store: Path) -> tuple[Path, Path]:
    """A configuration, and a finished run of it of two steps."""
    folder = tmp_path_factory.mktemp("same")
    config = write_config(folder, phantom_store, optim={"warmup_steps": 0})
    assert train(config, *STEPS) == 0
    return config, folder / "runs" / "run"


@pytest.fixture
def run(finished: tuple[Path, Path], tmp_path: Path) -> RunDir:
    return RunDir(shutil.copytree(finished[1], tmp_path / "runs" / "run"))


@pytest.fixture
def again(finished: tuple[Path, Path], run: RunDir) -> Again:
    """Starts the run again with other words; the exit code."""
    return lambda *words: train(finished[0], f"--output={run.path.parent}", *STEPS, *words)


ALLOWED = {
    "accumulation": (["--train.accumulation=2"], "train.accumulation 1 -> 2"),
    "workers": (["--data.workers=1"], "data.workers 0 -> 1"),
    "tracking": (["--track.console_every=7"], "track.console_every 1 -> 7"),
    "checkpoints": (["--train.keep_checkpoints=5"], "train.keep_checkpoints 2 -> 5"),
    "windows": (["--predict.window_batch=1"], "predict.window_batch 2 -> 1"),
    "mirror": (["--predict.mirror=[0]"], "predict.mirror [] -> [0]"),
    "validation less often": (["--validate.every=2"], "validate.every 1 -> 2"),
}


@pytest.mark.parametrize("change", ALLOWED)
def test_what_changes_no_weight_may_change_and_is_said(
    again: Again, run: RunDir, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    words, said = ALLOWED[change]
    assert again(*words) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "changed since the last start" in line]
    assert len(lines) == 1
    assert said in lines[0]
    assert again(*words) == 0
    assert "changed since" not in capsys.readouterr().out


def test_nothing_is_said_where_nothing_has_changed(again: Again, capsys: pytest.CaptureFixture[str]) -> None:
    assert again() == 0
    capsys.readouterr()
    assert again("--resume=auto") == 0
    assert capsys.readouterr().out.splitlines() == ["resuming at step 2 of 2"]


REFUSED = {
    "seed": "--seed=9",
    "batch": "--train.batch_size=4",
    "patch": "--data.patch=[20, 20, 20]",
    "lesions": "--data.lesion_fraction=0.9",
    "augmentation": "--augment.enabled=False",
    "rate": "--optim.lr=0.5",
    "loss": "--loss.dice_weight=2.0",
    "network": "--model.features=8",
    "fold": "--data.fold=1",
    "precision": "--precision=bf16",
    "steps": "--train.steps=9",
}


def test_all_that_may_not_change_is_refused_in_one_message(again: Again, capsys: pytest.CaptureFixture[str]) -> None:
    assert again(*REFUSED.values()) == 2
    message = capsys.readouterr().err
    for expected in (
        "seed: 0 there, 9 now", "train.batch_size: 2 there, 4 now", "data.patch: [16, 16, 16] there, [20, 20, 20] now",
        "data.lesion_fraction: ", "augment.enabled: True there, False now", "optim.lr: 0.01 there, 0.5 now",
        "loss.dice_weight: 1.0 there, 2.0 now", "model.features: 4 there, 8 now", "data.fold: 0 there, 1 now",
        "precision, as launched: 'no' there, 'bf16' now", "train.steps: 2 there, 9 now",
    ):  # fmt: skip
        assert message.count(expected) == 1, expected


@pytest.mark.parametrize("key", REFUSED)
def test_each_alone_is_refused(again: Again, run: RunDir, capsys: pytest.CaptureFixture[str], key: str) -> None:
    before = run.config.read_bytes()
    assert again(REFUSED[key]) == 2
    assert "other settings" in capsys.readouterr().err
    assert run.config.read_bytes() == before


# ---------------------------------------------------------------- the store


def test_a_store_may_lie_elsewhere_but_not_hold_something_else(
    again: Again,
    phantom_store: Path,
    phantom_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    moved = shutil.copytree(phantom_store, tmp_path / "moved")
    assert again(f"--data.store={moved}") == 0
    assert f"data.store {phantom_store} -> {moved}" in capsys.readouterr().out
    data = shutil.copytree(phantom_data, tmp_path / "data")
    shutil.rmtree(sorted(data.iterdir())[0])
    preprocess(data, tmp_path / "fewer", Preprocess(spacing_mm=PHANTOM_SPACING), data=Data())
    assert again(f"--data.store={tmp_path / 'fewer'}") == 2
    assert "data.store: its content is another one" in capsys.readouterr().err


def test_equal_cases_in_another_folder_are_the_same_store_and_other_voxels_are_not(
    tmp_path: Path, phantom_data: Path, phantom_store: Path
) -> None:
    from mets3d.data.store import open_store

    settings = Preprocess(spacing_mm=PHANTOM_SPACING)
    data = shutil.copytree(phantom_data, tmp_path / "data")
    preprocess(data, tmp_path / "same", settings, data=Data())
    assert open_store(tmp_path / "same").digest == open_store(phantom_store).digest
    name = sorted(path.name for path in data.iterdir())[0]
    shutil.rmtree(data / name)
    make_case(data, name, shape=(40, 48, 36))
    preprocess(data, tmp_path / "other", settings, data=Data())
    assert open_store(tmp_path / "other").digest != open_store(phantom_store).digest


def test_a_case_added_to_the_source_is_said_and_does_not_stop_a_run(
    tmp_path: Path, phantom_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shutil.copytree(phantom_data, tmp_path / "data")
    preprocess(data, tmp_path / "store", Preprocess(spacing_mm=PHANTOM_SPACING), data=Data())
    config = write_config(tmp_path, tmp_path / "store")
    assert train(config, *STEPS) == 0
    make_case(data, "Z-000")
    assert train(config, *STEPS) == 0
    out = capsys.readouterr().out
    assert "Z-000/Z-000-seg.nii.gz new" in out
    assert "used as it is" in out


# ---------------------------------------------------------------- the length


def lr_rows(run: RunDir) -> list[float]:
    return [row["lr"] for row in run.read_metrics() if row["kind"] == "train"]


def weights(run: RunDir, step: int) -> dict[str, torch.Tensor]:
    return load_file(CheckpointDir(run.checkpoint(step)).weights)


def test_a_run_of_constant_rate_goes_on_as_if_it_had_been_longer_from_the_start(
    tmp_path: Path, phantom_store: Path
) -> None:
    constant = {"lr": 0.01, "min_lr": 0.01, "warmup_steps": 1}
    config = write_config(tmp_path, phantom_store, optim=constant, validate={"every": 2})
    assert train(config, "--name=long", "--train.steps=4") == 0
    assert train(config, "--name=longer", "--train.steps=2") == 0
    assert train(config, "--name=longer", "--train.steps=4") == 0
    long, longer = (RunDir(tmp_path / "runs" / name) for name in ("long", "longer"))
    assert lr_rows(long) == lr_rows(longer)
    assert all(torch.equal(tensor, weights(longer, 4)[name]) for name, tensor in weights(long, 4).items())


def test_a_run_in_its_warm_up_may_become_longer(tmp_path: Path, phantom_store: Path) -> None:
    config = write_config(tmp_path, phantom_store, optim={"warmup_steps": 2})
    assert train(config, "--train.steps=2") == 0
    assert train(config, "--train.steps=3") == 0
    assert lr_rows(RunDir(tmp_path / "runs" / "run")) == pytest.approx([0.005, 0.01, 0.01])


def test_a_curve_that_depends_on_the_length_goes_on_as_is_said(
    tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"lr": 0.01, "min_lr": 0.002, "warmup_steps": 0}
    config = write_config(tmp_path, phantom_store, optim=settings, train={"steps": 3})
    assert train(config) == 0
    assert train(config, "--train.steps=5") == 2
    message = capsys.readouterr().err
    assert "--train.schedule_steps=3" in message
    assert "--train.schedule_steps=5" in message
    run = RunDir(tmp_path / "runs" / "run")
    held, stretched = (RunDir(shutil.copytree(run.path, tmp_path / name / "run")) for name in ("held", "stretched"))
    assert train(config, f"--output={held.path.parent}", "--train.steps=5", "--train.schedule_steps=3") == 0
    assert lr_rows(held) == pytest.approx([0.01, 0.006, 0.002, 0.002, 0.002])
    assert "the learning rate goes" not in capsys.readouterr().out
    assert train(config, f"--output={stretched.path.parent}", "--train.steps=5", "--train.schedule_steps=5") == 0
    # Half a cosine over steps 0 to 4: at step 3 the share is (1 + cos 135 degrees) / 2.
    assert lr_rows(stretched) == pytest.approx([0.01, 0.006, 0.002, 0.002 + 0.008 * (1 - 0.5**0.5) / 2, 0.002])
    assert "the learning rate goes from 0.002 to 0.00317" in capsys.readouterr().out


def test_a_ramp_of_the_boundary_weight_is_such_a_curve(tmp_path: Path, phantom_store: Path) -> None:
    config = write_config(
        tmp_path,
        phantom_store,
        optim={"lr": 0.01, "min_lr": 0.01, "warmup_steps": 0},
        loss={"boundary": "hausdorff_distance", "boundary_schedule": "ramp", "boundary_ramp": [0.0, 1.0]},
        train={"steps": 2},
    )
    assert train(config) == 0
    assert train(config, "--train.steps=4") == 2
    assert train(config, "--train.steps=4", "--train.schedule_steps=2") == 0


def test_a_run_does_not_become_shorter_than_it_is(again: Again, capsys: pytest.CaptureFixture[str]) -> None:
    assert again("--train.steps=1") == 2
    assert "train.steps: 2 there, 1 now, fewer than the 2 done" in capsys.readouterr().err


# ---------------------------------------------------------------- validation


def test_a_score_under_other_settings_is_not_compared(
    tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    optim = {"lr": 1e-9, "min_lr": 1e-9, "warmup_steps": 0}  # so that the score does not rise
    config = write_config(tmp_path, phantom_store, optim=optim, validate={"every": 1, "cases": 1})
    run = RunDir(tmp_path / "runs" / "run")
    assert train(config, "--train.steps=2") == 0
    assert run.pointer("best") == 1
    assert train(config, "--train.steps=3") == 0
    assert run.pointer("best") == 1, "under the same settings it stays the best"
    capsys.readouterr()
    assert train(config, "--train.steps=4", "--validate.cases=2") == 0
    assert "(validate.cases 1 -> 2): it is not compared" in capsys.readouterr().out
    assert run.pointer("best") == 4
    assert train(config, "--train.steps=5", "--validate.cases=2") == 0
    assert "not compared" not in capsys.readouterr().out
    assert run.pointer("best") == 4


def test_processes_may_change_and_are_said(finished: tuple[Path, Path]) -> None:
    run = RunDir(finished[1])
    config = run.load_config()
    record = Record(Progress(step=2), "no", 1, "abc", scored_under(config))
    assert check_same_run(run, config, Launch("no", 1, "abc"), record) == []
    said = check_same_run(run, config, Launch("no", 4, "abc"), record)
    assert said == ["changed since the last start, and may: processes 1 -> 4"]
    with pytest.raises(ValueError, match="precision, as launched: 'no' there, 'bf16' now"):
        check_same_run(run, config, Launch("bf16", 1, "abc"), record)
