"""The search for the smallest accumulation: what is tried, what is printed, and that nothing is written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mets3d.config import load
from mets3d.training import accumulation, launcher, room
from tests.builders.runs import train, write_config


def test_the_word_is_taken_out_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert accumulation.asked(["--config", "a"]) == (["--config", "a"], None)
    assert accumulation.asked(["--find-accumulation", "--seed=1"]) == (["--seed=1"], 1)
    assert accumulation.asked(["--find-accumulation=4"]) == ([], 4)
    for wrong in ("0", "x", "-1"):
        with pytest.raises(SystemExit) as leaving:
            accumulation.asked([f"--find-accumulation={wrong}"])
        assert leaving.value.code == 2
    assert "expected the training's number of processes" in capsys.readouterr().err


def found(
    monkeypatch: pytest.MonkeyPatch, need: dict[int, float | None], *, room_gb: float, batch: int, device: str = "cpu"
) -> tuple[int, list[int]]:
    """Runs the search where a process needs `need[accumulation]` GB; the exit code, and what was tried."""
    tried = []

    def peak(_job: Any, _accelerator: Any, _processes: int, parts: int) -> float | None:
        tried.append(parts)
        value = need[parts]
        return None if value is None else value * 1e9

    monkeypatch.setattr(accumulation, "_peak", peak)
    monkeypatch.setattr(room, "available", lambda _: room_gb * 1e9)
    monkeypatch.setattr(room, "in_use", lambda _: 1e9)
    job: Any = SimpleNamespace(config=load([f"--train.batch_size={batch}"]))
    accelerator: Any = SimpleNamespace(num_processes=1, device=torch.device(device))
    return accumulation.find(job, accelerator, processes=2), tried


def test_on_a_gpu_the_last_try_that_fits_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need = {12: 5.0, 6: 10.0, 4: 15.0, 3: None, 2: None, 1: None}
    assert found(monkeypatch, need, room_gb=16, batch=24, device="cuda") == (0, [12, 6, 4, 3])
    assert capsys.readouterr().out.splitlines()[-1] == "--train.accumulation=4"
    # 15 GB of 15.5 leaves no room for a batch with more lesions.
    assert found(monkeypatch, need, room_gb=15.5, batch=24, device="cuda") == (0, [12, 6, 4])
    assert capsys.readouterr().out.splitlines()[-1] == "--train.accumulation=6"


def test_on_a_cpu_what_is_expected_not_to_fit_is_not_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need: dict[int, float | None] = {4: 3.0, 2: 4.0}  # 1 GB a sample, so 6 GB for four
    assert found(monkeypatch, need, room_gb=6.0, batch=8) == (0, [4, 2])
    out = capsys.readouterr().out.splitlines()
    assert out[-2:] == ["train.accumulation=1: needs about 6.0 GB of 5.7 GB, not tried", "--train.accumulation=2"]


def test_where_one_sample_does_not_fit_nothing_is_printed_as_an_override(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert found(monkeypatch, {4: None}, room_gb=6.0, batch=8) == (1, [4])
    said = capsys.readouterr()
    assert "--train" not in said.out
    assert "lower data.patch or model.features" in said.err


def test_a_search_makes_real_steps_and_writes_nothing(
    tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mets3d.training import step

    states = []
    original = step.train_step

    def watched(session: Any, number: int, micro_batches: Any) -> Any:
        shapes = [(len(batch.image),) for batch in micro_batches]
        states.append((number, shapes, len(session.optimizer.state)))
        return original(session, number, micro_batches)

    monkeypatch.setattr(step, "train_step", watched)
    config = write_config(tmp_path, phantom_store, train={"batch_size": 4, "steps": 9}, model={"mode": "decoder"})
    assert train(config, "--find-accumulation=2") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "--train.accumulation=1"
    assert not (tmp_path / "runs").exists()
    assert [(number, shapes) for number, shapes, _ in states] == [
        *((number, [(1,), (1,)]) for number in (7, 8)),
        *((number, [(2,)]) for number in (7, 8)),
    ]
    assert [bool(count) for *_, count in states] == [False, True, False, True], "with the optimizer's state"


def test_a_batch_that_the_processes_cannot_share_is_refused(
    tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, phantom_store)
    assert train(config, "--find-accumulation=3") == 2
    assert "train.batch_size 2 cannot be shared by 3 processes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "gpus", "word", "file"), [(0, 4, 4, "single_gpu"), (2, 4, 2, "single_gpu"), (0, 0, 1, "cpu")]
)
def test_the_verb_tries_in_one_process_for_as_many_as_there_are_gpus(
    monkeypatch: pytest.MonkeyPatch, given: int, gpus: int, word: int, file: str
) -> None:
    monkeypatch.delenv("ACCELERATE_USE_CPU")
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.version, "cuda", None)  # a CUDA build without a GPU asks for --launch cpu
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    launched: list[str] = []
    monkeypatch.setattr(launcher, "launch", lambda words, **_: launched.extend(words) or 0)
    assert launcher.train(None, ["--config", "x"], program="mets3d train", find_accumulation=given) == 0
    assert launched[:2] == ["--config_file", file]
    assert launched[-3:] == [f"--find-accumulation={word}", "--config", "x"]
    assert "--num_processes" not in launched
