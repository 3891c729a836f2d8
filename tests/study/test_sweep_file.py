"""Sweep files: what is wrong with one is said at once, and each that comes with mets3d can be run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from mets3d.config import ConfigError, load
from mets3d.config.keys import settings
from mets3d.settings.loss import BoundaryName
from mets3d.study.combinations import as_arguments
from mets3d.study.command import training_words
from mets3d.study.folder import StudyDir
from mets3d.study.plan import combinations, named, planned
from mets3d.study.sweep_file import Hyperband, Metric, Sweep, read_sweep, sweep_names
from tests.builders.runs import ROOT

GOOD: dict[str, Any] = {"program": "train.py", "method": "grid", "parameters": {"seed": {"values": [0, 1]}}}


def written(folder: Path, content: Any) -> str:
    file = folder / "sweep.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return str(file)


def faults(folder: Path, **changes: Any) -> list[str]:
    with pytest.raises(ConfigError) as error:
        read_sweep(written(folder, {**GOOD, **changes}))
    return error.value.faults


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "gird"}, "method: expected grid, random or bayes, found 'gird'"),
        ({"method": "random"}, "run_cap: method random goes on without end; say how many runs"),
        ({"run_cap": 0}, "run_cap: expected a whole number from 1, found 0"),
        ({"run_cap": True}, "run_cap: expected a whole number from 1, found True"),
        ({"parameters": {}}, "parameters: expected a mapping of names to values, found {}"),
        ({"parameters": {"seed": {"min": 0.0, "max": 1.0}}}, "seed: distribution uniform has no grid"),
        ({"paramters": {}}, "paramters: unknown key of a sweep; did you mean parameters?"),
        ({"method": "bayes", "run_cap": 3}, "metric: expected name: and goal:, by which runs are chosen, found none"),
        ({"metric": {"name": "dice"}}, "metric: expected a name such as validation/lesion_wise_dice/mean"),
        ({"metric": {"name": "validation/dice/mean", "goal": "max"}}, "goal: expected minimize or maximize"),
        ({"early_terminate": {"type": "envelope"}, "metric": {"name": "a/b"}}, "expected type: hyperband"),
        (
            {"early_terminate": {"type": "hyperband"}, "metric": {"name": "a/b"}},
            "expected min_iter:, or max_iter: and s",
        ),
        ({"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 1}, "metric": {"name": "a/b"}}, "eta: 1"),
    ],
)
def test_a_fault_names_the_file_and_the_key(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    [line] = faults(tmp_path, **changes)
    assert said in line
    assert line.startswith(str(tmp_path / "sweep.yaml"))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    tree = {"seed": {"vlaue": 1}, "data.fold": {"values": []}}
    assert len(faults(tmp_path, method="grit", parameters=tree, program="x.py")) == 4


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "- x"])
def test_a_file_that_is_no_sweep_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected a mapping|cannot be read as YAML"):
        read_sweep(written(tmp_path, text))


def test_a_file_or_a_name_that_is_not_there_is_told_with_the_names(tmp_path: Path) -> None:
    for word in (str(tmp_path / "x.yaml"), "smok"):
        with pytest.raises(FileNotFoundError, match=r"expected a file or one of .*smoke"):
            read_sweep(word)


def test_hyperband_by_its_last_iteration_is_by_its_first(tmp_path: Path) -> None:
    early = {"type": "hyperband", "max_iter": 27, "s": 2}
    sweep = read_sweep(written(tmp_path, GOOD | {"early_terminate": early, "metric": {"name": "validation/dice/mean"}}))
    assert sweep.early == Hyperband(3, 3)
    assert sweep.metric == Metric("validation/dice/mean", maximise=False)
    assert (sweep.metric.kind, sweep.metric.column) == ("validation", "dice/mean")


# ---------------------------------------------------------------- the files that come with mets3d


@pytest.fixture(params=sweep_names())
def shipped(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    monkeypatch.chdir(ROOT)
    return read_sweep(request.param)


def test_there_is_one_for_each_question() -> None:
    assert {"loss_variants", "weights", "hausdorff", "modes", "smoke", "tuning"} <= set(sweep_names())


def test_every_combination_is_a_configuration_that_can_be_built_and_has_a_name_of_its_own(shipped: Sweep) -> None:
    from mets3d.study.buildable import _loss_faults, _network_faults

    runs = [planned(shipped, values, ()) for values in combinations(shipped)]
    for run in runs:
        data, model = run.config.data.model_dump_json(), run.config.model.model_dump_json()
        assert _network_faults(data, model) == []
        assert _loss_faults(data, model, run.config.loss.model_dump_json()) == []
    names = [run.name for run in runs]
    assert len(set(names)) == len(names)
    assert named(runs, shipped.parameters) == runs, "the command alone gives each run its folder, as an agent needs it"


def test_keys_are_settings_and_the_launcher_passes_signals_on(shipped: Sweep) -> None:
    assert {parameter.key for parameter in shipped.parameters} <= settings()
    assert all(len(parameter.path) == 1 for parameter in shipped.parameters), "flat keys"
    command = shipped.command
    assert command[:4] == ("${env}", "${interpreter}", "-m", "mets3d.launch")
    assert command[-1] == "${args}"
    assert (ROOT / command[command.index("--config_file") + 1]).is_file()
    values = combinations(shipped)[0]
    words = training_words(command, as_arguments(shipped.parameters, values))
    assert load(words) == planned(shipped, values, ()).config


def test_every_term_of_the_loss_is_in_the_question_and_has_its_weight_looked_for() -> None:
    for name, terms in (("loss_variants", {"none", *get_args(BoundaryName)}), ("weights", {*get_args(BoundaryName)})):
        parameters = {parameter.key: parameter for parameter in read_sweep(name).parameters}
        assert sorted(parameters["loss.boundary"].grid()) == sorted(terms), "each once"
        assert parameters["loss.boundary_schedule"].grid() == ["gradient"]


def test_settings_are_chosen_on_an_inner_split() -> None:
    for name in ("weights", "hausdorff", "hausdorff_conditioned", "tuning"):
        assert "data.inner_folds" in {parameter.key for parameter in read_sweep(name).parameters}


def test_the_smoke_sweep_has_six_runs_on_a_cpu() -> None:
    sweep = read_sweep("smoke")
    assert len(combinations(sweep)) == 6
    assert "accelerate_configs/cpu.yaml" in sweep.command


def test_paths_of_a_study_hold_any_name_of_a_run(tmp_path: Path) -> None:
    study = StudyDir(tmp_path)
    assert study.run("a/b").path == tmp_path / "runs" / "a" / "b"
    assert study.log("a/b").parent == tmp_path / "logs"
    assert len({study.log(name) for name in ("a/b", "a%2Fb", "a%252Fb")}) == 3
