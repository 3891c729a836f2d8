"""Folds of patients, alike in cases and burden; splits from a file, and what is refused."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mets3d.config import Data, Preprocess
from mets3d.data import DataError
from mets3d.data.folds import Burden, as_entries, make_folds, split_of
from mets3d.data.folds_file import read_split
from mets3d.data.patients import patients_of
from mets3d.data.preprocess import preprocess
from mets3d.data.store import open_store
from tests.builders.cases import make_case

NAMES = [f"P-{number:05d}-{time:03d}" for number in range(23) for time in range(1 + number % 4)]
PATIENTS = patients_of(NAMES)


def burdens(patients: dict[str, str], seed: int = 0) -> dict[str, Burden]:
    """Lesions and volumes as they are: most cases have few and small ones, some many and large ones."""
    rng = np.random.default_rng(seed)
    return {name: (int(rng.geometric(0.12)), float(rng.lognormal(6, 1.5))) for name in patients}


def test_folds_part_the_cases_and_never_a_patient() -> None:
    folds = make_folds(PATIENTS, 5, 12345, burdens(PATIENTS))
    assert sorted(name for fold in folds for name in fold) == sorted(NAMES)
    homes = [{PATIENTS[name] for name in fold} for fold in folds]
    assert sum(map(len, homes)) == len(set(PATIENTS.values()))
    assert max(map(len, folds)) - min(map(len, folds)) <= 1


@pytest.mark.parametrize("amount", [41, 100])
def test_folds_are_alike_in_burden(amount: int) -> None:
    patients = {f"M-{number:03d}": f"M-{number:03d}" for number in range(amount)}
    burden = burdens(patients)
    for of in (0, 1):
        total = sum(values[of] for values in burden.values())
        worst = []
        for seed in range(5):
            balanced, plain = make_folds(patients, 5, seed, burden), make_folds(patients, 5, seed)
            shares = [
                [5 * sum(burden[name][of] for name in fold) / total for fold in folds] for folds in (balanced, plain)
            ]
            worst.append([max(share) - min(share) for share in shares])
            assert max(map(len, balanced)) - min(map(len, balanced)) <= 1
        found, without = np.mean(worst, axis=0)
        assert found < 0.5 * without


def test_folds_depend_on_names_burdens_and_seed_alone() -> None:
    burden = burdens(PATIENTS)
    shuffled = random.Random(1).sample(NAMES, len(NAMES))
    again = make_folds({name: PATIENTS[name] for name in shuffled}, 5, 1, dict(reversed(burden.items())))
    assert again == make_folds(PATIENTS, 5, 1, burden)
    assert make_folds(PATIENTS, 5, 2, burden) != make_folds(PATIENTS, 5, 1, burden)
    alone = patients_of(["P-1", "P-2", "P-3"])
    assert make_folds(alone, 3, 0) == [["P-3"], ["P-2"], ["P-1"]]  # must never change: runs rely on it
    # The patients with two lesions come first, in the order of their hashes; then the third goes where least is.
    assert make_folds(alone, 2, 0, {"P-1": (2, 5.0), "P-2": (2, 5.0), "P-3": (1, 1.0)}) == [["P-2", "P-3"], ["P-1"]]


def test_too_few_patients_for_the_folds() -> None:
    patients = patients_of(["A-1-000", "A-1-001", "A-1-002", "B-1-000"])
    with pytest.raises(ValueError, match="at least 3 patients for 3 folds, found 2 in 4 cases"):
        make_folds(patients, 3, 0)


def test_names_of_one_prefix_are_patients_of_their_own() -> None:
    assert len(make_folds(patients_of([f"sub-{number:03d}" for number in range(1, 7)]), 3, 0)) == 3


# ---------------------------------------------------------------- given splits

SIX = patients_of(["A-1-000", "A-1-001", "B-1-000", "C-1-000", "D-1-000", "E-1-000"])


def written(tmp_path: Path, content: Any) -> Path:
    file = tmp_path / "split"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    entries = as_entries(make_folds(SIX, 2, 0))
    assert all(sorted(entry["train"] + entry["val"]) == sorted(SIX) for entry in entries)
    assert read_split(written(tmp_path, entries), SIX) == (entries, [])
    assert read_split(written(tmp_path, entries[1]), SIX) == (entries[1:], [])


def test_a_list_holds_out_what_it_names(tmp_path: Path) -> None:
    (entry,), remarks = read_split(written(tmp_path, "# of site 2\nB-1-000\n\nC-1-000, small lesions\n"), SIX)
    assert entry == {"train": ["A-1-000", "A-1-001", "D-1-000", "E-1-000"], "val": ["B-1-000", "C-1-000"]}
    assert not remarks


def test_cases_that_the_store_left_out_may_be_named_and_are_said(tmp_path: Path) -> None:
    content = [{"train": ["A-1-000", "X-1-000"], "val": ["B-1-000"]}]
    entries, (remark,) = read_split(written(tmp_path, content), SIX, also_known=["X-1-000"])
    assert entries == [{"train": ["A-1-000"], "val": ["B-1-000"]}]
    assert "X-1-000" in remark


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        ("B-1-000\nX\nB-1-000\n", ["line 2: X is no case", "line 3: B-1-000 for the second time, after line 1"]),
        ("A-1-000\n", ["the list: patient A-1 is on both sides: A-1-001 is trained on, A-1-000 held out"]),
        ("\n# nothing\n", ["found no name"]),
        ([], ["found an empty list"]),
        ("[1, ", ["begins like JSON and is none"]),
        (["A-1-000"], ["entry 0: expected two lists of names, train and val"]),
        ([{"train": ["A-1-000"]}], ["entry 0: expected two lists of names, train and val"]),
        ([{"train": "A-1-000", "val": []}], ["entry 0: expected two lists of names, train and val"]),
        (
            [{"train": ["B-1-000", "X"], "val": ["C-1-000"]}, {"train": ["C-1-000"], "val": ["C-1-000"]}],
            ["entry 0, train: X is no case", "entry 1, val: C-1-000 for the second time, after entry 1, train"],
        ),
        ([{"train": [], "val": ["C-1-000"]}], ["entry 0: no case to train on"]),
        (
            [{"train": ["B-1-000", "A-1-001"], "val": ["A-1-000", "C-1-000"]}],
            ["entry 0: patient A-1 is on both sides: A-1-001 is trained on, A-1-000 held out"],
        ),
    ],
)
def test_faults_of_a_split_are_named_by_line_or_entry(tmp_path: Path, content: Any, faults: list[str]) -> None:
    file = written(tmp_path, content)
    with pytest.raises(DataError) as refused:
        read_split(file, SIX)
    text = str(refused.value)
    assert text.startswith(f"{file}: data.split")
    assert all(fault in text for fault in faults)


def test_a_split_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "splits_final.pkl"
    with pytest.raises(FileNotFoundError, match=r"data.split: .*: no such file; expected a list of"):
        read_split(file, SIX)
    with pytest.raises(FileNotFoundError, match=r"data.split: "):
        read_split(tmp_path, SIX)
    file.write_bytes(b"\x80\x04\xff")
    with pytest.raises(DataError, match="found no text"):
        read_split(file, SIX)


# ---------------------------------------------------------------- of a store


def test_a_store_is_split_by_its_folds(phantom_store: Path) -> None:
    store = open_store(phantom_store)
    found = split_of(store, Data(folds=3, fold=1))
    assert found.held_out == make_folds(store.patients, 3, 12345, store.burdens(("TC", "WT")))[1]
    assert sorted(found.training + found.held_out) == store.cases
    assert found.entries[1] == {"train": found.training, "val": found.held_out}
    assert (len(found.entries), found.remarks) == (3, [])
    assert found.as_json()["patients"] == {name: name.removesuffix("-000") for name in store.cases}


def test_burdens_are_those_of_the_references(phantom_store: Path) -> None:
    store = open_store(phantom_store)
    name = store.cases[0]
    offsets = store.read(name).lesions("TC")
    lesions, volume = store.burdens(("TC", "WT"))[name]
    assert lesions == len(offsets) - 1 > 0
    assert volume == pytest.approx(64 * offsets[-1])


def test_a_file_decides_and_folds_do_not_count(phantom_store: Path, tmp_path: Path) -> None:
    store = open_store(phantom_store)
    a, b, c, *rest = store.cases
    file = written(tmp_path, [{"train": [a], "val": [b]}] * 7 + [{"train": [b], "val": [c]}])
    found = split_of(store, Data(folds=5, fold=7, split=str(file)))
    assert (found.training, found.held_out) == ([b], [c])
    assert found.as_json()["folds"] == 8
    (remark,) = found.remarks
    assert f"{len(rest) + 1} cases of the store neither trained on nor held out" in remark
    with pytest.raises(DataError, match=r"data.fold is 8, but .* has 8 entries"):
        split_of(store, Data(fold=8, split=str(file)))


def test_patients_may_be_named_anew_for_a_store(phantom_store: Path, tmp_path: Path) -> None:
    store = open_store(phantom_store)
    file = tmp_path / "who.csv"
    file.write_text("".join(f"{name},{'AB'[place % 2]}\n" for place, name in enumerate(store.cases)), encoding="utf-8")
    halves = split_of(store, Data(folds=2, patients=str(file)))
    assert {halves.patients[name] for name in halves.held_out} in ({"A"}, {"B"})
    with pytest.raises(ValueError, match="at least 3 patients for 3 folds, found 2"):
        split_of(store, Data(folds=3, patients=str(file)))
    with pytest.raises(DataError, match="has 0 groups"):
        split_of(store, Data(patients="BraTS"))


def test_excluded_and_unlabelled_cases_may_be_named_and_others_not(tmp_path: Path) -> None:
    for name in ("A-1-000", "B-1-000", "C-1-000", "D-1-000"):
        make_case(tmp_path / "data", name, volumes={"seg": None} if name == "C-1-000" else {})
    (tmp_path / "out.txt").write_text("D-1-000, moved\n", encoding="utf-8")
    data = Data(exclude=str(tmp_path / "out.txt"))
    preprocess(tmp_path / "data", tmp_path / "store", Preprocess(), data=data)
    store = open_store(tmp_path / "store")
    assert (store.cases, store.left_out) == (["A-1-000", "B-1-000"], ["C-1-000", "D-1-000"])
    split = written(tmp_path, [{"train": ["A-1-000", "D-1-000"], "val": ["B-1-000", "C-1-000"]}])
    who = tmp_path / "who.csv"
    who.write_text("A-1-000,a\nB-1-000,b\nC-1-000,c\nD-1-000,b\n", encoding="utf-8")
    found = split_of(store, Data(split=str(split), patients=str(who)))
    assert (found.training, found.held_out) == (["A-1-000"], ["B-1-000"])
    assert "2 cases that the store has left out: C-1-000, D-1-000" in found.remarks[0]
    with pytest.raises(DataError, match="entry 0, train: E-1-000 is no case"):
        split_of(store, Data(split=str(written(tmp_path, [{"train": ["A-1-000", "E-1-000"], "val": []}]))))


@pytest.mark.parametrize("given", [False, True])
def test_inner_folds_part_the_training_cases_and_leave_the_fold_unseen(
    phantom_store: Path, tmp_path: Path, given: bool
) -> None:
    store = open_store(phantom_store)
    folds: dict[str, Any] = {"folds": 3, "fold": 1}
    if given:
        file = tmp_path / "splits.json"
        file.write_text(json.dumps(split_of(store, Data(**folds)).entries), encoding="utf-8")
        folds = {"split": str(file), "fold": 1}
    outer, inner = split_of(store, Data(**folds)), split_of(store, Data(**folds, inner_folds=2))
    assert sorted([*inner.training, *inner.held_out]) == outer.training
    assert not {*inner.training, *inner.held_out} & {*outer.held_out}
    assert len(inner.held_out) == len(outer.training) // 2
    assert (inner.entries, inner.fold) == (outer.entries, 1), "splits.json is that of the folds"
    assert inner.patients.keys() == {*outer.training}
    [remark] = inner.remarks
    assert remark.startswith("data.inner_folds: 2 cases of the store neither trained on nor held out")
    with pytest.raises(ValueError, match=r"at least 9 patients for 9 folds, found 4 .* lower data\.inner_folds, "):
        split_of(store, Data(**folds, inner_folds=9))
