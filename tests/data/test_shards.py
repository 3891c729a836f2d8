"""Cases shared over calls that work on one store at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from mets3d.__main__ import main
from mets3d.config import Data, Preprocess
from mets3d.data import storing
from mets3d.data.preprocess import preprocess
from mets3d.data.shards import Shard, read_shard
from mets3d.data.store import open_store
from tests.builders.cases import make_case

SETTINGS = Preprocess(spacing_mm=(1.0, 1.0, 1.0))
NAMES = [f"P-{number:03}" for number in range(5)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in NAMES:
        make_case(tmp_path / "data", name)
    return tmp_path / "data"


@pytest.mark.parametrize("text", ["0/4", "5/4", "a/b", "1/0", "0/0", "-1/4", "1", "1/4/2", "", "1 / 4", "1.0/4", "²/4"])
def test_other_texts_are_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="expected a shard such as 1/4"):
        read_shard(text)
    with pytest.raises(SystemExit) as ended:
        main(["preprocess", "data", "store", f"--shard={text}"])
    assert ended.value.code == 2
    assert "expected a shard such as 1/4" in capsys.readouterr().err


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_share_every_case_once(count: int) -> None:
    numbers = list(range(5))
    shares = [Shard(number, count).of(numbers) for number in range(1, count + 1)]
    assert sorted(number for share in shares for number in share) == numbers
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_the_last_shard_finishes_the_store(data: Path, tmp_path: Path, order: tuple[int, ...]) -> None:
    store, whole = tmp_path / "store", tmp_path / "whole"
    for number in order[:-1]:
        result = preprocess(data, store, SETTINGS, data=Data(), shard=Shard(number, 3))
        assert result.waiting
        with pytest.raises(FileNotFoundError, match="not finished"):
            open_store(store)
    assert preprocess(data, store, SETTINGS, data=Data(), shard=Shard(order[-1], 3)).waiting == []
    preprocess(data, whole, SETTINGS, data=Data())
    assert open_store(store).digest == open_store(whole).digest
    assert open_store(store).cases == NAMES


def test_a_call_without_shard_makes_what_is_missing_and_finishes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    words = ["preprocess", str(data), str(store), "--preprocess.spacing_mm=[1, 1, 1]"]
    assert main([*words, "--shard", "2/2"]) == 0
    said = capsys.readouterr().out
    assert "2 of 5 cases are done, 3 are still to come (P-000, P-002, P-004)" in said
    assert "finished by the last shard, or by this command without --shard" in said
    made = []
    original = storing.read_case
    monkeypatch.setattr(storing, "read_case", lambda case, *how: made.append(case.name) or original(case, *how))
    assert main(words) == 0
    assert made == ["P-000", "P-002", "P-004"]
    assert f"store of 5 cases in {store}" in capsys.readouterr().out


def test_a_bad_case_in_one_shard_keeps_no_other_from_finishing(data: Path, tmp_path: Path) -> None:
    make_case(data, "P-001", volumes={"t1c": None})
    (data / "P-001" / "P-001-t1c.nii.gz").unlink()
    store = tmp_path / "store"
    first = preprocess(data, store, SETTINGS, data=Data(), on_error="skip", shard=Shard(2, 2))
    assert list(first.not_usable) == ["P-001"]
    last = preprocess(data, store, SETTINGS, data=Data(), on_error="skip", shard=Shard(1, 2))
    assert (list(last.not_usable), last.waiting) == (["P-001"], [])
    assert open_store(store).cases == ["P-000", "P-002", "P-003", "P-004"]


def test_a_second_call_at_the_same_time_does_no_harm(data: Path, tmp_path: Path) -> None:
    store, begun = tmp_path / "store", []

    def meanwhile(done: int, total: int, name: str) -> None:
        if not begun:
            begun.append(name)
            preprocess(data, store, SETTINGS, data=Data())

    assert preprocess(data, store, SETTINGS, data=Data(), progress=meanwhile).cases == NAMES
    preprocess(data, tmp_path / "whole", SETTINGS, data=Data())
    assert open_store(store).digest == open_store(tmp_path / "whole").digest
    assert not (store / "building.json").exists()
