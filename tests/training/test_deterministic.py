"""train.deterministic: the setting reaches torch while a session is open, and no longer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from mets3d.training import loop
from mets3d.training.deterministic import deterministic
from tests.builders.runs import train, write_config


@pytest.mark.parametrize("wanted", [False, True])
def test_a_run_is_deterministic_where_that_is_wanted(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    seen: list[bool] = []
    original = loop.train_step

    def watched(*arguments: object) -> object:
        seen.append(torch.are_deterministic_algorithms_enabled())
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "train_step", watched)
    config = write_config(
        tmp_path,
        phantom_store,
        model={"mode": "both"},
        loss={"query_points": 8, "boundary": "blob", "boundary_ramp": [0.0, 0.0]},
        train={"steps": 1, "deterministic": wanted},
    )
    assert train(config) == 0
    assert seen == [wanted]
    assert not torch.are_deterministic_algorithms_enabled()
    assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == (":4096:8" if wanted else None)


def test_flags_are_as_before_after_an_error() -> None:
    before = torch.backends.cudnn.benchmark
    with pytest.raises(KeyError), deterministic(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.benchmark is False
        raise KeyError
    assert torch.backends.cudnn.benchmark is before
    assert not torch.are_deterministic_algorithms_enabled()
