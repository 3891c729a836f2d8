"""Kinds of damage to a checkpoint, each a function of its folder and of the text by which it must be named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mets3d.files import read_json
from mets3d.rundir import CheckpointDir, RunDir
from mets3d.training.manifest import write_manifest

FILES = ("model.safetensors", "optimizer.bin", "progress.json", "manifest.json")


def _remove(file: Path) -> None:
    file.unlink()


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def _zero(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def _flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 1
    file.write_bytes(content)


def _grow(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"!")


def _make_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _link_to_nothing(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.with_name("nowhere"))


def _take_from_the_one_before(file: Path) -> None:
    before = sorted(file.parent.parent.glob("step_*"))[-2]
    shutil.copyfile(before / file.name, file)


OF_A_FILE = {
    "missing": _remove, "empty": _empty, "truncated": _truncate, "zeros": _zero, "a bit flipped": _flip_a_bit,
    "grown": _grow, "a folder": _make_a_folder, "a dangling link": _link_to_nothing,
    "of another checkpoint": _take_from_the_one_before,
}  # fmt: skip


def _manifest(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = CheckpointDir(folder).manifest
        content = read_json(file)
        changed = change(content)
        Path(file).write_text(json.dumps(content if changed is None else changed), encoding="utf-8")

    return damage


def _progress(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """A wrong progress.json that agrees with the manifest, as a faulty program would write it."""

    def damage(folder: Path) -> None:
        file = CheckpointDir(folder).progress
        content = read_json(file)
        changed = change(content)
        Path(file).write_text(json.dumps(content if changed is None else changed), encoding="utf-8")
        CheckpointDir(folder).manifest.unlink()
        write_manifest(folder)

    return damage


def _entry(**values: Any) -> Callable[[Path], None]:
    return _manifest(lambda content: content["files"]["optimizer.bin"].update(values))


def _as_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("not a folder", encoding="utf-8")


def _without_content(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _copy_of_the_one_before(folder: Path) -> None:
    before = sorted(folder.parent.glob("step_*"))[-2]
    shutil.rmtree(folder)
    shutil.copytree(before, folder)


def _without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda content: {name: value for name, value in content.items() if name != key}


def _listing_no_weights(content: dict[str, Any]) -> None:
    del content["files"]["model.safetensors"]


def _listed_elsewhere(content: dict[str, Any]) -> None:
    content["files"]["../last"] = content["files"].pop("optimizer.bin")


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    **{
        f"{name}: {what}": (lambda folder, name=name, change=change: change(folder / name), name)  # type: ignore[misc]
        for name in FILES
        for what, change in OF_A_FILE.items()
    },
    "manifest.json: of another checkpoint": (
        lambda folder: _take_from_the_one_before(folder / "manifest.json"),
        "has other content than was written",
    ),
    "the manifest is no object": (_manifest(lambda content: [content]), "manifest.json"),
    "the manifest is of another version": (_manifest(lambda content: content.update(format=2)), "format 2"),
    "the manifest's version is text": (_manifest(lambda content: content.update(format="1")), "format"),
    "the manifest lists no files": (_manifest(_without("files")), "files missing"),
    "the manifest's files are a list": (_manifest(lambda content: content.update(files=[])), "files"),
    "the manifest lists no weights": (
        _manifest(_listing_no_weights),
        "lists no model.safetensors",
    ),
    "the manifest names a file elsewhere": (_manifest(_listed_elsewhere), "../last"),
    "a size that is text": (_entry(bytes="1"), "optimizer.bin"),
    "a size below zero": (_entry(bytes=-1), "optimizer.bin"),
    "a hash that is null": (_entry(sha256=None), "optimizer.bin"),
    "a hash of another length": (_entry(sha256="ab"), "optimizer.bin"),
    "progress.json is no object": (_progress(lambda content: [content]), "progress.json"),
    "progress.json lacks the step": (_progress(_without("step")), "step missing"),
    "progress.json's step is text": (_progress(lambda content: content.update(step="3")), "step"),
    "progress.json's score is a list": (_progress(lambda content: content.update(best=[0.5])), "best"),
    "progress.json's averages are text": (_progress(lambda content: content.update(balance="x")), "balance"),
    "the folder is a file": (_as_a_file, "expected a folder"),
    "the folder is empty": (_without_content, "manifest.json is missing"),
    "the folder is a copy of another one": (_copy_of_the_one_before, "copy of the checkpoint of step"),
}


def damage_table(store: Path, folder: Path) -> int:
    """Prints a line for each kind: the training goes on from the checkpoint before; 1 if one ends otherwise."""
    from tests.faults.kills import STEPS, attempt, configuration, copied, differences, fingerprint

    # The last step has a rate above 0, so that its weights are not those of the step before.
    words = ("--train.checkpoint_every=1", "--train.keep_checkpoints=9", "--validate.every=1", "--optim.min_lr=0.001")
    config, runs, bad = configuration(folder, store), folder / "runs", 0
    code, text = attempt(config, runs, "run", words)
    assert code == 0, text
    expected = fingerprint(runs / "run")
    for kind, (damage, _named) in KINDS.items():
        place = copied(runs, folder / "damaged")
        damage(RunDir(place / "run").checkpoint(STEPS))
        code, text = attempt(config, place, "run", words)
        said = next((line for line in text.splitlines() if "is damaged: " in line), "")
        lost = differences(expected, fingerprint(place / "run")) if code == 0 else [f"exit code {code}: {text[-300:]}"]
        lost += [] if said else ["nothing was said"]
        bad += bool(lost)
        shown = said.partition("is damaged: ")[2].partition(";")[0]
        print(f"{kind:45} {shown:70} {'; '.join(lost) or 'nothing lost'}", flush=True)
    print(f"{len(KINDS)} kinds, {bad} lost something")
    return int(bad > 0)
