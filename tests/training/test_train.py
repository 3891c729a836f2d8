"""train.py from configuration to run directory: resuming, refusing, skipping, splitting."""

import dataclasses
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mets3d.config import load
from mets3d.config import load_file as load_config
from mets3d.files import read_json
from mets3d.losses import LossFunction
from mets3d.losses.value import LossValue
from mets3d.rundir import CheckpointDir, RunDir, open_run
from mets3d.training import checkpoint, state
from mets3d.training.balance import Balance
from tests.builders.runs import train, write_config
from tests.builders.warm import launch


def weights_at(run: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(RunDir(run).checkpoint(step) / "model.safetensors")


def difference(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> float:
    """Relative L2 difference of the whole parameter vectors."""
    a = torch.cat([tensor.double().flatten() for tensor in one.values()])
    b = torch.cat([two[name].double().flatten() for name in one])
    return float((a - b).norm() / a.norm())


def test_a_run_directory_holds_what_the_contract_says(trained_run: Path) -> None:
    run = open_run(trained_run, needs=("config", "plan", "environment", "metrics", "weights", "split", "baseline"))
    assert run.load_config().name == "tiny"
    rows = run.read_metrics()
    assert [row["step"] for row in rows if row["kind"] == "train"] == [1, 2, 3, 4]
    parts = rows[1]
    base = sum(
        value
        for name, value in parts.items()
        if name in ("loss/deep", *(f"loss/query_{p}" for p in ("class", "bce", "dice")))
    )
    ramp = 1 / 2  # step 1 of 4 with a ramp from 0 to half of the run
    assert parts["boundary_weight"] == 2.0 * ramp
    assert parts["loss"] == pytest.approx(base + 2.0 * ramp * parts["loss/boundary"], rel=1e-5)
    assert {"loss/boundary/WT", "lr", "grad_norm", "samples_per_second"} <= parts.keys()
    assert [row["step"] for row in rows if row["kind"] == "validation"] == [4]
    environment = read_json(run.environment)
    assert environment["processes"] == 1
    assert environment["finished"]
    split = read_json(run.split)
    assert set(split["training"]).isdisjoint(split["validation"])
    assert run.pointer("last") == 4
    assert run.load_config() == load(["--config", str(trained_run.parent.parent / "config.yaml")])


@pytest.mark.parametrize(
    ("mode", "boundary", "optim"),
    [
        ("encoder", "hausdorff_distance", {"name": "sgd", "momentum": 0.9, "weight_decay_on": "all"}),
        (
            "both",
            "hausdorff_distance+blob",
            {"name": "adam", "betas": [0.8, 0.99], "schedule": "poly", "layer_decay": 0.7, "ema": 0.9},
        ),
    ],
)
def test_resumed_equals_uninterrupted_bit_for_bit(
    tmp_path: Path, phantom_store: Path, mode: str, boundary: str, optim: dict[str, Any]
) -> None:
    # Both modes have dropout, so this also shows that its masks depend on the step alone.
    model = {"mode": mode, "vit_dropout": 0.2}
    # The running ratios of the balanced weights are the one thing that a step does not follow from.
    loss = {"boundary": boundary, "boundary_ramp": [0.0, 0.25]}
    loss |= {"boundary_schedule": "gradient" if "+" in boundary else "balanced"}
    config = write_config(
        tmp_path, phantom_store, model=model, loss=loss, optim=optim, train={"steps": 4, "checkpoint_every": 2}
    )
    assert train(config, "--name=whole") == 0
    # A run that is cut: its later checkpoint is lost, as if the machine had gone.
    assert train(config, "--name=cut") == 0
    cut = RunDir(tmp_path / "runs" / "cut")
    for file in cut.checkpoint(4).iterdir():
        file.unlink()
    cut.checkpoint(4).rmdir()
    cut.weights.unlink()
    assert train(config, "--name=cut") == 0
    whole, resumed = (weights_at(tmp_path / "runs" / name, 4) for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert equal_checkpoints(RunDir(tmp_path / "runs" / "whole"), cut, 4)
    exported = load_file(cut.weights)
    if "ema" in optim:
        whole = load_file(CheckpointDir(cut.checkpoint(4)).averaged)
        assert difference(whole, resumed) > 1e-3
    assert all(torch.equal(whole[name], exported[name]) for name in whole), "what is exported is what was scored"
    losses = [
        [row["loss"] for row in RunDir(tmp_path / "runs" / n).read_metrics() if row["kind"] == "train"]
        for n in ("whole", "cut")
    ]
    assert losses[0] == losses[1]
    assert len((tmp_path / "runs" / "cut" / "metrics.jsonl").read_text().splitlines()) == len(losses[0]) + 1


def equal_checkpoints(one: RunDir, other: RunDir, step: int) -> bool:
    """Whether two checkpoints hold the same in every file but what tells of time."""
    folders = [CheckpointDir(run.checkpoint(step)) for run in (one, other)]
    states = [torch.load(folder.optimizer, weights_only=True) for folder in folders]
    assert states[0]["param_groups"] == states[1]["param_groups"]
    for index, kept in states[0]["state"].items():
        assert all(torch.equal(value, states[1]["state"][index][name]) for name, value in kept.items())
    names = [sorted(file.name for file in folder.path.iterdir()) for folder in folders]
    files = [folder.averaged.read_bytes() if folder.averaged.exists() else b"" for folder in folders]
    return names[0] == names[1] and files[0] == files[1]


def test_a_different_seed_gives_different_weights(tmp_path: Path, phantom_store: Path) -> None:
    config = write_config(tmp_path, phantom_store)
    assert train(config, "--name=a", "--train.steps=1") == 0
    assert train(config, "--name=b", "--train.steps=1", "--seed=1") == 0
    assert difference(weights_at(tmp_path / "runs" / "a", 1), weights_at(tmp_path / "runs" / "b", 1)) > 0.1


def test_a_local_copy_of_the_store_trains_the_same(tmp_path: Path, phantom_store: Path) -> None:
    config = write_config(tmp_path, phantom_store)
    assert train(config, "--name=a", "--train.steps=1") == 0
    assert train(config, "--name=b", "--train.steps=1", f"--data.cache={tmp_path / 'cache'}") == 0
    a, b = (weights_at(tmp_path / "runs" / name, 1) for name in ("a", "b"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    (copy,) = (tmp_path / "cache").iterdir()
    assert (copy / "store.json").is_file()


def test_the_balanced_weight_is_the_ratio_of_what_was_logged_before(tmp_path: Path, phantom_store: Path) -> None:
    loss = {"boundary": "hausdorff_distance", "boundary_weight": 0.5, "boundary_ramp": [0.2, 0.4]}
    config = write_config(tmp_path, phantom_store, loss=loss, train={"steps": 5, "checkpoint_every": 5})
    assert train(config) == 0
    rows = [row for row in RunDir(tmp_path / "runs" / "run").read_metrics() if row["kind"] == "train"]
    assert ["boundary_weight" in row for row in rows] == [False, False, True, True, True]
    assert rows[2]["boundary_weight"] == 0, "nothing to go by yet"
    base = boundary = 0.0
    for row in rows[2:]:
        if boundary:
            assert row["boundary_weight"] == pytest.approx(0.5 * base / boundary, rel=1e-5)
        parts = [value for name, value in row.items() if name.startswith("loss/") and "boundary" not in name]
        assert row["loss"] == pytest.approx(sum(parts) + row["boundary_weight"] * row["loss/boundary"], rel=1e-5)
        base, boundary = 0.99 * base + sum(parts), 0.99 * boundary + row["loss/boundary"]


def test_the_weight_by_gradient_is_the_ratio_of_what_was_measured_before(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In two micro-batches of one sample each, as in one of two."""
    loss = {"boundary": "hausdorff_distance+blob", "boundary_schedule": "gradient", "boundary_ramp": [0.2, 0.2]}
    config = write_config(tmp_path, phantom_store, loss=loss, train={"steps": 5, "checkpoint_every": 5})
    measured: list[dict[str, float]] = []
    update = Balance.update

    def note(self: Balance, value: LossValue) -> None:
        measured.append({name: float(size) for name, size in value.sizes.items()})
        update(self, value)

    monkeypatch.setattr(Balance, "update", note)
    of_runs = []
    for accumulation in (1, 2):
        measured.clear()
        assert train(config, f"--name={accumulation}", f"--train.accumulation={accumulation}") == 0
        rows = [row for row in RunDir(tmp_path / "runs" / str(accumulation)).read_metrics() if row["kind"] == "train"]
        of_runs.append([*measured])
        assert measured[:2] == [{}, {}], "no term yet"
        for term in ("hausdorff_distance", "blob"):
            base = size = 0.0
            for row, sizes in zip(rows[2:], measured[2:], strict=True):
                weight = row[f"boundary_weight/{term}"]
                assert weight == pytest.approx(0.05 * base / size if size else 0, rel=1e-5), "half of 0.1 each"
                share = weight * sizes[term] / sizes["base"]
                assert row[f"boundary_share/gradient/{term}"] == pytest.approx(share, rel=1e-5)
                parts = sum(value for name, value in row.items() if name in ("loss/dice", "loss/bce", "loss/deep"))
                of_value = weight * row[f"loss/boundary/{term}"] / parts
                assert row[f"boundary_share/value/{term}"] == pytest.approx(of_value, rel=1e-5)
                base, size = 0.99 * base + sizes["base"], 0.99 * size + sizes[term]
    assert of_runs[1][2] == pytest.approx(of_runs[0][2], rel=1e-3)


def test_accumulation_equals_one_large_batch(tmp_path: Path, phantom_store: Path) -> None:
    config = write_config(
        tmp_path,
        phantom_store,
        model={"mode": "decoder"},
        optim={"name": "sgd", "lr": 0.01, "warmup_steps": 0},
        train={"steps": 4, "batch_size": 4},
    )
    assert train(config, "--name=one") == 0
    assert train(config, "--name=four", "--train.accumulation=4") == 0
    assert difference(weights_at(tmp_path / "runs" / "one", 4), weights_at(tmp_path / "runs" / "four", 4)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "optim", "last"),
    [
        # From step 5 on nothing moves, so the second validation has no better score and ends the run.
        ("cnn", {"schedule": "step", "step_every": 5, "step_factor": 1e-30}, 12),
        ("decoder", {"layer_decay": 0.8, "ema": 0.7}, 14),
    ],
)
def test_two_processes_equal_one(
    tmp_path: Path, phantom_store: Path, mode: str, optim: dict[str, Any], last: int
) -> None:
    config = write_config(
        tmp_path,
        phantom_store,
        # Without lesion-centred samples, some crops hold no foreground.
        data={"lesion_fraction": 0.25},
        model={"mode": mode},
        loss={"boundary": "hausdorff_distance", "boundary_ramp": [0.2, 0.4]},
        optim={"name": "sgd", "lr": 0.01, "warmup_steps": 0, **optim},
        train={"steps": 14, "batch_size": 4, "checkpoint_every": 14},
        validate={"every": 6 if last == 12 else 14, "cases": 2, "patience": 1},
    )
    assert train(config, "--name=one") == 0
    two = launch("train.py", "--config", str(config), "--name=two")
    assert two.returncode == 0, two.stderr
    one_dir, two_dir = tmp_path / "runs" / "one", tmp_path / "runs" / "two"
    assert read_json(RunDir(two_dir).environment)["processes"] == 2
    assert [RunDir(run).checkpoint_steps()[-1] for run in (one_dir, two_dir)] == [last] * 2
    assert difference(weights_at(one_dir, last), weights_at(two_dir, last)) < 1e-5
    assert difference(load_file(RunDir(one_dir).weights), load_file(RunDir(two_dir).weights)) < 1e-5
    one_rows, two_rows = RunDir(one_dir).read_metrics(), RunDir(two_dir).read_metrics()
    assert [row["loss"] for row in one_rows if "loss" in row] == pytest.approx(
        [row["loss"] for row in two_rows if "loss" in row], rel=1e-4
    )
    weights = [[row["boundary_weight"] for row in rows if "boundary_weight" in row] for rows in (one_rows, two_rows)]
    assert len(weights[0]) == last - 3
    assert weights[0][-1] > 0
    assert weights[0] == pytest.approx(weights[1], rel=1e-4)
    assert one_rows[-1]["dice/mean"] == pytest.approx(two_rows[-1]["dice/mean"], abs=1e-3)
    assert crops_without_foreground(config, phantom_store), "the case is only of use with such a crop"


@pytest.mark.slow
def test_a_run_of_one_process_goes_on_with_two(tmp_path: Path, phantom_store: Path) -> None:
    sections = {
        "model": {"mode": "encoder", "vit_dropout": 0.2},
        "loss": {"boundary": "hausdorff_distance", "boundary_ramp": [0.0, 0.25]},
        # AdamW would amplify the rounding of biases whose gradient is 0.
        "optim": {"name": "sgd", "lr": 0.01, "min_lr": 0.01, "warmup_steps": 0},
    }
    config = write_config(tmp_path, phantom_store, **sections)
    assert train(config, "--name=one", "--train.schedule_steps=4") == 0
    assert train(config, "--name=more", "--train.steps=2", "--train.schedule_steps=4") == 0
    two = launch("train.py", "--config", str(config), "--name=more", "--train.schedule_steps=4")
    assert two.returncode == 0, two.stderr
    assert "train.steps 2 -> 4, processes 1 -> 2" in two.stdout
    assert two.stdout.count("resuming at step 2 of 4") == 1
    one, more = (tmp_path / "runs" / name for name in ("one", "more"))
    assert difference(weights_at(one, 4), weights_at(more, 4)) < 1e-5
    rows = [[row["loss"] for row in RunDir(run).read_metrics() if row["kind"] == "train"] for run in (one, more)]
    assert rows[0] == pytest.approx(rows[1], rel=1e-4)


def crops_without_foreground(config: Path, store: Path) -> bool:
    from mets3d.data.folds import split_of
    from mets3d.data.loader import Samples
    from mets3d.data.store import open_store

    data = load_config(config).data
    training = split_of(open_store(store), data).training
    samples = Samples(store, training, patch=data.patch, seed=0, lesion_fraction=data.lesion_fraction)
    return any(samples[step, index]["labels"].max() == 0 for step in range(10) for index in range(4))


@pytest.mark.slow
def test_first_adamw_gradient_of_two_processes_equals_that_of_one(tmp_path: Path, phantom_store: Path) -> None:
    config = write_config(tmp_path, phantom_store, model={"mode": "decoder"}, train={"steps": 1, "batch_size": 4})
    assert train(config, "--name=one") == 0
    two = launch("train.py", "--config", str(config), "--name=two")
    assert two.returncode == 0, two.stderr
    moments = []
    for name in ("one", "two"):
        state = torch.load(RunDir(tmp_path / "runs" / name).checkpoint(1) / "optimizer.bin", weights_only=True)["state"]
        # After one step the first moment is (1 - beta1) x gradient.
        moments.append(torch.cat([entry["exp_avg"].double().flatten() for entry in state.values()]))
    assert float((moments[0] - moments[1]).norm() / moments[0].norm()) < 1e-5


def test_non_finite_losses_change_nothing_are_counted_and_end_the_run(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mets3d.training import loop

    poisoned: set[int] = {1}
    original = loop.train_step

    def poison(session: Any, step: int, *arguments: Any) -> Any:
        if step in poisoned:
            loss = Poisoned(session.job.loss)
            session = dataclasses.replace(session, job=dataclasses.replace(session.job, loss=loss))
        return original(session, step, *arguments)

    monkeypatch.setattr(loop, "train_step", poison)
    config = write_config(tmp_path, phantom_store, train={"steps": 3, "checkpoint_every": 1, "keep_checkpoints": 9})
    assert train(config, "--name=once") == 0
    once = tmp_path / "runs" / "once"
    first, second, third = (weights_at(once, step) for step in (1, 2, 3))
    assert difference(first, second) == 0
    assert difference(second, third) > 0
    assert [row["skipped"] for row in RunDir(once).read_metrics() if row["kind"] == "train"] == [0, 1, 1]
    assert json.loads((once / "metrics.jsonl").read_text().splitlines()[1])["loss"] is None

    poisoned |= set(range(10))
    capsys.readouterr()
    assert train(config, "--name=often", "--train.steps=10", "--train.checkpoint_every=10") == 1
    assert "5 steps in a row, up to step 5, were not finite" in capsys.readouterr().err


class Poisoned:
    """A loss whose total is not a number."""

    def __init__(self, inner: LossFunction):
        self.inner = inner
        self.needs_mask_count, self.needs_ratio = inner.needs_mask_count, inner.needs_ratio
        self.needs_dice_sums, self.dice_sums = inner.needs_dice_sums, inner.dice_sums
        self.needs_lesions = inner.needs_lesions
        self.compiled = inner.compiled

    def __call__(self, *arguments: Any) -> LossValue:
        value = self.inner(*arguments)
        return dataclasses.replace(value, total=value.total * torch.nan)

    def compiled(self) -> LossFunction:
        return self


def test_checkpoints_are_pruned_but_the_best_is_kept(tmp_path: Path, phantom_store: Path) -> None:
    config = write_config(
        tmp_path,
        phantom_store,
        train={"steps": 5, "checkpoint_every": 1, "keep_checkpoints": 2},
        validate={"every": 1, "cases": 1},
        optim={"lr": 1e-9, "warmup_steps": 0},  # so that the score does not rise after the first
    )
    assert train(config) == 0
    run = RunDir(tmp_path / "runs" / "run")
    assert run.checkpoint_steps() == [1, 4, 5]
    assert run.pointer("best") == 1
    assert run.pointer("last") == 5
    exported, best = load_file(run.weights), weights_at(run.path, 1)
    assert all(torch.equal(exported[name], best[name]) for name in best)
    assert not list(Path(run.checkpoints).glob(".*"))


def test_a_checkpoint_is_on_disk_before_it_has_its_name_and_its_name_before_the_pointer(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    def watched(word: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(first: Any, *others: Any) -> Any:
            events.append(f"{word} {getattr(first, 'name', first)}")
            return function(first, *others)

        return call

    monkeypatch.setattr(checkpoint, "sync", watched("sync", checkpoint.sync))
    monkeypatch.setattr(checkpoint, "sync_entry", watched("sync entry", checkpoint.sync_entry))
    monkeypatch.setattr(RunDir, "point", lambda run, name, step: events.append(f"point {name} {step}"))
    monkeypatch.setattr(Path, "rename", watched("rename", Path.rename))
    assert train(write_config(tmp_path, phantom_store, train={"steps": 2, "checkpoint_every": 2})) == 0
    new = ".writing_step_00000002"
    begin = events.index(f"sync {new}")
    assert events[begin : begin + 4] == [f"sync {new}", f"rename {new}", "sync entry step_00000002", "point last 2"]


def test_a_half_written_checkpoint_is_ignored(tmp_path: Path, phantom_store: Path) -> None:
    config = write_config(tmp_path, phantom_store, train={"steps": 2, "checkpoint_every": 1})
    assert train(config) == 0
    run = RunDir(tmp_path / "runs" / "run")
    (Path(run.checkpoints) / ".writing_step_00000003").mkdir()
    assert run.checkpoint_steps() == [1, 2]
    assert train(config) == 0


REFUSALS = {
    "other settings": (["--optim.lr=0.5", "--seed=9"], ["seed: 0 there, 9 now", "optim.lr: 0.01 there, 0.5 now"]),
    "resume never": (["--resume=never"], ["resume is never"]),
    "no store": (["--name=x", "--data.store=nowhere"], ["nowhere"]),
    "other preprocessing": (["--name=x", "--preprocess.spacing_mm=[1,1,1]"], ["preprocess.spacing_mm"]),
    "cavity": (["--name=x", "--data.cavity=True"], ["data.cavity"]),
    "too many folds": (["--name=x", "--data.folds=9"], ["9 folds"]),
    "weights of nothing": (["--name=x", "--weights=nowhere"], ["nowhere"]),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, phantom_store: Path) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    config = write_config(folder, phantom_store, train={"steps": 1})
    assert train(config) == 0
    return config


@pytest.mark.parametrize("fault", REFUSALS)
def test_refusals_are_one_message_and_exit_code_2(
    finished: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    overrides, expected = REFUSALS[fault]
    assert train(finished, *overrides) == 2
    message = capsys.readouterr().err
    assert message.startswith("train.py: ")
    assert "Traceback" not in message
    for part in expected:
        assert part in message


def test_a_checkpoint_of_another_network_is_refused_by_tensor(
    tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, phantom_store, train={"steps": 2})
    assert train(config) == 0
    run = RunDir(tmp_path / "runs" / "run")
    run.config.write_text(run.config.read_text().replace("features: 4", "features: 8", 1))
    assert train(config, "--model.features=8") == 2
    message = capsys.readouterr().err
    assert "another network" in message
    assert "in the file" in message
    # The same as weights to start from.
    assert train(config, "--name=other", "--model.features=8", f"--weights={run.path}") == 2
    assert "another network" in capsys.readouterr().err


def test_weights_of_a_run_are_a_start(tmp_path: Path, phantom_store: Path) -> None:
    config = write_config(tmp_path, phantom_store, train={"steps": 1})
    assert train(config, "--name=first") == 0
    first = tmp_path / "runs" / "first"
    assert train(config, "--name=second", f"--weights={first}", "--optim.lr=1e-12") == 0
    assert difference(load_file(first / "model.safetensors"), weights_at(tmp_path / "runs" / "second", 1)) < 1e-6


def test_a_folder_that_is_no_run_is_not_written_into(
    tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, phantom_store)
    (tmp_path / "runs" / "run").mkdir(parents=True)
    (tmp_path / "runs" / "run" / "thesis.txt").write_text("years of work")
    assert train(config) == 2
    assert "not a run directory" in capsys.readouterr().err
    assert sorted(file.name for file in (tmp_path / "runs" / "run").iterdir()) == ["thesis.txt"]


def with_signal_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """A wish to stop that comes during a step (counted from 0)."""
    from mets3d.training import loop

    original = loop.train_step

    def stopping(session: Any, now: int, *arguments: Any) -> Any:
        if now == step:
            session.wish.signal = signal.SIGTERM
        return original(session, now, *arguments)

    monkeypatch.setattr(loop, "train_step", stopping)


@pytest.mark.parametrize("step", [1, 3])
def test_a_stop_before_a_validation_owes_it(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    config = write_config(tmp_path, phantom_store, validate={"every": 2, "cases": 1})
    assert train(config, "--name=whole") == 0
    with_signal_at(monkeypatch, step)
    assert train(config, "--name=cut") == 128 + signal.SIGTERM
    monkeypatch.undo()
    assert train(config, "--name=cut") == 0
    whole, cut = (RunDir(tmp_path / "runs" / name) for name in ("whole", "cut"))
    scores = [[row["dice/mean"] for row in run.read_metrics() if row["kind"] == "validation"] for run in (whole, cut)]
    assert len(scores[0]) == 2
    assert scores[0] == scores[1]
    assert whole.pointer("best") == cut.pointer("best")
    assert difference(load_file(whole.weights), load_file(cut.weights)) == 0
    before = cut.metrics.read_text()
    assert train(config, "--name=cut") == 0, "a finished run started again"
    assert cut.metrics.read_text() == before


def test_a_signal_during_validation_stops_there_and_owes_it(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mets3d.training.validation import HeldOutCases

    original = HeldOutCases._scores
    wishes: list[Any] = []

    def interrupted(self: HeldOutCases, *arguments: Any) -> Any:
        wishes[-1].signal = signal.SIGTERM
        return original(self, *arguments)

    call = HeldOutCases.__call__

    def noted(self: HeldOutCases, network: Any, wish: Any, *others: Any) -> Any:
        wishes.append(wish)
        return call(self, network, wish, *others)

    monkeypatch.setattr(HeldOutCases, "__call__", noted)
    monkeypatch.setattr(HeldOutCases, "_scores", interrupted)
    config = write_config(tmp_path, phantom_store, validate={"every": 2, "cases": 2})
    assert train(config) == 128 + signal.SIGTERM
    run = RunDir(tmp_path / "runs" / "run")
    assert run.checkpoint_steps() == [2]
    monkeypatch.undo()
    assert train(config) == 0
    assert [row["step"] for row in run.read_metrics() if row["kind"] == "validation"] == [2, 4]


def test_a_crash_between_weights_and_checkpoint_loses_neither(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, phantom_store, train={"checkpoint_every": 4})

    def crash(*_arguments: Any, **_options: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(state, "save", crash)
    assert train(config) == 1
    assert "disk full" in capsys.readouterr().err
    monkeypatch.undo()
    assert train(config) == 0
    run = RunDir(tmp_path / "runs" / "run")
    best = weights_at(run.path, run.pointer("best") or 0)
    exported = load_file(run.weights)
    assert all(torch.equal(exported[name], best[name]) for name in best)


def test_cases_never_change_sides_of_a_run(
    tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, phantom_store, train={"steps": 2})
    assert train(config) == 0
    run = RunDir(tmp_path / "runs" / "run")
    split = read_json(run.split)
    split["training"], split["validation"] = split["validation"], split["training"]
    Path(run.split).write_text(json.dumps(split), encoding="utf-8")
    assert train(config) == 2
    assert "other cases" in capsys.readouterr().err
