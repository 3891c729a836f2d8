"""Damage to the newest checkpoint is named and the one before used; leftovers, copies and pointers disturb nothing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mets3d.rundir import CheckpointDir, RunDir
from mets3d.training import checkpoint
from tests.builders.runs import train, write_config
from tests.faults.damage import KINDS

WORDS = ("--train.steps=3", "--train.checkpoint_every=1", "--train.keep_checkpoints=3", "--validate.every=1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, phantom_store: Path) -> tuple[Path, Path]:
    """A configuration, and a finished run of it with checkpoints at steps 1, 2 and 3."""
    folder = tmp_path_factory.mktemp("damage")
    config = write_config(folder, phantom_store)
    assert train(config, *WORDS) == 0
    return config, folder / "runs" / "run"


@pytest.fixture
def run(trained: tuple[Path, Path], tmp_path: Path) -> RunDir:
    return RunDir(shutil.copytree(trained[1], tmp_path / "runs" / "run"))


def again(trained: tuple[Path, Path], run: RunDir, *words: str) -> int:
    return train(trained[0], f"--output={run.path.parent}", *WORDS, *words)


def same_weights(one: RunDir, two: RunDir) -> bool:
    files = [(CheckpointDir(run.checkpoint(3)).weights, run.weights) for run in (one, two)]
    return all(
        torch.equal(tensor, load_file(right)[name])
        for left, right in zip(*files, strict=True)
        for name, tensor in load_file(left).items()
    )


def test_an_undamaged_one_is_used(run: RunDir) -> None:
    found, damaged = checkpoint.newest_whole(run)
    assert found is not None
    assert found.record.progress.step == 3
    assert damaged == {}


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_named_and_the_one_before_used(run: RunDir, kind: str) -> None:
    damage, named = KINDS[kind]
    damage(run.checkpoint(3))
    found, damaged = checkpoint.newest_whole(run)
    assert found is not None
    assert found.record.progress.step == 2
    assert list(damaged) == [3]
    assert named in damaged[3]
    assert "\n" not in damaged[3]


def test_a_file_that_the_disk_does_not_give_is_damage(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Path.open

    def refusing(path: Path, *arguments: object, **more: object) -> object:
        if path == CheckpointDir(run.checkpoint(3)).weights:
            raise OSError(5, "Input/output error", str(path))
        return original(path, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", refusing)
    found, damaged = checkpoint.newest_whole(run)
    assert found is not None
    assert found.record.progress.step == 2
    assert damaged == {3: "model.safetensors cannot be read: Input/output error"}


@pytest.mark.parametrize("kind", ["optimizer.bin: a bit flipped", "progress.json: empty", "the folder is a file"])
def test_the_run_goes_on_and_ends_as_if_nothing_had_been(
    trained: tuple[Path, Path], run: RunDir, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    damage, named = KINDS[kind]
    damage(run.checkpoint(3))
    assert again(trained, run) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "is damaged" in line]
    assert len(said) == 1
    assert named in said[0]
    assert "step_00000003" in said[0]
    assert same_weights(RunDir(trained[1]), run)
    assert sorted(path.name for path in run.checkpoints.iterdir()) == sorted(
        path.name for path in RunDir(trained[1]).checkpoints.iterdir()
    )


def test_two_damaged_ones_are_both_named(
    trained: tuple[Path, Path], run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    for step, kind in ((3, "manifest.json: missing"), (2, "model.safetensors: truncated")):
        KINDS[kind][0](run.checkpoint(step))
    assert again(trained, run) == 0
    text = capsys.readouterr().out
    assert "manifest.json is missing" in text
    assert "model.safetensors has" in text
    assert "resuming at step 1 of 3" in text
    assert same_weights(RunDir(trained[1]), run)


def test_a_run_of_damaged_checkpoints_alone_is_not_begun_anew(
    trained: tuple[Path, Path], run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in run.checkpoint_steps():
        KINDS["optimizer.bin: empty"][0](run.checkpoint(step))
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert again(trained, run) == 2
    message = capsys.readouterr().err
    assert "no checkpoint is whole" in message
    assert message.count("optimizer.bin has 0 bytes") == 3
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_copies_and_leftovers_disturb_nothing_and_leftovers_go(trained: tuple[Path, Path], run: RunDir) -> None:
    folder = Path(run.checkpoints)
    for name in ("step_3_copy", "step_00000003 (copy)", "step_4.bak", "step_9", "old_step_00000008", "step_00000007x"):
        shutil.copytree(run.checkpoint(3), folder / name)
    kept = sorted(path.name for path in folder.iterdir())
    for name in (".writing_step_00000009", ".removing_step_00000001", ".replaced_step_00000003"):
        shutil.copytree(run.checkpoint(3), folder / name)
    (folder / ".7.tmp.last").write_text("9")
    (run.path / ".7.tmp.config.yaml").write_text("half of")
    (run.path / "notes.txt").write_text("of the user")
    assert again(trained, run) == 0
    assert sorted(path.name for path in folder.iterdir()) == kept
    assert (run.path / "notes.txt").exists()
    assert not (run.path / ".7.tmp.config.yaml").exists()


def test_a_checkpoint_that_was_to_be_replaced_gets_its_name_back(trained: tuple[Path, Path], run: RunDir) -> None:
    for step in (1, 2):
        shutil.rmtree(run.checkpoint(step))
    run.checkpoint(3).rename(run.checkpoints / ".replaced_step_00000003")  # killed between the two renames
    assert again(trained, run) == 0
    assert run.checkpoint_steps() == [3]
    assert same_weights(RunDir(trained[1]), run)


POINTERS: dict[str, Callable[[Path], object]] = {
    "missing": lambda file: file.unlink(),
    "empty": lambda file: file.write_text(""),
    "no number": lambda file: file.write_text("three"),
    "to a folder that is gone": lambda file: file.write_text("77"),
    "zeros": lambda file: file.write_bytes(bytes(4)),
}


@pytest.mark.parametrize("fault", POINTERS)
def test_pointers_are_rebuilt_from_what_lies_there(trained: tuple[Path, Path], run: RunDir, fault: str) -> None:
    wanted = {name: run.pointer(name) for name in ("last", "best")}
    assert None not in wanted.values()
    for name in wanted:
        POINTERS[fault](run.checkpoints / name)
    assert again(trained, run) == 0
    assert {name: run.pointer(name) for name in wanted} == wanted


def test_best_points_at_nothing_where_the_best_checkpoint_is_gone(trained: tuple[Path, Path], run: RunDir) -> None:
    best = run.pointer("best")
    assert best is not None
    if best == 3:
        pytest.skip("the best is the last")
    shutil.rmtree(run.checkpoint(best))
    assert again(trained, run) == 0
    assert run.pointer("best") is None
    assert run.pointer("last") == 3


def test_weights_that_are_gone_come_back_from_the_best_checkpoint(trained: tuple[Path, Path], run: RunDir) -> None:
    run.weights.unlink()
    assert again(trained, run) == 0
    assert same_weights(RunDir(trained[1]), run)


def test_torn_lines_of_the_log_cost_themselves_alone(trained: tuple[Path, Path], run: RunDir) -> None:
    whole = run.read_metrics()
    lines = run.metrics.read_bytes().splitlines()
    torn = [lines[0], lines[1][:20], bytes(50) + lines[2], b"\xff\xfe", b"[1, 2]", b'{"kind": "train"}', *lines[3:]]
    run.metrics.write_bytes(b"\n".join(torn) + b'\n{"step": 3, "ki')
    assert run.read_metrics() == [row for row in whole if row != json.loads(lines[1])]
    assert again(trained, run) == 0
    assert run.read_metrics() == [row for row in whole if row != json.loads(lines[1])]
    assert run.metrics.read_bytes().splitlines() == [lines[0], *lines[2:]]


@pytest.mark.parametrize("name", ["environment.json", "split.json", "plan.json", "baseline.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", bytes(9)])
def test_records_that_are_damaged_are_written_anew(
    trained: tuple[Path, Path], run: RunDir, name: str, content: bytes
) -> None:
    (run.path / name).write_bytes(content)
    assert again(trained, run) == 0
    assert json.loads((run.path / name).read_bytes()).keys() == json.loads((trained[1] / name).read_bytes()).keys()
