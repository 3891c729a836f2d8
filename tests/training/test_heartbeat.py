"""A training touches its heartbeat after each step and each validated case, and trains on where it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mets3d.training import heartbeat, loop, validation
from tests.builders.runs import train, write_config


def test_steps_and_validated_cases_beat(tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "heartbeat"
    monkeypatch.setenv(heartbeat.VARIABLE, str(file))
    beats = []

    def counted(where: str) -> None:
        file.unlink(missing_ok=True)
        heartbeat.beat()
        beats.append((where, file.exists()))

    monkeypatch.setattr(loop, "beat", lambda: counted("step"))
    monkeypatch.setattr(validation, "beat", lambda: counted("case"))
    assert train(write_config(tmp_path, phantom_store)) == 0
    rows = [json.loads(line) for line in next(tmp_path.rglob("metrics.jsonl")).read_text().splitlines()]
    steps = max(row["step"] for row in rows)
    assert beats.count(("step", True)) == steps
    assert ("case", True) in beats
    assert all(there for _, there in beats)


def test_without_the_variable_and_where_it_cannot_be_written_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(heartbeat.VARIABLE, raising=False)
    heartbeat.beat()
    monkeypatch.setenv(heartbeat.VARIABLE, str(tmp_path / "no" / "folder"))
    heartbeat.beat()
    assert not list(tmp_path.iterdir())
