"""W&B by its own client against a server on loopback that answers, refuses, hangs, breaks or dies."""

from __future__ import annotations

import base64
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from mets3d.config import load
from mets3d.rundir import RunDir
from mets3d.training.checkpoint import newest_whole
from mets3d.training.loop import fit
from mets3d.training.track import wandb_link
from mets3d.training.track.run_id import run_id
from mets3d.training.track.validation_files import write_validation
from mets3d.training.track.wandb_link import WandbLink
from mets3d.training.track.wandb_orders import Limits, Watch
from tests.builders.runs import ROOT, train, write_config
from tests.builders.wandb_server import ENTITY, PROJECT, WandbServer, environment
from tests.training.test_sender import DETAILS, MASK

pytest.importorskip("wandb")

WANDB = [str(Path(sys.executable).with_name("wandb"))]
# Long enough for the client to start on a busy machine, short enough for a test.
QUICK = Limits(
    init=15.0,
    start=25.0,
    finish=40.0,
    flush=20.0,
    poll=0.1,
    watch=Watch(interval=0.2, again=0.1, timeout=2.0, back=1.0),
)


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with WandbServer() as running:
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: WandbServer) -> None:
    """The client's environment, and limits of seconds."""
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setattr(wandb_link, "LIMITS", QUICK)
    for name, value in server.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


class Log:
    """A run's metrics.jsonl with W&B reading along; `said` has the lines that a user sees."""

    def __init__(self, name: str = "a", *settings: str) -> None:
        self.run = RunDir(Path("runs") / name)
        self.run.path.mkdir(parents=True, exist_ok=True)
        self.said: list[str] = []
        self.stopped = False
        self.file = self.run.metrics.open("a", encoding="utf-8")
        self.link = WandbLink(load([f"--name={name}", *settings]), self.run, say=self.said.append, stop=self.stop)

    def stop(self) -> None:
        self.stopped = True

    def write(self, *steps: int, kind: str = "train", **values: float | None) -> None:
        """Writes a line for each step; the loss is a tenth of the step."""
        for step in steps:
            self.file.write(json.dumps({"step": step, "kind": kind, **(values or {"loss": step / 10})}) + "\n")
        self.file.flush()

    def close(self, exit_code: int = 0, **ending: Any) -> list[str]:
        """Ends the run; the lines that were said."""
        self.link.close(exit_code, stopped=exit_code > 128, **ending)
        self.file.close()
        return self.said


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def losses(*steps: int) -> dict[int, float]:
    return {step: step / 10 for step in steps}


def sync(folder: Path) -> None:
    done = subprocess.run([*WANDB, "sync", str(folder)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- a server that answers


def test_a_run_that_is_resumed_goes_on_as_one_curve_and_is_finished_only_at_its_end(server: WandbServer) -> None:
    log = Log()
    log.write(1, 2)
    log.write(2, kind="validation", dice=0.5)
    log.write(3, loss=None)
    assert log.close(128 + signal.SIGTERM) == [], "a server that answers is worth no line"
    [run] = server.runs
    assert (run.exit_code, run.preempting) == (143, True)
    assert run.fields["program"] == sys.argv[0], "the training's own, not that of the process which sends"
    assert run.config["train.steps"]["value"] == 31_250

    log = Log()  # from the checkpoint of step 2: step 3 is made again
    log.write(3, 4)
    assert log.close(0) == []
    assert server.runs == [run], "the same run"
    assert run.exit_code == 0
    series = run.series("train/loss")
    assert math.isnan(series.pop(3)), "as it was sent first"
    assert series == losses(1, 2, 4)
    assert run.series("validation/dice") == {2: 0.5}
    assert [row["_step"] for row in run.history] == [1, 2, 3, 4], "no step goes back"
    dropped = [line for file in Path().rglob("debug-internal.log") for line in _lines(file) if "ignoring" in line]
    assert {json.loads(line)["step"] for line in dropped} <= {3}, "what the server has is not sent a second time"


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def test_a_run_that_failed_is_not_finished_and_is_an_alert(server: WandbServer) -> None:
    log = Log()
    log.write(1)
    log.write(2, loss=None, skipped=1.0)
    log.close(1, reason="the disk is full")
    [run] = server.runs
    assert (run.exit_code, run.preempting) == (1, False)
    alerts = [(alert["title"], alert["severity"], alert["text"]) for alert in run.alerts]
    assert alerts == [
        ("A step was skipped", "WARN", "Step 2 changed no weight: its loss was not finite. Skipped so far: 1."),
        ("The training failed", "ERROR", "the disk is full"),
    ]


def test_the_page_of_a_run_has_its_best_scores_pictures_tables_and_weights(server: WandbServer, tmp_path: Path) -> None:
    log = Log("b", "--track.weights=true", "--track.group=study", "--data.fold=3", "--track.tags=[mine]")
    for step, dice in ((1, 0.4), (2, 0.5), (3, 0.3)):
        log.write(step, loss=1 - dice, lr=step)
        write_validation(log.run, step, DETAILS)
        log.write(step, kind="validation", **{"lesion_wise_dice/mean": dice, "all/dice/mean": -dice, "cases": step})
    (tmp_path / "weights").write_bytes(b"best and last")
    assert log.close(0, weights=dict.fromkeys(("best", "last"), tmp_path / "weights")) == []
    [run] = server.runs
    best = {"validation/lesion_wise_dice/mean": 0.5, "validation/all/dice/mean": -0.3, "train/loss": 0.5}
    last = {"train/lr": 3, "validation/cases": 3}
    assert {name: run.summary[name] for name in best | last} == best | last, "numbers, by which a sweep ranks"
    assert run.series("validation/lesion_wise_dice/mean") == {1: 0.4, 2: 0.5, 3: 0.3}
    assert [row["step"] for row in run.history] == [1, 2, 3]
    defined = {one.get("1"): one for one in json.loads(run.fields["config"])["_wandb"]["value"]["m"]}
    x_axis = list(defined).index("step") + 1  # definitions refer to each other by their place
    assert defined["validation/lesion_wise_dice/mean"]["5"] == x_axis

    pictures = run.history[2]["validation/slices"]
    assert pictures["captions"] == ["a lesion"]
    assert set(pictures["all_masks"][0]) == {"prediction", "reference"}
    masks = [run.files[pictures["all_masks"][0][name]["path"]] for name in ("prediction", "reference")]
    assert [np.asarray(Image.open(BytesIO(mask))).tolist() for mask in masks] == [MASK.tolist(), MASK.T.tolist()]
    assert run.files[pictures["filenames"][0]].startswith(b"\x89PNG")
    table = json.loads(run.files[run.history[2]["tables/cases"]["path"]])
    assert (table["columns"], table["data"]) == (["case", "dice"], [["a", None]])

    assert (run.fields["groupName"], run.fields["jobType"]) == ("study", "decoder-base")
    assert run.fields["tags"] == ["decoder", "base", "fold-3", "seed-0", "mine"]
    [weights] = [one for one in server.artefacts if one.type == "model"]
    assert {"best", "last"} <= set(weights.aliases)
    assert weights.files["model.safetensors"] == b"best and last"
    assert weights.committed
    assert server.unknown <= {"OrganizationCoreWeaveOrganizationID"}


@pytest.mark.slow
def test_a_training_that_is_killed_leaves_a_failed_run_with_all_its_numbers(
    server: WandbServer, tmp_path: Path
) -> None:
    script = (
        "import os, sys, time\nfrom tests.training.test_wandb import Log\n"
        "log = Log()\nlog.write(1, 2)\nwhile not os.path.exists('kill'): time.sleep(0.05)\nos._exit(9)"
    )
    training = subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "WANDB_MODE": "online", "PYTHONPATH": str(ROOT)}
    )
    wait_until(lambda: server.runs)
    Path("kill").touch()
    assert training.wait(30) == 9
    wait_until(lambda: server.runs[0].exit_code == 255)
    assert server.runs[0].series("train/loss") == losses(1, 2)


def test_a_stop_on_the_page_stops_the_run(server: WandbServer) -> None:
    server.stops = True
    log = Log()
    wait_until(lambda: log.stopped)
    assert log.stopped
    log.close(143)


# ---------------------------------------------------------------- a server that does not


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ("401", "refuses the key, HTTP 401"),
        ("500", "answers HTTP 500"),
        ("never", "does not answer"),
        ("refused", "cannot be reached"),
        ("unknown", "cannot be reached"),
        ("no key", "No API key configured"),
    ],
)
def test_a_run_whose_server_fails_logs_offline_and_can_be_sent_later(
    server: WandbServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answers: Any, said: str
) -> None:
    match answers:
        case "refused":
            monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
        case "unknown":
            monkeypatch.setenv("WANDB_BASE_URL", "http://nowhere.invalid")
        case "no key":
            monkeypatch.setenv("WANDB_MODE", "online")
            monkeypatch.delenv("WANDB_API_KEY")
        case _:
            server.answers = answers
    monkeypatch.setattr(wandb_link, "LIMITS", replace(QUICK, init=1.0))
    before = time.monotonic()
    log = Log()
    log.write(1, 2)
    assert time.monotonic() - before < 1, "training does not wait"
    [line] = log.close(0)
    assert said in line
    command, folder = line.rsplit(maxsplit=1)
    assert command.endswith("to send it later: wandb sync")
    assert not server.runs

    for name, value in environment(tmp_path, server.url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    server.answers = "normally"
    if answers in ("500", "no key"):  # the others are the same log
        sync(Path(folder))
        assert [(run.exit_code, run.series("train/loss")) for run in server.runs] == [(0, losses(1, 2))]


@pytest.mark.parametrize("answers", ["500", "never"])
def test_a_server_that_goes_and_comes_back_has_all_numbers_in_the_end(server: WandbServer, answers: Any) -> None:
    log = Log()
    log.write(1)
    wait_until(lambda: server.questions >= 1)  # the server has answered the watch once
    server.answers = answers
    log.write(2)
    wait_until(lambda: log.said)
    assert "logs offline" in log.said[0]
    folder = Path(log.said[0].rsplit(maxsplit=1)[1])
    assert folder.is_dir()
    log.write(3)
    server.answers = "normally"
    server.wake()
    wait_until(lambda: len(log.said) == 2)
    log.write(4)
    assert log.close(0)[1:] == ["W&B answers again; this run logs online"]
    assert [run.series("train/loss") for run in server.runs] == [losses(1, 2, 3, 4)]
    assert server.runs[0].exit_code == 0
    assert not folder.exists(), "nothing is left to send"


def test_a_client_that_is_killed_is_replaced(server: WandbServer) -> None:
    log = Log()
    log.write(1)
    wait_until(lambda: server.questions >= 1)
    process = log.link._process
    assert process is not None
    process.kill()
    wait_until(lambda: log.said)
    assert "its process was killed" in log.said[0]
    log.write(2)
    wait_until(lambda: len(log.said) == 2)
    log.close(0)
    assert server.runs[0].series("train/loss") == losses(1, 2)


def test_the_end_of_a_run_gives_up_in_time(server: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = replace(QUICK, finish=22.0, flush=16.0, watch=Watch(interval=1e6))
    monkeypatch.setattr(wandb_link, "LIMITS", limits)
    log = Log()
    wait_until(lambda: server.questions >= 1)
    server.answers = "never"
    log.write(1)
    before = time.monotonic()
    [line] = log.close(0)
    assert time.monotonic() - before < limits.finish + 1
    assert "not all numbers could be sent within 22 s" in line
    assert Path(line.rsplit(maxsplit=1)[1]).is_dir()


# ---------------------------------------------------------------- the id


def test_a_directory_begun_anew_and_a_copy_are_new_runs_a_moved_one_is_not(tmp_path: Path) -> None:
    import shutil

    run = RunDir(tmp_path / "a")
    run.path.mkdir()
    first = run_id(run)
    assert first.startswith("a-")
    assert run_id(run) == first
    copy = RunDir(tmp_path / "b")
    shutil.copytree(run.path, copy.path)
    assert run_id(copy) not in (first, run_id(run))
    assert run_id(copy) == run_id(copy)
    assert run_id(run) == first
    moved = RunDir(run.path.rename(tmp_path / "c"))
    assert run_id(moved) == first
    run.path.mkdir()
    assert run_id(run) != first
    assert run_id(moved) == first
    run.tracking.write_text("{")
    assert run_id(run).startswith("a-"), "a damaged file costs no more than the curve's continuation"


# ---------------------------------------------------------------- trainings


def test_an_offline_training_says_nothing_of_wandb(
    tmp_path: Path, phantom_store: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, phantom_store, track={"wandb": "offline"}, train={"steps": 1})
    assert train(config) == 0
    shown = capfd.readouterr()
    assert "wandb" not in (shown.out + shown.err).lower()
    assert list((tmp_path / "runs" / "run" / "wandb").glob("offline-run-*"))


def test_a_training_that_fails_is_failed_on_the_server(
    server: WandbServer, tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(session: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(sys.modules[fit.__module__], "fit", broken)
    config = write_config(tmp_path, phantom_store, track={"wandb": "auto"})
    assert train(config) == 1
    assert [run.exit_code for run in server.runs] == [1]


KEY = "local-" + "4b1d" * 10


@pytest.mark.slow
def test_a_sweep_of_two_processes_is_run_stopped_and_continued(
    server: WandbServer, tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`wandb sweep`, `wandb agent`, the launcher, two processes: one run to its end, one that the server stops."""
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    config = write_config(
        tmp_path, phantom_store, track={"wandb": "auto"}, optim={"schedule": "constant"}, validate={"every": 1}
    )
    command = [sys.executable, "-m", "mets3d.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0"]
    sweep = {
        "program": "train.py",
        "method": "grid",
        "metric": {"name": "validation/lesion_wise_dice/mean", "goal": "maximize"},
        "parameters": {"train.steps": {"values": [2, 100_000]}, "seed": {"value": 7}},
        "command": [*command, str(ROOT / "train.py"), "--config", str(config), "--name=s{train.steps}", "${args}"],
    }
    Path("sweep.yaml").write_text(yaml.dump(sweep), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}
    made = subprocess.run(
        [*WANDB, "sweep", "sweep.yaml"], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert made.returncode == 0, made.stderr
    agent = subprocess.Popen(
        [*WANDB, "agent", f"{ENTITY}/{PROJECT}/sweep0"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until(lambda: len(server.runs) == 2 and len(server.runs[1].history) >= 2, 240)
        server.stops = True
        output, _ = agent.communicate(timeout=120)
    finally:
        agent.kill()
    assert agent.returncode == 0, output
    finished, stopped = server.runs
    assert (finished.name, finished.fields["sweep"], finished.exit_code) == ("of-sweep-1", "sweep0", 0)
    assert finished.config["seed"]["value"] == 7
    assert finished.config["loss.boundary"]["value"] == "none", "resolved, with what nobody named"
    assert sorted(finished.series("train/loss")) == [1, 2]
    scores = finished.series("validation/dice/mean")
    assert finished.summary["validation/dice/mean"] == max(scores.values())
    assert {"train/grad_norm", "train/lr", "train/samples_per_second", "train/memory_gb", "train/data_wait"} <= {
        *finished.history[0]
    }
    assert finished.history[-1]["validation/slices"]["count"] == 4
    assert finished.history[-1]["tables/lesions"]["nrows"] >= 1

    assert stopped.exit_code == 143
    assert not stopped.preempting, "the sweep would hand it to another agent"
    run = RunDir(tmp_path / "runs" / "s100000")
    record = json.loads(run.environment.read_text())
    assert (record["processes"], record["exit_code"]) == (2, 143)
    found, damaged = newest_whole(run)
    assert found is not None
    assert damaged == {}
    step = found.record.progress.step
    assert run.read_metrics()[-1]["step"] == step, "a checkpoint of all steps made"
    # Every process has ended; one that were left would hold the run's lock, or write on.
    assert not run.lock.exists()

    server.stops = False
    assert train(config, "--name=s100000", "--seed=7", f"--train.steps={step + 1}") == 0  # by hand, on one process
    assert server.runs == [finished, stopped], "the curve goes on"
    wait_until(lambda: stopped.exit_code == 0, 60)  # W&B's own process tells it, and may still be at it
    assert sorted(stopped.series("train/loss")) == list(range(1, step + 2))

    hidden = [KEY.encode(), base64.b64encode(f"api:{KEY}".encode())]
    for file in tmp_path.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(secret in content for secret in hidden), f"the key is in {file}"
    assert not any(secret in output.encode() + made.stderr.encode() for secret in hidden)
