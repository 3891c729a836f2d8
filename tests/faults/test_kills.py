"""Every ninth kill of the long form: `python -m tests.faults kills` makes all of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.runs import ROOT


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills are made in forks")
def test_a_killed_training_is_continued_by_the_same_command(phantom_store: Path) -> None:
    # In a process of its own: forks of this one would inherit the threads of other tests.
    words = ["kills", "--json", "--stride", "9", "--store", str(phantom_store)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", *words],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert [outcome for outcome in outcomes if outcome["faults"]] == []
    assert done.returncode == 0, done.stderr
    places = " ".join(outcome["place"] for outcome in outcomes)
    assert {outcome["scenario"] for outcome in outcomes} == {"fresh", "replaced", "damaged"}
    assert len(outcomes) >= 30
    for part in (".writing_step_", "config.yaml", "model.safetensors"):
        assert part in places, "the kills must meet the whole of start, save and finish"
