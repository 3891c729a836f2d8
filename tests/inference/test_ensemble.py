"""What weighs a member's answer, and how many threads a CPU gives to its windows."""

import contextlib
import os
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mets3d.data.cases import SEQUENCES
from mets3d.data.nifti import read_image
from mets3d.data.prepare import prepare
from mets3d.inference import ensemble
from mets3d.inference.ensemble import Ensemble
from mets3d.inference.members import load_members, member_weights

# ---------------------------------------------------------------- weights of the average


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["WT=1,1e39"], "region weights WT=1,1e39: expected 2 numbers from 0, .* of single precision"),
        (["WT=3e38,3e38"], "expected 2 numbers from 0"),
        (["WT=1e-50,1e-50"], "expected 2 numbers from 0"),
        (["WT=1,inf"], "expected 2 numbers from 0"),
        (["WT=1,2", "ET=1,1", "WT=2,1"], "region weights WT=2,1: WT has weights already, WT=1,2; name it once"),
    ],
)
def test_weights_that_make_no_average_are_refused(trained_run: Path, words: list[str], message: str) -> None:
    members = load_members([trained_run]) * 2
    with pytest.raises(ValueError, match=message):
        member_weights(words, members)


# ---------------------------------------------------------------- threads


@pytest.mark.parametrize("window_batch", [1, 2])
def test_windows_are_shared_over_all_cores_that_are_this_processs_own(
    trained_run: Path, phantom_data: Path, monkeypatch: pytest.MonkeyPatch, window_batch: int
) -> None:
    seen: list[tuple[bool, int]] = []
    real = ensemble.window_probabilities

    def watched(*arguments: Any, threads: Any, **keywords: Any) -> Any:
        seen.append((isinstance(threads.pool, Executor), threads.count))
        return real(*arguments, threads=threads, **keywords)

    monkeypatch.setattr(ensemble, "window_probabilities", watched)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(9)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    member = load_members([trained_run])[0]
    settings = member.config.predict.model_copy(update={"window_batch": window_batch})
    network = Ensemble([member], settings, member_weights([], [member]), torch.device("cpu"), contextlib.nullcontext)
    folder = sorted(phantom_data.iterdir())[0]
    images = {name: read_image(folder / f"{folder.name}-{name}.nii.gz") for name in SEQUENCES}
    prepared = prepare(images, None, member.plan.spacing_mm, 0, cavity=False)
    assert np.isfinite(network.probabilities([prepared])[0]).all()
    assert seen == [(True, 4)]
