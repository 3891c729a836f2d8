"""Whole studies: kept, continued, failed and killed runs, shards, claims, and the page at the end."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mets3d.config import ConfigError
from mets3d.data.shards import Shard
from mets3d.files import read_json, sha256_of, write_json
from mets3d.rundir import RunDir
from mets3d.study import runner, work
from mets3d.study.folder import State, StudyDir
from mets3d.study.ledger import UsedError
from mets3d.study.machine import Machine
from mets3d.study.on_test import run_on_test
from mets3d.study.study import Order, Result, run_study
from mets3d.study.sweep_file import read_sweep
from mets3d.training.lock import held
from tests.builders.runs import train, write_config

Begin = Callable[[work.Work, "Pretended"], int | None]


class Killed(BaseException):
    """The moment at which the system ends the sweep."""


class Pretended:
    """Stands for the process of a run: it works in this process, at the first look, and ends with a code."""

    def __init__(self, do: Begin, words: list[str], **settings: Any) -> None:
        self.work, self.log = work.Work(**json.loads(words[-1])), settings["stdout"]
        self.variables = settings["env"]
        self.returncode: int | None = None
        self.signals: list[int] = []
        self._do, self._name = do, Path(self.work.run).name
        self._log = Path(settings["stdout"].name)

    def say(self, text: str) -> None:
        with self._log.open("a", encoding="utf-8") as stream:
            stream.write(text + "\n")

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._do(self.work, self)
        return self.returncode

    def send_signal(self, number: int) -> None:
        self.signals.append(number)

    def wait(self, seconds: float) -> None:
        return None

    def kill(self) -> None:
        return None


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "POLL_S", 0.001)


@pytest.fixture
def sweep(tmp_path: Path, phantom_store: Path) -> Path:
    """A sweep file of two losses and two seeds over the tiny configuration."""
    config = write_config(tmp_path, phantom_store)
    content = {
        "program": "train.py",
        "method": "grid",
        "parameters": {"loss.boundary": {"values": ["blob", "none"]}, "seed": {"values": [0, 1]}},
        "command": ["${program}", "--config", str(config), "--name={loss.boundary}_{seed}", "${args}"],
    }
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def change(sweep: Path, parameters: dict[str, Any]) -> None:
    """Gives a sweep file other parameters."""
    tree = yaml.safe_load(sweep.read_text(encoding="utf-8"))
    sweep.write_text(yaml.safe_dump(tree | {"parameters": parameters}), encoding="utf-8")


class Bench:
    """Runs a sweep in a folder by what `do` does for each run; `said` is what the user reads."""

    def __init__(self, file: Path, folder: Path) -> None:
        self.file, self.study, self.said = file, StudyDir(folder), list[str]()
        self.begun: list[Pretended] = []

    def run(self, do: Begin, *overrides: str, shard: Shard | None = None, machine: Machine | None = None) -> Result:
        def begin(words: list[str], **settings: Any) -> Pretended:
            self.begun.append(Pretended(do, words, **settings))
            return self.begun[-1]

        order = Order(self.study, machine or Machine(2, ()), shard=shard, overrides=overrides)
        return run_study(read_sweep(str(self.file)), order, self.said.append, begin=begin)

    def states(self) -> dict[str, str]:
        return {file.stem: read_json(file)["state"] for file in sorted(Path(self.study.states).glob("*.json"))}


@pytest.fixture
def bench(sweep: Path, tmp_path: Path) -> Bench:
    return Bench(sweep, tmp_path / "study")


@pytest.fixture
def no_page(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The names of the runs on each page that would have been written."""
    pages: list[list[str]] = []

    def page(runs: list[Path], out: Path) -> Path:
        pages.append([run.name for run in runs])
        return out / "index.html"

    import mets3d.reporting

    monkeypatch.setattr(mets3d.reporting, "report", page)
    return pages


def finish(asked: work.Work, _process: Pretended) -> int:
    """Leaves what a training, a prediction and an evaluation leave, without doing them."""
    run = RunDir(Path(asked.run))
    run.path.mkdir(parents=True, exist_ok=True)
    from mets3d.config import load, to_yaml

    run.config.write_text(to_yaml(load(asked.words)))
    run.weights.write_bytes(run.name.encode())
    write_json(run.environment, {"exit_code": 0})
    run.scores.write_text("case\n")
    return 0


def really(asked: work.Work, _process: Pretended) -> int:
    """Trains, predicts and scores in this process."""
    code = 0 if asked.trained else train_words(asked.words)
    return code or work.score(Path(asked.run), Path(asked.data))


def train_words(words: list[str]) -> int:
    place = words.index("--config")
    return train(Path(words[place + 1]), *words[:place], *words[place + 2 :])


NAMES = ["blob_0", "blob_1", "none_0", "none_1"]


def test_all_runs_are_run_and_end_in_one_page(bench: Bench, no_page: list[list[str]]) -> None:
    result = bench.run(finish)
    assert list(result.states) == NAMES, "in the order of the grid"
    assert {state.state for state in result.states.values()} == {"finished"}
    assert no_page == [NAMES]
    assert result.page == bench.study.report / "index.html"
    assert read_json(bench.study.record)["runs"]["none_1"] == {"loss.boundary": "none", "seed": 1}
    assert bench.study.state("blob_0").weights == sha256_of(bench.study.run("blob_0").weights)


def test_finished_runs_are_kept_and_only_scored_anew_where_weights_changed(
    bench: Bench, no_page: list[list[str]]
) -> None:
    bench.run(finish)
    bench.begun.clear()
    assert bench.run(finish).page is not None
    assert bench.begun == []
    bench.study.run("none_0").weights.write_bytes(b"other")
    bench.run(finish)
    assert [(Path(one.work.run).name, one.work.trained) for one in bench.begun] == [("none_0", True)]
    bench.begun.clear()
    bench.run(finish, "--train.steps=6")
    assert [one.work.trained for one in bench.begun] == [False] * 4, "a longer run is trained on"


def test_a_failed_run_is_listed_with_its_reason_and_tried_again(bench: Bench, no_page: list[list[str]]) -> None:
    def some(asked: work.Work, process: Pretended) -> int:
        if "none" not in asked.run:
            return finish(asked, process)
        process.say("step 1/4\nTraceback (most recent call last):\nValueError: inner\ntrain.py: the disk is full\nnote")
        return 1

    result = bench.run(some)
    assert result.states["none_0"] == State("failed", "train.py: the disk is full (exit code 1)")
    assert no_page == [["blob_0", "blob_1"]], "the others go on, and are compared"
    assert any("none_1 failed" in line for line in bench.said)
    bench.begun.clear()
    assert bench.run(finish).states["none_0"].state == "finished"
    assert [Path(one.work.run).name for one in bench.begun] == ["none_0", "none_1"]


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        ("", -9, "it said nothing (exit code -9)"),
        ("a\nTraceback (most recent call last):\n  File x\nKeyError: 3", 1, "KeyError: 3 (exit code 1)"),
        ("mets3d sweep: case 7: no t1c", 1, "mets3d sweep: case 7: no t1c (exit code 1)"),
    ],
)
def test_the_reason_is_the_last_line_that_says_why(
    bench: Bench, no_page: list[list[str]], text: str, code: int, reason: str
) -> None:
    def fail(_: work.Work, process: Pretended) -> int:
        process.say(text)
        return code

    assert {state.reason for state in bench.run(fail).states.values()} == {reason}
    assert no_page == []


def test_a_process_that_leaves_nothing_has_failed(bench: Bench) -> None:
    assert {state.reason for state in bench.run(lambda *_: 0).states.values()} == {"it left no weights or no scores"}


def test_a_stop_is_passed_on_and_the_same_command_goes_on(bench: Bench, no_page: list[list[str]]) -> None:
    def stopped(asked: work.Work, process: Pretended) -> int | None:
        if not process.signals:
            signal.raise_signal(signal.SIGTERM)
            return None
        return 143

    result = bench.run(stopped)
    assert [one.signals for one in bench.begun] == [[signal.SIGTERM], [signal.SIGTERM]]
    assert (result.signal, result.page) == (signal.SIGTERM, None)
    assert list(bench.states().values()) == ["interrupted", "interrupted", "waiting", "waiting"]
    assert bench.run(finish).page is not None


def test_an_error_of_the_sweep_itself_ends_the_runs(bench: Bench) -> None:
    def broken(*_: Any) -> int:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        bench.run(broken)
    assert [one.signals for one in bench.begun] == [[signal.SIGTERM]] * 2


# ---------------------------------------------------------------- several calls, several machines


def test_shards_share_the_runs_and_the_last_one_writes_the_page(bench: Bench, no_page: list[list[str]]) -> None:
    assert bench.run(finish, shard=Shard(2, 2)).page is None
    assert [Path(one.work.run).name for one in bench.begun] == ["blob_1", "none_1"]
    assert no_page == []
    assert bench.run(finish, shard=Shard(1, 2)).page is not None
    assert no_page == [NAMES]


def test_a_call_without_a_shard_does_what_shards_left(bench: Bench, no_page: list[list[str]]) -> None:
    bench.run(finish, shard=Shard(2, 3))
    bench.begun.clear()
    bench.run(finish)
    assert [Path(one.work.run).name for one in bench.begun] == ["blob_0", "none_0", "none_1"]


def test_two_sweeps_do_not_share_a_folder_but_shards_do(bench: Bench, no_page: list[list[str]]) -> None:
    whole, first, second = (RunDir(bench.study.locks / name) for name in ("whole", "1%2F2", "2%2F2"))
    with held(whole, print):
        for shard in (None, Shard(1, 2)):
            with pytest.raises(ValueError, match=r"a sweep runs here, by process \d+ on .*; wait for it"):
                bench.run(finish, shard=shard)
    with held(first, print):
        for shard in (None, Shard(1, 2), Shard(1, 3)):
            with pytest.raises(ValueError, match=r"shard 1/2 of a sweep runs here"):
                bench.run(finish, shard=shard)
        assert bench.run(finish, shard=Shard(2, 2)).page is None
    assert not second.lock.exists()
    assert bench.run(finish).page is not None


def test_gpus_are_shared_out_and_cores_too(bench: Bench, monkeypatch: pytest.MonkeyPatch, no_page: Any) -> None:
    waits = {"blob_0": 3}

    def slow(asked: work.Work, process: Pretended) -> int | None:
        name = Path(asked.run).name
        waits[name] = waits.get(name, 1) - 1
        return None if waits[name] > 0 else finish(asked, process)

    bench.run(slow, machine=Machine(2, ("5", "GPU-8a")))
    given = {Path(one.work.run).name: one.variables["CUDA_VISIBLE_DEVICES"] for one in bench.begun}
    assert given == {"blob_0": "5", "blob_1": "GPU-8a", "none_0": "GPU-8a", "none_1": "GPU-8a"}


# ---------------------------------------------------------------- before anything starts


def test_every_fault_of_every_combination_is_told_before_anything_starts(bench: Bench) -> None:
    tree = {"loss.boundry": {"value": "blob"}, "data.fold": {"values": [0, 7]}, "train.steps": {"values": [0, 3]}}
    change(bench.file, tree)
    with pytest.raises(ConfigError) as error:
        bench.run(finish)
    rest = "loss.boundry=blob, train.steps=0"
    assert error.value.faults == [
        "loss.boundry: unknown key; did you mean loss.boundary?",
        f"train.steps: input should be greater than 0; found 0 (2 of 4 combinations, such as data.fold=0, {rest})",
        f"data: fold is 7, but folds are numbered 0 to 2 (2 of 4 combinations, such as data.fold=7, {rest})",
    ]
    assert bench.begun == []
    assert not Path(bench.study.path).exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("--data.store=nowhere", "nowhere: expected a store, found no such folder"),
        ("--data.patch=[18,16,16]", "data.patch is 18 voxels along X, not a multiple of 4"),
        ("--output=x", "--output=x: the runs of a sweep lie in its folder; name that by --out DIR"),
        ("--name=one/../..", "expected letters, digits and . + - _ alone"),
        ("--resume=never", "resume is never"),
        ("--weights=nowhere", "weights: nowhere: no such file"),
        ("--data.inner_folds=9", "expected at least 9 patients for 9 folds"),
    ],
)
def test_what_no_run_could_begin_with_is_told_once(bench: Bench, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        bench.run(finish, "--model.mode=decoder", override)
    assert [said in fault for fault in error.value.faults] == [True], error.value.faults


def test_names_are_made_unique_by_what_varies(bench: Bench, no_page: Any) -> None:
    assert list(bench.run(finish, "--name=x").states) == [
        "x_boundary-blob_seed-0", "x_boundary-blob_seed-1", "x_boundary-none_seed-0", "x_boundary-none_seed-1",
    ]  # fmt: skip


def test_two_combinations_with_one_name_are_refused(bench: Bench) -> None:
    change(bench.file, {"data.exclude": {"values": ["a b", "a-b"]}})
    with pytest.raises(ConfigError, match=r"two combinations have one name, none_0_exclude-a-b: data.exclude=a b, and"):
        bench.run(finish)


def test_a_folder_with_runs_of_other_settings_is_refused(bench: Bench, no_page: Any) -> None:
    bench.run(finish)
    with pytest.raises(ConfigError, match=r"holds a run with other settings \(optim.lr\); use another --out"):
        bench.run(finish, "--optim.lr=0.5")


def test_scans_that_are_gone_are_told_before_anything_starts(bench: Bench, tmp_path: Path) -> None:
    order = Order(bench.study, Machine(1, ()), data=tmp_path / "gone")
    with pytest.raises(ConfigError, match=r"gone: no such data set.*Name where it is now by --data"):
        run_study(read_sweep(str(bench.file)), order, print)


# ---------------------------------------------------------------- the real thing


def test_killed_in_the_middle_and_started_again_it_ends_with_the_same_page(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mets3d.reporting.page

    for drawn in (
        "case_pictures",
        "cohort_figures",
        "case_dots",
        "overlaid_curves",
    ):  # dear, and made of the maps and tables compared below
        monkeypatch.setattr(mets3d.reporting.page, drawn, lambda *_: None)
    whole, cut = Bench(sweep, tmp_path / "whole"), Bench(sweep, tmp_path / "cut")
    change(sweep, {"loss.boundary": {"values": ["blob", "none"]}, "seed": {"value": 0}})
    one_job = Machine(1, ())
    assert whole.run(really, machine=one_job).page is not None

    def killed(asked: work.Work, process: Pretended) -> int:
        if asked.run.endswith("blob_0"):
            return really(asked, process)
        assert train_words(asked.words) == 0
        back_to(RunDir(Path(asked.run)), 2)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(runner, "_end", lambda *_: None)  # nobody tidies up after SIGKILL
        cut.run(killed, machine=one_job)
    assert cut.states() == {"blob_0": "finished", "none_0": "running"}
    cut.begun.clear()
    result = cut.run(really, machine=one_job)
    assert [Path(one.work.run).name for one in cut.begun] == ["none_0"]
    assert "none_0 goes on" in cut.said
    assert result.page is not None
    for name in ("blob_0", "none_0"):
        for file in ("scores", "lesions", "cohort", "weights"):
            one, other = (getattr(bench.study.run(name), file).read_bytes() for bench in (whole, cut))
            assert one == other, (name, file)
        maps = [sorted(Path(bench.study.run(name).predictions).glob("*.nii.gz")) for bench in (whole, cut)]
        assert [len(files) for files in maps] == [2, 2]
        assert [file.read_bytes() for file in maps[0]] == [file.read_bytes() for file in maps[1]]
    assert shown(whole.study) == shown(cut.study)


def back_to(run: RunDir, step: int) -> None:
    """Leaves what a training killed after a checkpoint leaves."""
    import shutil

    shutil.rmtree(run.checkpoint(4))
    run.weights.unlink()
    environment = read_json(run.environment)
    del environment["exit_code"], environment["finished"]
    write_json(run.environment, environment)
    run.point("last", step)


def shown(study: StudyDir) -> str:
    """The page without what tells of time and place."""
    text = (study.report / "index.html").read_text(encoding="utf-8").replace(str(study.path), "")
    text = re.sub(r"Made by mets3d .*? on [^<.]*", "", text)
    text = re.sub(r'<tr><th scope="row">Time</th>.*?</tr>', "", text)
    text = re.sub(
        r"Seconds a step, median.*?</table>", lambda table: re.sub(r"\d+\.\d+", "", table[0]), text, flags=re.S
    )
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.+]+", "", text)
    return re.sub(r"[\d.,]+ (s|min|h|samples/s|seconds|minutes|hours)\b", "", text)


# ---------------------------------------------------------------- test cases


def test_finished_runs_are_scored_on_test_cases_once(
    bench: Bench, phantom_data: Path, tmp_path: Path, no_page: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    test = unseen(phantom_data, tmp_path / "test")

    def on_test(do: Begin, **choices: Any) -> Result:
        def begin(words: list[str], **settings: Any) -> Pretended:
            bench.begun.append(Pretended(do, words, **settings))
            return bench.begun[-1]

        order = Order(bench.study, Machine(1, ()))
        return run_on_test(read_sweep(str(bench.file)), order, test, bench.said.append, begin=begin, **choices)

    with pytest.raises(ValueError, match=r"4 of 4 runs are not finished, such as blob_0; run the sweep to its end"):
        on_test(scored)
    bench.run(finish)
    for name in NAMES:
        split = {"fold": 0, "folds": 3, "training": ["a"], "validation": ["b"], "patients": {"a": "A", "b": "B"}}
        write_json(bench.study.run(name).split, split)
    bench.begun.clear()

    def killed(asked: work.Work, process: Pretended) -> int:
        if "none" in asked.run:
            raise Killed
        return scored(asked, process)

    with pytest.raises(Killed):
        on_test(killed)
    result = on_test(scored)
    assert [Path(one.work.run).name for one in bench.begun] == ["blob_0", "blob_1", "none_0", "none_0", "none_1"]
    assert all(one.work.trained and one.work.data == str(test) for one in bench.begun)
    assert result.page == bench.study.path / "test_report" / "index.html"
    assert no_page[-1] == NAMES
    place = RunDir(bench.study.path / "test" / "none_1")
    assert read_json(place.split)["validation"] == ["BraTS-MET-90001-000", "BraTS-MET-90002-000"]
    assert place.config.read_bytes() == bench.study.run("none_1").config.read_bytes()
    [use] = read_json(bench.study.ledger)["uses"]
    assert (sorted(use["cases"]), sorted(use["runs"])) == (read_json(place.split)["validation"], NAMES)
    assert use["ended"] is not None
    with pytest.raises(UsedError):
        on_test(scored)
    assert on_test(scored, again=True).page is not None
    assert len(read_json(bench.study.ledger)["remarks"]) == 1
    assert len(bench.begun) == 5, "the same scores"

    shutil.rmtree(test / "BraTS-MET-90001-000")
    bench.begun.clear()
    on_test(scored, again=True)
    assert [Path(one.work.run).name for one in bench.begun] == NAMES, "other cases are scored anew"
    assert read_json(place.split)["validation"] == ["BraTS-MET-90002-000"]
    aside = bench.study.path / "test_1" / "none_1"
    assert len(read_json(RunDir(aside).split)["validation"]) == 2
    assert f"which lie in {aside.parent} now" in " ".join(bench.said)


def test_test_cases_that_a_run_has_seen_are_refused(
    bench: Bench, phantom_data: Path, tmp_path: Path, no_page: list[list[str]]
) -> None:
    bench.run(finish)
    test = unseen(phantom_data, tmp_path / "test")
    for patient in ("BraTS-MET-90002", "B"):
        split = {"training": ["a"], "validation": ["b"], "patients": {"a": patient, "b": patient}}
        if patient == "B":
            split["training"] = ["BraTS-MET-90002-000"]
        for name in NAMES:
            write_json(bench.study.run(name).split, split)
        with pytest.raises(ValueError, match=r"blob_0 was trained or validated on the patients of 1 test case, such"):
            run_on_test(read_sweep(str(bench.file)), Order(bench.study, Machine(1, ())), test, print)
    assert not bench.study.ledger.exists(), "nothing was used"


def scored(asked: work.Work, _process: Pretended) -> int:
    assert asked.test is not None
    (Path(asked.test) / "scores.csv").write_text("case\n", encoding="utf-8")
    return 0


def unseen(data: Path, folder: Path) -> Path:
    for name in ("BraTS-MET-90001-000", "BraTS-MET-90002-000"):
        shutil.copytree(data / name, folder / name)
    return folder
