"""The slices and tables that loggers show of a validation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mets3d.config import load
from mets3d.data.store import Store, open_store
from mets3d.evaluation.lesions import lesion_scores
from mets3d.ops.components import components
from mets3d.rundir import OF_STEP, RunDir
from mets3d.training.shown import chosen_slices, details_of, joined, views_of
from mets3d.training.track.sender.rows import shown
from mets3d.training.track.validation_files import forget_validations_after, write_validation


@pytest.fixture
def store(phantom_store: Path) -> Store:
    return open_store(phantom_store)


def lesions(store: Store) -> list[tuple[str, int, list[int]]]:
    """Case, voxels, and voxels by slice of every lesion of the whole tumour, from the label maps."""
    found = []
    for name in store.cases:
        numbers = components(store.read(name).labels().numpy() > 0)
        for number in range(1, numbers.max() + 1):
            mask = numbers == number
            found.append((name, int(mask.sum()), mask.sum(axis=(0, 1)).tolist()))
    return found


def test_the_slices_are_those_of_the_largest_and_smallest_lesions(store: Store) -> None:
    every = lesions(store)
    four = chosen_slices(store, store.cases, 4)
    sizes = sorted(voxels for _, voxels, _ in every)
    assert [round(one.volume_mm3 / 64) for one in four] == [sizes[-1], sizes[0], sizes[-2], sizes[1]]  # voxels of 4 mm
    for one in four:
        profiles = [profile for name, _, profile in every if name == one.case]
        assert any(profile[one.index] == max(profile) for profile in profiles)
    assert chosen_slices(store, list(reversed(store.cases)), 4) == four, "whatever the order of the cases"
    assert chosen_slices(store, store.cases, 2) == four[:2]
    assert chosen_slices(store, store.cases, 0) == []
    many = chosen_slices(store, store.cases, 1000)
    assert len(many) == len({(one.case, one.index) for one in many}) >= len(store.cases)


def test_a_view_has_the_right_of_the_patient_at_the_left_and_anterior_up(store: Store) -> None:
    config = load([])
    slices = dict(enumerate(chosen_slices(store, store.cases, 3)))
    case = store.read(slices[1].case)
    predicted = np.zeros(case.shape, np.uint8)
    predicted[0, -1, slices[1].index] = 3  # the most left and anterior voxel of RAS
    view = views_of(case, slices, predicted, config)[1]
    assert view.prediction.shape == view.image.shape == (case.shape[1], case.shape[0])
    assert view.prediction[0, -1] == 3
    labels = case.labels().numpy()[:, :, slices[1].index]
    assert np.array_equal(view.reference, np.flip(labels.T, (0, 1)))
    brain = case.image()[1].numpy()[:, :, slices[1].index]  # t1c
    assert np.corrcoef(np.flip(brain.T, (0, 1))[view.image > 0], view.image[view.image > 0])[0, 1] > 0.99
    assert set(views_of(case, slices, predicted, config)) == {n for n, one in slices.items() if one.case == case.name}


def test_the_tables_are_those_of_the_scores_and_what_is_written_is_read(store: Store, tmp_path: Path) -> None:
    run, parts = RunDir(tmp_path / "run"), []
    slices = dict(enumerate(chosen_slices(store, store.cases, 2)))
    scores = {}
    for name in store.cases:
        case = store.read(name)
        labels = case.labels().numpy()
        scores[name] = lesion_scores(np.roll(labels, 1, 0), labels, case.entry.stored_spacing_mm, distances=False)
        parts.append(details_of(name, scores[name], views_of(case, slices, labels, load([]))))
    details = joined(parts)
    for step in (5, 10):
        write_validation(run, step, details)
    place = {"folder": str(run.validations), "name": OF_STEP, "index": "index.json"}
    read = shown(place, {"kind": "validation", "step": 10})
    assert read is not None
    assert [caption for caption, *_ in read.slices] == [slices[number].caption for number in range(2)]
    _, image, prediction, reference = read.slices[0]
    assert np.array_equal(Image.open(image), details.views[0].image)
    assert np.array_equal(Image.open(prediction), Image.open(reference))
    assert read.class_names == {1: "NETC", 2: "SNFH", 3: "ET", 4: "RC"}

    columns, rows = read.tables["cases"]
    assert columns == ["case", "region", "lesion_wise_dice", "lesion_f1", "dice"]
    assert [row[:2] for row in rows] == [[name, region] for name in store.cases for region in ("WT", "TC", "ET")]
    assert rows[0][4] == scores[store.cases[0]][0]["dice"]
    columns, rows = read.tables["lesions"]
    assert columns == ["case", "region", "lesion", "kind", "volume_mm3", "found", "dice"]
    assert len(rows) == sum(len(one.lesions) for one in scores.values())
    first = scores[store.cases[0]].lesions[0]
    assert rows[0][3:] == [first["kind"], first["reference_volume_mm3"], first["kind"] == "found", first["dice"]]

    assert shown(place, {"kind": "train", "step": 10}) is None
    forget_validations_after(run, 9)
    assert shown(place, {"kind": "validation", "step": 10}) is None
    assert json.loads(run.validation(5).index.read_text())["slices"]
