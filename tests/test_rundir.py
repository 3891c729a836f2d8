"""A run directory, and that its file names are written down in one place."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mets3d import rundir
from mets3d.config import Config, to_yaml
from mets3d.files import write_json, write_text
from mets3d.rundir import ExportDir, Inside, PredictionsDir, RunDir, open_run
from tests.builders.runs import ROOT


def test_open_run_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such run directory"):
        open_run(tmp_path / "nowhere")
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(FileNotFoundError, match=r"config\.yaml, plan\.json missing \(found thesis\.txt\)"):
        open_run(tmp_path)
    write_text(tmp_path / "config.yaml", "seed: none of your business\n")
    write_json(tmp_path / "plan.json", {})
    with pytest.raises(FileNotFoundError, match="not a configuration of this version: seed"):
        open_run(tmp_path)
    write_text(tmp_path / "config.yaml", to_yaml(Config()))
    assert open_run(tmp_path).load_config() == Config()


def test_metrics_made_twice_count_once(tmp_path: Path) -> None:
    rows = [(1, "train", 5.0), (2, "train", 4.0), (2, "validation", 1.0), (2, "train", 3.0)]
    run = RunDir(tmp_path)
    lines = [json.dumps({"step": s, "kind": k, "loss": v}) + "\n" for s, k, v in rows]
    run.metrics.write_text("".join(lines) + '{"step": 3, "ki')  # the last one is being written
    assert [(row["step"], row["kind"], row["loss"]) for row in run.read_metrics()] == [
        (1, "train", 5.0),
        (2, "train", 3.0),
        (2, "validation", 1.0),
    ]


def test_pointers_and_steps(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert run.pointer("last") is None
    for step in (10, 2):
        run.checkpoint(step).mkdir(parents=True)
    run.point("last", 10)
    assert run.checkpoint_steps() == [2, 10]
    assert run.pointer("last") == 10


def test_predictions_lie_where_their_folder_says(tmp_path: Path) -> None:
    folder = PredictionsDir(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in (*folder.files_of("A"), folder.record("A"), folder.note)]
    assert found == [
        *("A.nii.gz", "uncertainty/A.nii.gz", "lesions/A.csv", "probabilities/A.nii.gz"),
        *("records/A.json", "predict.json"),
    ]
    for name in ("A.nii.gz", ".123.tmp.B.nii.gz", "C.csv"):
        (tmp_path / name).touch()
    assert rundir.mapped_cases(tmp_path) == {"A"}
    assert rundir.mapped_cases(tmp_path / "nowhere") == set()


def test_an_exported_folder_is_a_run_directory() -> None:
    assert ExportDir(Path("out")).weights == RunDir(Path("out")).weights
    assert ExportDir.needed_names() == ["config.yaml", "plan.json", "model.safetensors", "decoding.json"]


# ---------------------------------------------------------------- names in one place

KINDS = [kind for kind in vars(rundir).values() if isinstance(kind, type) and kind.__module__ == "mets3d.rundir"]
NAMES = {
    part
    for kind in KINDS
    for entry in vars(kind).values()
    if isinstance(entry, Inside)
    for part in (entry.name, entry.name.rpartition("/")[2])
    if "." in part
}


def literals(tree: ast.AST) -> Iterator[str]:
    """Texts of a program that are no docstring and no part of a longer message."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not re.search(r"\s", node.value):
            yield node.value


def named_arguments(tree: ast.AST) -> set[str]:
    """What the command line calls its arguments: `metavar` of a parser."""
    return {
        keyword.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "metavar" and isinstance(keyword.value, ast.Constant)
    }


def test_the_names_to_look_for() -> None:
    assert {"scores.csv", "predict.json", "model.onnx", "decoding.json", "config.yaml", "plan.json"} < NAMES
    assert {"index.html", "README.md", "progress.json", "model.safetensors", "metrics.jsonl", "cohort.csv"} < NAMES


@pytest.mark.parametrize("file", sorted((ROOT / "mets3d").rglob("*.py")), ids=lambda file: str(file.relative_to(ROOT)))
def test_file_names_of_a_run_are_in_rundir_alone(file: Path) -> None:
    if file.name == "rundir.py":
        return
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = set(literals(tree)) - named_arguments(tree)
    assert not found & NAMES, f"{file}: take them from mets3d.rundir"
