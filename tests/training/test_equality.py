"""The gradient does not depend on how the global batch is split: the short form of tests/training/equality.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from mets3d.settings.loss import BoundaryName
from tests.builders.runs import ROOT
from tests.training.equality import BARS, JOINED, MODES, TARGETS, WITH_EVERY_MODE


@pytest.mark.slow
def test_any_split_of_the_batch_has_the_gradient_of_one_process(tmp_path: Path) -> None:
    out = tmp_path / "differences.json"
    command = [sys.executable, "-W", "ignore", "-m", "tests.training.equality", "--short", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert out.exists(), done.stderr
    found = json.loads(out.read_text())
    assert set(found) == {"1x2", "2x1", "2x2", "4x2"}, "processes x accumulation"
    boundaries = ("none", *get_args(BoundaryName), JOINED)
    for split, cases in found.items():
        exact = {tuple(case.split("/")[1:4]) for case in cases if case.startswith("fp64/")}
        modes = {(m, b) for m, b, _ in exact if b in WITH_EVERY_MODE}
        assert modes == {(m, b) for m in MODES for b in WITH_EVERY_MODE} or split.startswith("4")
        assert {(m, t) for m, _, t in exact} == {(m, t) for m in MODES for t in TARGETS}
        assert {(b, t) for _, b, t in exact} == {(b, t) for b in boundaries for t in TARGETS}
        assert {m for m, b, _ in exact if b not in WITH_EVERY_MODE} == {*MODES}
        beyond = {case: value for case, value in cases.items() if not value < BARS[case.split("/")[0]]}
        assert not beyond, split
    assert done.returncode == 0, done.stdout
