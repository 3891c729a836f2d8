"""Files that are whole or absent, and a run directory that is one."""

import json
from pathlib import Path

import pytest

from mets3d.config import Config, to_yaml
from mets3d.files import read_json, replacing, write_json, write_text
from mets3d.rundir import RunDir, open_run


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"kept": 1})
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(target) == {"kept": 1}
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for content in ("old", "new"):
        with replacing(target) as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert [file.name for file in target.iterdir()] == ["new"]
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.mkdir()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_name_keeps_the_suffixes(tmp_path: Path) -> None:
    # nibabel and others choose the format by the name's end.
    with replacing(tmp_path / "a.nii.gz") as temporary:
        assert temporary.name.endswith("a.nii.gz")
        temporary.write_text("x")


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
