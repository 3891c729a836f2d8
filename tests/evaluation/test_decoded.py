"""How a prediction was decoded is known by its record, by a note of an earlier version, or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from mets3d.evaluation.decoded import recorded_decodings
from mets3d.files import write_json

NAME = "P-001-000"


def predicted(folder: Path, record: dict[str, Any] | None, note: dict[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / f"{NAME}.nii.gz").write_bytes(b"12345")
    if record is not None:
        write_json(folder / "records" / f"{NAME}.json", {"recipe": "r", "files": {f"{NAME}.nii.gz": 5}} | record)
    if note is not None:
        write_json(folder / "predict.json", {"recipe": "r"} | note)
    return folder


def test_the_record_says_it(tmp_path: Path) -> None:
    told = {"decoding": "tuned out-of-fold", "decoding_rules": "brats2026"}
    folder = predicted(tmp_path / "a", told, {"decoding_from": "default", "threshold": 0.5})
    assert recorded_decodings(folder, [NAME, "P-002-000"]) == {NAME: told}
    folder = predicted(tmp_path / "b", {"decoding": "default", "decoding_rules": ""})
    assert recorded_decodings(folder, [NAME]) == {NAME: {"decoding": "default"}}


@pytest.mark.parametrize(
    ("note", "expected"),
    [
        ({"decoding_from": "default", "threshold": 0.5}, "default"),
        ({"decoding_from": "default", "threshold": 0.4}, "threshold 0.4"),
        ({"decoding_from": "/runs/a/decoding.json", "threshold": 0.5}, "tuned (perhaps on this case)"),
    ],
)
def test_a_record_of_an_earlier_version_goes_with_the_note(tmp_path: Path, note: dict[str, Any], expected: str) -> None:
    assert recorded_decodings(predicted(tmp_path / "a", {}, note), [NAME]) == {NAME: {"decoding": expected}}
    assert recorded_decodings(predicted(tmp_path / "b", {"recipe": "other"}, note), [NAME]) == {}
    assert recorded_decodings(predicted(tmp_path / "c", None, note), [NAME]) == {}


def test_a_label_map_that_came_later_is_not_what_the_record_tells_of(tmp_path: Path) -> None:
    told = {"decoding": "default", "label_map_sha256": hashlib.sha256(b"12345").hexdigest()}
    folder = predicted(tmp_path / "a", told)
    assert recorded_decodings(folder, [NAME]) == {NAME: {"decoding": "default"}}
    for content in (b"other", b"longer one"):
        (folder / f"{NAME}.nii.gz").write_bytes(content)
        assert recorded_decodings(folder, [NAME]) == {}


def test_a_record_without_the_content_goes_by_the_size(tmp_path: Path) -> None:
    folder = predicted(tmp_path / "a", {"decoding": "default"})
    (folder / f"{NAME}.nii.gz").write_bytes(b"other")
    assert recorded_decodings(folder, [NAME]), "of the same length it cannot be told apart"
    (folder / f"{NAME}.nii.gz").write_bytes(b"longer one")
    assert recorded_decodings(folder, [NAME]) == {}


@pytest.mark.parametrize("text", ["{", "[]", '{"files": 3}', '{"decoding": 3, "files": {"P-001-000.nii.gz": 5}}'])
def test_a_broken_record_tells_nothing(tmp_path: Path, text: str) -> None:
    folder = predicted(tmp_path / "a", {"decoding": "default"})
    (folder / "records" / f"{NAME}.json").write_text(text)
    assert recorded_decodings(folder, [NAME]) == {}
