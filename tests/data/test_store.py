"""Reading a store: boxes, foreground, and what is refused."""

import gc
import json
import os
import pickle
import shutil
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mets3d.config import Data, Preprocess
from mets3d.data import DataError
from mets3d.data.preprocess import preprocess
from mets3d.data.store import open_store
from mets3d.data.stored_case import Entry, foreground_index
from tests.builders.cases import PHANTOM_SPACING, make_case

SETTINGS = Preprocess(spacing_mm=(1.0, 1.0, 1.0))


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path]:
    data, store = tmp_path / "data", tmp_path / "store"
    for name in ("A-000", "B-000"):
        make_case(data, name)
    preprocess(data, store, SETTINGS, data=Data())
    return data, store


def test_a_box_is_the_slice_of_the_whole(phantom_store: Path) -> None:
    case = open_store(phantom_store).read("BraTS-MET-90003-000")
    assert case.image().shape == (4, *case.shape)
    box = (slice(3, 11), slice(0, 7), slice(5, 6))
    assert case.image().dtype == torch.float16
    assert case.labels().dtype == torch.uint8
    torch.testing.assert_close(case.image(box), case.image()[(slice(None), *box)], rtol=0, atol=0)
    torch.testing.assert_close(case.labels(box), case.labels()[box], rtol=0, atol=0)


def test_reading_leaves_nothing_in_memory(phantom_store: Path) -> None:
    """Safetensors 0.8 loses an object at each read of a tensor; a training makes millions."""
    case = open_store(phantom_store).read("BraTS-MET-90003-000")
    box = (slice(3, 11), slice(4, 12), slice(5, 13))

    def read(times: int) -> int:
        for _ in range(times):
            case.image(box), case.labels(box)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        held = [read(400) for _ in range(6)]  # the first fills caches, and other threads hold something at times
        assert min(after - before for before, after in pairwise(held)) < 400 * 16
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("region", "members"), [("WT", (1, 2, 3)), ("TC", (1, 3)), ("ET", (3,))])
def test_foreground_is_the_region_lesion_by_lesion(phantom_store: Path, region: str, members: tuple[int, ...]) -> None:
    store = open_store(phantom_store)
    for name in store.cases:
        case = store.read(name)
        mask = np.isin(case.labels().numpy(), members)
        voxels, offsets = case.foreground(region), case.lesions(region)
        painted = np.zeros(mask.shape, dtype=int)
        for lesion in range(len(offsets) - 1):
            own = voxels[offsets[lesion] : offsets[lesion + 1]]
            assert len(own)
            painted[tuple(own.T)] += lesion + 1
        parts, count = ndimage.label(mask, np.ones((3, 3, 3)))
        assert count == len(offsets) - 1
        assert len({(a, b) for a, b in zip(parts[mask], painted[mask], strict=True)}) == count
        assert (painted[~mask] == 0).all()
        assert offsets[-1] == mask.sum()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 999), st.floats(0, 0.6))
def test_foreground_index_of_any_mask(seed: int, density: float) -> None:
    mask = np.random.default_rng(seed).random((5, 6, 4)) < density
    voxels, offsets = foreground_index(mask)
    assert sorted(map(tuple, voxels.tolist())) == sorted(map(tuple, np.argwhere(mask).tolist()))
    assert offsets[0] == 0
    assert len(offsets) - 1 == ndimage.label(mask, np.ones((3, 3, 3)))[1]


def test_a_case_travels_to_other_processes(phantom_store: Path) -> None:
    case = open_store(phantom_store).read("BraTS-MET-90001-000")
    again = pickle.loads(pickle.dumps(case))
    torch.testing.assert_close(again.image(), case.image(), rtol=0, atol=0)


def test_an_entry_of_an_earlier_version_is_read(phantom_store: Path) -> None:
    entry = open_store(phantom_store).read("BraTS-MET-90001-000").entry
    assert Entry.from_json(entry.as_json() | {"stored_spacing_mm": [4.0, 4.0, 4.0]}) == entry
    assert "stored_spacing_mm" not in entry.as_json()


def test_the_plan_says_what_was_done(phantom_store: Path) -> None:
    store = open_store(phantom_store, expected=(Preprocess(spacing_mm=PHANTOM_SPACING), Data()))
    plan = json.loads(json.dumps(store.plan.as_json()))
    assert plan["spacing_mm"] == [4, 4, 4]
    assert plan["cavity"] is False
    assert plan["margin_voxels"] == 0
    assert "z-score" in plan["normalisation"]
    assert len(plan["cases"]) == 6
    assert plan["settings_hash"] == store.index["settings_hash"]


def test_the_hash_tells_settings_apart(made: tuple[Path, Path], tmp_path: Path) -> None:
    data, store = made
    preprocess(data, tmp_path / "wide", Preprocess(spacing_mm=(1.0, 1.0, 1.0), margin_voxels=1), data=Data())
    preprocess(data, tmp_path / "cavity", SETTINGS, data=Data(cavity=True))
    preprocess(data, tmp_path / "same", SETTINGS, data=Data())
    hashes = [open_store(path).plan.settings_hash for path in (store, tmp_path / "wide", tmp_path / "cavity")]
    assert len(set(hashes)) == 3
    assert open_store(tmp_path / "same").plan.settings_hash == hashes[0]


def test_other_settings_are_named_with_both_values(made: tuple[Path, Path]) -> None:
    wanted = Preprocess(spacing_mm=(1.0, 1.0, 2.0), margin_voxels=4)
    with pytest.raises(DataError, match=r"spacing_mm is \[1.0, 1.0, 1.0\] in the store, \[1.0, 1.0, 2.0\]") as caught:
        open_store(made[1], expected=(wanted, Data(cavity=True)))
    assert "preprocess.margin_voxels is 0 in the store, 4 is expected" in str(caught.value)
    assert "data.cavity is False in the store, True is expected" in str(caught.value)
    with pytest.raises(DataError, match=r"data\.cavity"):
        open_store(made[1], expected=(SETTINGS, Data(cavity=True)))
    assert open_store(made[1]).cases == ["A-000", "B-000"]


def test_a_changed_source_makes_it_stale(made: tuple[Path, Path]) -> None:
    data, store = made
    scan = data / "A-000" / "A-000-t1n.nii.gz"
    os.utime(scan, ns=(0, 1))
    shutil.rmtree(data / "B-000")
    make_case(data, "C-000")
    with pytest.raises(DataError, match="stale") as caught:
        open_store(store, expected=(SETTINGS, Data()))
    for change in ("A-000/A-000-t1n.nii.gz changed", "B-000/B-000-seg.nii.gz removed", "and 6 more"):
        assert change in str(caught.value)
    open_store(store)


def test_a_new_case_without_reference_changes_nothing(made: tuple[Path, Path]) -> None:
    make_case(made[0], "C-000", volumes={"seg": None})
    assert open_store(made[1], expected=(SETTINGS, Data())).cases == ["A-000", "B-000"]


def test_a_source_that_is_gone_or_elsewhere_is_no_fault(made: tuple[Path, Path], tmp_path: Path) -> None:
    made[0].rename(tmp_path / "archive")
    assert open_store(made[1], expected=(SETTINGS, Data())).cases == ["A-000", "B-000"]


def test_a_source_that_was_emptied_is_a_change(made: tuple[Path, Path]) -> None:
    for case in list(made[0].iterdir()):
        shutil.rmtree(case)
    with pytest.raises(DataError, match="stale"):
        open_store(made[1], expected=(SETTINGS, Data()))


def test_what_is_no_store(tmp_path: Path, made: tuple[Path, Path]) -> None:
    data, store = made
    (tmp_path / "empty").mkdir()
    for path, found in (
        (tmp_path / "gone", "no such folder"),
        (tmp_path / "empty", "an empty folder"),
        (data, "store.json"),
    ):
        with pytest.raises(FileNotFoundError, match=found):
            open_store(path)
    index = json.loads((store / "store.json").read_text())
    (store / "store.json").write_text(json.dumps(index | {"format": 99}))
    with pytest.raises(DataError, match="store format 99"):
        open_store(store)


def test_cases_that_are_gone_broken_or_unknown(made: tuple[Path, Path]) -> None:
    store = open_store(made[1])
    with pytest.raises(DataError, match="no case X-000 in this store of 2"):
        store.read("X-000")
    (made[1] / "cases" / "A-000.safetensors").write_bytes(b"half")
    with pytest.raises(DataError, match=r"A-000\.safetensors: not readable"):
        store.read("A-000").image()
    (made[1] / "cases" / "A-000.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="A-000"):
        store.read("A-000").image()
    with pytest.raises(DataError, match="the files of 1 case are gone, such as A-000"):
        open_store(made[1])


def test_group_and_others_may_read_a_case_where_the_umask_lets_them(made: tuple[Path, Path]) -> None:
    mask = os.umask(0)
    os.umask(mask)
    mode = (made[1] / "cases" / "A-000.safetensors").stat().st_mode & 0o777
    assert mode == 0o666 & ~mask


def test_instances_are_the_components_of_the_whole_case_inside_the_box(phantom_store: Path) -> None:
    case = open_store(phantom_store).read("BraTS-MET-90003-000")
    mask = np.isin(case.labels().numpy(), (1, 2, 3))
    parts, count = ndimage.label(mask, np.ones((3, 3, 3)))
    # From the middle of one lesion to the middle of another, so that either end of every axis cuts one.
    ends = np.sort([np.argwhere(parts == number).mean(0).astype(int) for number in range(1, count + 1)], axis=0)[
        [0, -1]
    ]
    box = tuple(slice(start, stop) for start, stop in ends.T)
    assert all(parts[box].shape)
    numbers = case.instances("WT", box)
    assert numbers.shape == parts[box].shape
    pairs = {(a, b) for a, b in zip(parts[box].ravel(), numbers.ravel(), strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}), "one number a component, and back"
    assert (0, 0) in pairs
    assert {b for _, b in pairs} <= set(range(count + 1))
