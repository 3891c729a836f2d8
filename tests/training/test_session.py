"""A job composed without a command line, and a session opened with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

import train as script
from mets3d.config import Predict, load_file
from mets3d.data.loader import batches
from mets3d.files import read_json
from mets3d.rundir import RunDir
from mets3d.settings import Section, Validate
from mets3d.training.loop import fit
from mets3d.training.same_run import SCORED
from mets3d.training.session import Session, open_session
from mets3d.training.step import train_step
from tests.builders.runs import forget_accelerator, write_config


@pytest.fixture
def accelerator() -> Iterator[Accelerator]:
    forget_accelerator()
    yield Accelerator(cpu=True)
    forget_accelerator()


def micro_batches(session: Session, step: int) -> list[object]:
    size = session.job.config.train.batch_size
    return list(next(batches(session.job.samples, steps=range(step, step + 1), batch_size=size)))


def test_a_composed_job_makes_a_step(tmp_path: Path, phantom_store: Path, accelerator: Accelerator) -> None:
    config = load_file(write_config(tmp_path, phantom_store, model={"mode": "decoder"}))
    job = script.compose(config, accelerator)
    assert not job.run.path.exists(), "composing writes nothing"
    with open_session(job, accelerator) as session:
        before = [parameter.detach().clone() for parameter in session.network.parameters()]
        numbers = train_step(session, 0, micro_batches(session, 0))  # type: ignore[arg-type]
        assert numbers["loss"] > 0
        assert numbers["lr"] == pytest.approx(config.optim.lr / 2)
        after = session.network.parameters()
        assert not all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
    assert session.exit_code == 0
    assert read_json(job.run.environment)["exit_code"] == 0
    for file, record in job.records.items():
        assert read_json(file) == json.loads(json.dumps(record))


def test_a_session_goes_on_where_the_last_one_was(
    tmp_path: Path, phantom_store: Path, accelerator: Accelerator, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_file(write_config(tmp_path, phantom_store, train={"steps": 2}))
    with open_session(script.compose(config, accelerator), accelerator) as session:
        fit(session)
        assert session.progress.step == 2
    forget_accelerator()
    again = Accelerator(cpu=True)
    with open_session(script.compose(config, again), again) as session:
        assert session.progress.step == 2
        fit(session)
    assert "resuming at step 2 of 2" in capsys.readouterr().out
    rows = RunDir(tmp_path / "runs" / "run").read_metrics()
    assert [row["step"] for row in rows if row["kind"] == "train"] == [1, 2]


def test_an_error_in_the_block_closes_the_log_and_is_no_end_of_the_run(
    tmp_path: Path, phantom_store: Path, accelerator: Accelerator
) -> None:
    job = script.compose(load_file(write_config(tmp_path, phantom_store)), accelerator)
    with pytest.raises(KeyError), open_session(job, accelerator) as session:
        raise KeyError("of the caller")
    assert session.tracker.file is None
    assert "finished" not in read_json(job.run.environment)


def test_the_settings_of_a_score_are_those_that_validation_reads(
    tmp_path: Path, phantom_store: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_config(tmp_path, phantom_store, model={"mode": "decoder"}, train={"steps": 1})
    config = load_file(file)
    read: dict[type, set[str]] = {Predict: set(), Validate: set()}
    plain = Section.__getattribute__

    def noting(settings: Section, name: str) -> Any:
        read.get(type(settings), set()).add(name)
        return plain(settings, name)

    with monkeypatch.context() as patched:
        for kind in read:
            patched.setattr(kind, "__getattribute__", noting)
        patched.setattr("mets3d.training.prepare.without_effect", lambda *_, **__: [])  # it reads every setting
        with open_session(script.compose(config, accelerator), accelerator) as session:
            fit(session)
        assert session.progress.validated == 1
    # The number of windows per forward pass is read, but changes no window; when a validation is due changes no score.
    changes_nothing = {Predict: {"window_batch"}, Validate: {"every", "all_every", "patience"}}
    assert "window_batch" in read[Predict]
    for kind, section in ((Predict, "predict"), (Validate, "validate")):
        assert {name for name in kind.model_fields if f"{section}.{name}" in SCORED} == (
            kind.model_fields.keys() & read[kind] - changes_nothing[kind]
        )
