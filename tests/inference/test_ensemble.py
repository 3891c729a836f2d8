"""What is read of a run, what weighs its answer, and how many threads a CPU gives to its windows."""

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
from mets3d.data.preprocess import prepare
from mets3d.files import write_json
from mets3d.inference import ensemble
from mets3d.inference.ensemble import Ensemble, load_members, member_weights, read_plan

PLAN: dict[str, Any] = {"sequences": list(SEQUENCES), "spacing_mm": [1.0, 1, 2.5], "margin_voxels": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"plan\.json: expected JSON, found something else \("),
        ("\xff", r"plan\.json: expected JSON, found something else \("),
        ("[]", r"plan\.json: expected an object in braces, found \[\]"),
        ({"sequences": None}, r"plan\.json: sequences: expected .* t1n, t1c, t2w, t2f, .* found None"),
        ({"sequences": "t1n"}, r"plan\.json: sequences: expected .* found 't1n'"),
        ({"sequences": []}, r"plan\.json: sequences: expected .* found \[\]"),
        ({"sequences": ["t1n", "flair"]}, r"plan\.json: sequences: expected .* found \['t1n', 'flair'\]"),
        ({"sequences": ["t1n", "t1n"]}, r"plan\.json: sequences: expected .* each once"),
        ({"spacing_mm": 1}, r"plan\.json: spacing_mm: expected three numbers above 0, .* found 1;"),
        ({"spacing_mm": [1, 1]}, r"plan\.json: spacing_mm: expected three numbers above 0, .* found \[1, 1\]"),
        ({"spacing_mm": [1, 1, 0]}, r"plan\.json: spacing_mm: expected three numbers above 0"),
        ({"spacing_mm": [1, 1, "1"]}, r"plan\.json: spacing_mm: expected three numbers above 0"),
        ({"spacing_mm": [1, 1, float("nan")]}, r"plan\.json: spacing_mm: expected three numbers above 0"),
        ({"margin_voxels": -1}, r"plan\.json: margin_voxels: expected a whole number from 0, found -1"),
        ({"margin_voxels": True}, r"plan\.json: margin_voxels: expected a whole number from 0, found True"),
    ],
)
def test_a_broken_plan_is_named_by_file_and_key(tmp_path: Path, text: Any, message: str) -> None:
    file = tmp_path / "plan.json"
    if isinstance(text, str):
        file.write_bytes(text.encode("latin-1"))
    else:
        write_json(file, PLAN | text)
    with pytest.raises(ValueError, match=message) as caught:
        read_plan(file)
    assert str(file) in str(caught.value)


def test_a_plan_that_lacks_something_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "plan.json", {"spacing_mm": [1, 1, 1]})
    with pytest.raises(ValueError, match=r"plan\.json: sequences, margin_voxels missing"):
        read_plan(tmp_path / "plan.json")
    write_json(tmp_path / "plan.json", PLAN)
    plan = read_plan(tmp_path / "plan.json")
    assert (plan.sequences, plan.spacing_mm, plan.margin_voxels) == (SEQUENCES, (1.0, 1.0, 2.5), 2)


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

    def watched(*arguments: Any, pool: Any, pool_width: int, **keywords: Any) -> Any:
        seen.append((isinstance(pool, Executor), pool_width))
        return real(*arguments, pool=pool, pool_width=pool_width, **keywords)

    monkeypatch.setattr(ensemble, "window_probabilities", watched)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(9)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    member = load_members([trained_run])[0]
    settings = member.config.predict.model_copy(update={"window_batch": window_batch})
    network = Ensemble([member], settings, member_weights([], [member]), torch.device("cpu"), contextlib.nullcontext)
    folder = sorted(phantom_data.iterdir())[0]
    images = [read_image(folder / f"{folder.name}-{name}.nii.gz") for name in SEQUENCES]
    prepared = prepare(images, None, member.plan.spacing_mm, 0, cavity=False)
    assert np.isfinite(network.probabilities([prepared])[0]).all()
    assert seen == [(True, 4)]
