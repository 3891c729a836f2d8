"""The launch files of deploy/: each is read, and the commands that it would run are put before the real command lines.

The schedulers themselves are stand-ins that say their words.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelerate.commands.launch import launch_command_parser

from mets3d.__main__ import parser_of, verb_table
from mets3d.config import load
from tests.builders.runs import ROOT

DEPLOY = ROOT / "deploy"
SLURM = {
    "SLURM_ARRAY_JOB_ID": "70",
    "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_ARRAY_TASK_COUNT": "8",
    "SLURM_JOB_ID": "71",
    "SLURM_JOB_NODELIST": "node[7-8]",
    "SLURM_NNODES": "2",
    "SLURM_NODEID": "1",
    "SLURM_GPUS_ON_NODE": "4",
    "SLURM_CPUS_PER_TASK": "10",
}
# `#SBATCH` options as sbatch's manual has them, of those that are used here.
SBATCH = {
    "array", "cpus-per-task", "gpus-per-node", "job-name", "mem", "nodes", "ntasks", "ntasks-per-node", "open-mode",
    "output", "requeue", "signal", "time",
}  # fmt: skip

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


def run_with_stand_ins(folder: Path, script: str | Path, *words: str, code: int = 0, **more: str) -> list[list[str]]:
    """Runs a script with stand-ins in place of what it starts; returns the words that each was started with."""
    said = folder / "said"
    programs = {
        "srun": '[[ "$1" == --cpus-per-task=10 ]] || exit 99; while [[ "$1" == --* ]]; do shift; done\n"$@"',
        "scontrol": 'if [ "$1" = show ]; then printf "node7\\nnode8\\n"; fi',
        "mets3d": f"exit {code}",
        "python": f"exit {code}",
    }
    for name, body in programs.items():
        program = folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/bash\nprintf "%q " {name} "$@" >> {said}; echo >> {said}\n{body}\n')
        program.chmod(0o755)
    environment = {**os.environ, **SLURM, **more, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    command = ["bash", "-c", script, "run"] if isinstance(script, str) else ["bash", str(script)]
    done = subprocess.run([*command, *words], env=environment, cwd=ROOT, timeout=30, check=False)
    assert done.returncode == (code if "requeue" not in said.read_text() else 0)
    return [shlex.split(line) for line in said.read_text().splitlines()]


def launched(words: list[str]) -> tuple[Any, list[str]]:
    """Returns how Accelerate's launcher reads `python -m mets3d.launch` and the words of train.py."""
    assert words[:3] == ["python", "-m", "mets3d.launch"]
    options = launch_command_parser().parse_args(words[3:])
    assert options.training_script == "train.py"
    return options, options.training_script_args


@pytest.mark.parametrize(("code", "again"), [(0, False), (1, False), (143, False), (138, True)])
def test_a_fold_of_the_array_trains_and_is_queued_again_when_its_time_is_up(
    tmp_path: Path, code: int, again: bool
) -> None:
    said = run_with_stand_ins(
        tmp_path, DEPLOY / "slurm" / "folds.sbatch", "--config", "brats_mets", "--data.store=stores/x", code=code
    )
    (words,) = (line[1:] for line in said if line[0] == "mets3d")
    options = parser_of(verb_table()).parse_args(words)
    config = load(["--config", *options.config, *options.overrides])
    assert (config.data.fold, config.name, config.data.store) == (3, "fold3", "stores/x")
    assert (["scontrol", "requeue", "70_3"] in said) is again


def test_a_shard_of_a_sweep(tmp_path: Path) -> None:
    said = run_with_stand_ins(
        tmp_path, DEPLOY / "slurm" / "sweep.sbatch", "loss_variants", "--out=studies/losses", code=138
    )
    (words,) = (line[1:] for line in said if line[0] == "mets3d")
    options = parser_of(verb_table()).parse_args(words)
    assert (options.verb, options.shard.number, options.shard.count) == ("sweep", 3, 8)
    assert said[-1] == ["scontrol", "requeue", "70_3"]


@pytest.mark.parametrize("where", ["slurm", "two hosts"])
def test_a_node_of_several(tmp_path: Path, where: str) -> None:
    train = ["--config", "configs/brats_mets.yaml", "--data.store=stores/x"]
    if where == "slurm":
        said = run_with_stand_ins(tmp_path, DEPLOY / "slurm" / "nodes.sbatch", *train)
    else:
        said = run_with_stand_ins(tmp_path, DEPLOY / "two_hosts.sh", "1", "node7", *train, GPUS="4")
    options, words = launched(next(line for line in said if line[0] == "python"))
    assert (options.num_machines, options.machine_rank, options.num_processes) == (2, 1, 8)
    assert options.main_process_ip == "node7"
    assert 1024 < options.main_process_port < 65536
    assert options.config_file == "multi_node"
    assert load(words).data.store == "stores/x"


def test_two_hosts_without_words_say_how() -> None:
    done = subprocess.run([str(DEPLOY / "two_hosts.sh")], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert "GPUS=4 deploy/two_hosts.sh 0 10.0.0.1" in done.stderr


@pytest.mark.parametrize("file", sorted((DEPLOY / "slurm").glob("*.sbatch")), ids=lambda file: file.stem)
def test_what_is_asked_of_slurm_exists_and_a_signal_leaves_time(file: Path) -> None:
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", file.read_text(encoding="utf-8"), re.M))
    assert set(asked) <= SBATCH
    assert asked["signal"] == "USR1@600"
    assert "requeue" in asked
    assert asked["open-mode"] == "append", "what was said before the job was queued again"


def test_the_kubernetes_job_runs_train_py_with_words_that_it_takes() -> None:
    runtime, job = yaml.safe_load_all((DEPLOY / "trainjob.yaml").read_text(encoding="utf-8"))
    assert {each["apiVersion"] for each in (runtime, job)} == {"trainer.kubeflow.org/v1alpha1"}
    assert job["spec"]["runtimeRef"] == {"kind": runtime["kind"], "name": runtime["metadata"]["name"]}
    trainer = job["spec"]["trainer"]
    assert trainer["command"] == ["tini", "--", "python", "-m", "torch.distributed.run"], (
        "by the Python that has mets3d"
    )
    script, *words = trainer["args"]
    assert script == "/app/train.py", "where the Dockerfile puts it"
    config = load(words)
    assert (config.data.store, config.output, config.precision) == ("/data/stores/brats_mets", "/runs", "bf16")
    (node,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    pod = node["template"]["spec"]["template"]["spec"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert node["name"] == pod["containers"][0]["name"] == "node", "the names by which Trainer finds them"
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 10001
    assert set(mounts) == volumes
    assert set(mounts.values()) == {"/data", "/runs", "/dev/shm"}


def test_the_cloud_s_nodes_meet_at_the_first(tmp_path: Path) -> None:
    job = yaml.safe_load((DEPLOY / "skypilot.yaml").read_text(encoding="utf-8"))
    assert job["num_nodes"] == 2
    nodes = {
        "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
        "SKYPILOT_NODE_RANK": "1",
        "SKYPILOT_NUM_NODES": "2",
        "SKYPILOT_NUM_GPUS_PER_NODE": "4",
        "HOME": str(tmp_path),
    }
    said = run_with_stand_ins(tmp_path, job["run"], **nodes, **job["envs"])
    options, words = launched(said[-1])
    assert (options.num_processes, options.machine_rank, options.main_process_ip) == (8, 1, "10.0.0.1")
    config = load(words)
    assert config.output in job["file_mounts"]
    assert str(Path(config.data.store).parent) in job["file_mounts"]
