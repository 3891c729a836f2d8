"""The local copy of a store: equal, made once, whole or absent."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from mets3d.data import DataError
from mets3d.data.store import open_store
from mets3d.data.store_cache import local_copy


def files(folder: Path) -> dict[str, bytes]:
    """What a training reads: all but the records of cases, which are for preprocessing."""
    found = [file for file in folder.rglob("*") if file.is_file() and file.parent.name != "records"]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in found}


def test_the_copy_is_the_store_and_is_made_once(
    phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = local_copy(phantom_store, tmp_path / "cache")
    assert copy.parent == tmp_path / "cache"
    assert files(copy) == files(phantom_store)
    assert open_store(copy).digest == open_store(phantom_store).digest
    monkeypatch.setattr(shutil, "copy2", lambda *_: pytest.fail("copied again"))
    assert local_copy(phantom_store, tmp_path / "cache") == copy


def test_an_interrupted_copy_is_no_store_and_goes_on(
    phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[Path] = []

    def stopping(source: Path, target: Path, copy2: object = shutil.copy2) -> None:
        if len(copied) == 3:
            raise KeyboardInterrupt
        copied.append(source)
        copy2(source, target)  # type: ignore[operator]

    monkeypatch.setattr(shutil, "copy2", stopping)
    with pytest.raises(KeyboardInterrupt):
        local_copy(phantom_store, tmp_path / "cache")
    (half,) = (tmp_path / "cache").iterdir()
    with pytest.raises(FileNotFoundError):
        open_store(half)
    assert len(files(half)) == 3
    assert not list(half.rglob("*.tmp.*"))
    copied.clear()
    monkeypatch.undo()
    assert files(local_copy(phantom_store, tmp_path / "cache")) == files(phantom_store)


def test_a_changed_store_gets_a_copy_of_its_own(phantom_store: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(phantom_store, store)
    first = local_copy(store, tmp_path / "cache")
    index = store / "store.json"
    index.write_text(index.read_text().replace('"margin_voxels": 0', '"margin_voxels": 1'))
    second = local_copy(store, tmp_path / "cache")
    assert first != second
    assert files(second) == files(store)


def test_a_disk_without_room_is_named_before_anything_is_copied(
    phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(DataError, match=r"cache: expected 0\.\d+ GB free .* found 0\.00; .*data\.cache"):
        local_copy(phantom_store, tmp_path / "cache")
    assert files(tmp_path / "cache") == {}
