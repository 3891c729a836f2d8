"""A lesion of another case in a sample: whole, labelled, at the sample's own intensities, without a seam."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mets3d.data.copy_paste import EDGE_MM, CopyPaste, Voxels
from mets3d.data.loader import Samples, generator
from mets3d.data.places import Places
from mets3d.data.store import open_store
from mets3d.data.stored_case import Entry, StoredCase, write_case
from mets3d.ops.components import components

SHAPE = (32, 32, 32)
OWN, DONOR, CONTRAST = 0.5, -1.0, 3.0  # intensities of either case's tissue, and of the donor's lesion above it


def stored(
    folder: Path,
    name: str,
    labels: np.ndarray,
    *,
    tissue: Sequence[float] = (OWN, OWN),
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    margin: int = 2,
) -> StoredCase:
    """A case whose brain leaves a margin at either end; of a lesion, ET is CONTRAST above the tissue."""
    brain = np.zeros(labels.shape, dtype=bool)
    brain[(slice(margin, -margin),) * 3] = True
    image = np.stack([(value + CONTRAST * (labels == 3) * (value != 0)) * brain for value in tissue])
    sides = tuple((0, n) for n in labels.shape)
    entry = Entry(labels.shape, spacing_mm, sides, labels.shape, (0.0, 0.0), (1.0, 1.0))  # type: ignore[arg-type]
    path = folder / f"{name}.safetensors"
    write_case(path, image.astype(np.float16), labels, cavity=True, metadata={"entry": entry.as_json()})
    return StoredCase(name, path)


def empty(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    return np.zeros(shape, dtype=np.uint8)


def with_lesion() -> np.ndarray:
    """Two enhancing cores of one voxel and of 3x2x2 in one oedema, and another lesion far away."""
    labels = empty()
    labels[8:16, 8:13, 8:13] = 2
    labels[9:12, 9:11, 9:11] = 3
    labels[14, 11, 11] = 3
    labels[26, 26, 26] = 3
    return labels


def whole(case: StoredCase, regions: Sequence[str] = ("TC", "WT")) -> Voxels:
    box = (slice(0, case.shape[0]), slice(0, case.shape[1]), slice(0, case.shape[2]))
    numbers = torch.from_numpy(np.stack([case.instances(region, box) for region in regions]))
    return Voxels(case.image(), case.labels(), numbers)


def paster(donors: Sequence[StoredCase], **changes: Any) -> CopyPaste:
    lesions = np.array([*(len(donor.lesions("TC")) - 1 for donor in donors), 9])
    places = Places((*(donor.name for donor in donors), "own"), lesions, 1.0, None)
    return CopyPaste(**{"probability": 1.0, "places": places, "patch": SHAPE, "lesions_of": ("TC", "WT"), **changes})


def pasted(paste: CopyPaste, own: Voxels, case: StoredCase, donors: Sequence[StoredCase], seed: int = 0) -> Voxels:
    """What becomes of a copy of the voxels; the voxels themselves where nothing is pasted."""
    by_name = {donor.name: donor for donor in donors}
    changed = Voxels(*(None if part is None else part.clone() for part in own))  # type: ignore[arg-type]
    paste.apply(changed, case, lambda name: by_name[name], generator(seed, 0, 0, "copy_paste"))
    return own if torch.equal(changed.labels, own.labels) and torch.equal(changed.image, own.image) else changed


@pytest.fixture
def donor(tmp_path: Path) -> StoredCase:
    return stored(tmp_path, "donor", with_lesion(), tissue=(DONOR, 2 * DONOR))


@pytest.fixture
def case(tmp_path: Path) -> StoredCase:
    labels = empty()
    labels[20:23, 20:23, 20:23] = 3
    labels[5:7, 24:27, 5:8] = 4
    return stored(tmp_path, "own", labels)


def test_a_whole_lesion_comes_with_its_labels_and_numbers(case: StoredCase, donor: StoredCase) -> None:
    own = whole(case)
    expected = {8 * 5 * 5: [2, 3], 1: [3]}  # voxels of the two that can be pasted, and their labels
    seen = set()
    for seed in range(12):
        image, labels, numbers = pasted(paster([donor]), own, case, [donor], seed)
        new = (labels != own.labels).numpy()
        assert expected[int(new.sum())] == sorted(np.unique(labels[new]))
        seen.add(int(new.sum()))
        corner = np.argwhere(new).min(axis=0)
        if new.sum() > 1:
            box = tuple(slice(start, start + n) for start, n in zip(corner, (8, 5, 5), strict=True))
            assert np.array_equal(labels[box], with_lesion()[8:16, 8:13, 8:13])
        assert np.array_equal(labels[~new], own.labels[~new]), "the sample keeps what it had"
        assert (image.numpy().any(axis=0) == own.image.numpy().any(axis=0)).all(), "the brain keeps its shape"
        assert numbers is not None
        assert own.lesions is not None
        for row, mask, before in zip(numbers.numpy(), ((1, 3), (1, 2, 3)), own.lesions.numpy(), strict=True):
            parts = components(np.isin(labels.numpy(), mask))
            pairs = set(zip(parts.ravel().tolist(), row.ravel().tolist(), strict=True))
            assert len(pairs) == parts.max() + 1, "each lesion has a number, and none is joined to another"
            assert sorted(number for _, number in pairs) == list(range(parts.max() + 1))
            assert np.array_equal(row[before > 0], before[before > 0])
    assert seen == set(expected)


def test_intensities_are_the_samples_own_and_no_edge_is_seen(case: StoredCase, donor: StoredCase) -> None:
    own = whole(case)
    image, labels, _ = pasted(paster([donor]), own, case, [donor])
    new = labels != own.labels
    enhancing, oedema = new & (labels == 3), new & (labels == 2)
    # The donor's tissue is DONOR and 2 DONOR, the sample's OWN: where both are even, the blend is as even.
    assert torch.allclose(image[:, enhancing].float(), torch.tensor(OWN + CONTRAST), atol=2e-3)
    assert torch.allclose(image[:, oedema].float(), torch.tensor(OWN), atol=2e-3)
    assert torch.allclose(image[:, ~new], own.image[:, ~new], atol=2e-3)


def test_the_edge_goes_from_the_donor_to_the_sample_over_its_width(tmp_path: Path, case: StoredCase) -> None:
    """On textures that have nothing in common: each is itself where its share is 1, and a mixture in between."""
    rng = np.random.default_rng(0)
    labels = empty()
    labels[14:17, 14:17, 14:17] = 3
    donor = stored(tmp_path, "donor", labels)
    content = {"image": rng.normal(0, 1, (2, *SHAPE)).astype(np.float16), "labels": labels}
    metadata = {"entry": donor.entry.as_json()}
    write_case(donor.path, content["image"], content["labels"], cavity=True, metadata=metadata)
    own = whole(case)
    own = own._replace(image=torch.from_numpy(rng.normal(0, 1, (2, *SHAPE)).astype(np.float16)))
    image, after, _ = pasted(paster([donor]), own, case, [donor])
    new = (after != own.labels).numpy()
    from scipy.ndimage import distance_transform_edt

    away = distance_transform_edt(~new)
    corner = np.argwhere(new).min(axis=0)
    theirs = np.roll(content["image"], tuple(corner - 14), axis=(1, 2, 3)).astype(np.float64)
    before, changed = own.image.double().numpy(), image.double().numpy()
    assert np.array_equal(changed[:, away >= EDGE_MM], before[:, away >= EDGE_MM])
    shift = (changed - theirs)[:, new].mean(axis=1)
    assert np.allclose(changed[:, new] - theirs[:, new], shift[:, None], atol=3e-3), "one shift a sequence"
    edge = (away > 0) & (away < EDGE_MM)
    assert np.allclose(shift, (before - theirs)[:, edge].mean(axis=1), atol=0.02)
    ramp = 1 - away[edge] / EDGE_MM
    share = ramp**2 * (3 - 2 * ramp)
    mixed = before[:, edge] + share * (theirs[:, edge] + shift[:, None] - before[:, edge])
    assert np.allclose(changed[:, edge], mixed, atol=0.02)


def test_lesions_lie_in_the_brain_and_apart_from_what_is_there(tmp_path: Path, donor: StoredCase) -> None:
    labels = empty()
    labels[18:22, 18:22, 18:22] = 3
    case = stored(tmp_path, "own", labels, margin=8)
    own = whole(case)
    there = np.argwhere(own.labels.numpy() > 0)
    for seed in range(20):
        labels = pasted(paster([donor]), own, case, [donor], seed).labels
        new = np.argwhere((labels != own.labels).numpy())
        assert len(new)
        assert new.min() >= 8
        assert new.max() < 24
        gaps = np.abs(new[:, None] - there).max(axis=2)
        assert gaps.min() >= 3


def test_the_same_generator_pastes_the_same_and_others_elsewhere(case: StoredCase, donor: StoredCase) -> None:
    own, paste = whole(case), paster([donor])
    one, again = (pasted(paste, own, case, [donor], 5) for _ in range(2))
    assert torch.equal(one.image, again.image)
    assert torch.equal(one.labels, again.labels)
    results = {pasted(paste, own, case, [donor], seed).labels.numpy().tobytes() for seed in range(8)}
    assert len(results) == 8


def test_it_happens_as_often_as_asked(case: StoredCase, donor: StoredCase) -> None:
    own = whole(case)
    kept = [pasted(paster([donor], probability=0.5), own, case, [donor], seed) is own for seed in range(60)]
    assert 18 < sum(kept) < 42
    assert pasted(paster([donor], probability=0.0), own, case, [donor]) is own


def test_a_missing_sequence_stays_missing_and_no_donor_lacks_one(tmp_path: Path, donor: StoredCase) -> None:
    case = stored(tmp_path, "own", empty(), tissue=(OWN, 0.0))
    image, labels, _ = pasted(paster([donor]), whole(case), case, [donor])
    assert labels.any()
    assert not image[1].any()
    lacking = stored(tmp_path, "lacking", with_lesion(), tissue=(DONOR, 0.0))
    complete = stored(tmp_path, "own", empty())
    own = whole(complete)
    assert pasted(paster([lacking]), own, complete, [lacking]) is own
    only = stored(tmp_path, "own", empty(), tissue=(OWN, 0.0))
    assert pasted(paster([lacking]), whole(only), only, [lacking]).labels.any()


def test_another_voxel_size_is_resized_to_the_samples(tmp_path: Path, donor: StoredCase) -> None:
    case = stored(tmp_path, "own", empty(), spacing_mm=(0.5, 0.5, 1.0))
    volumes = set()
    for seed in range(12):
        image, labels, numbers = pasted(paster([donor]), whole(case), case, [donor], seed)
        volumes.add(int((labels > 0).sum()))
        assert torch.allclose(image[:, labels == 2].float(), torch.tensor(OWN), atol=0.8)
        assert numbers is not None
        assert torch.equal(numbers[0] > 0, labels == 3)
        assert torch.equal(numbers[1] > 0, labels > 0)
    assert volumes == {4, 800}, "voxels of half the size in two axes"


def test_nothing_is_pasted_where_nothing_fits(tmp_path: Path, case: StoredCase, donor: StoredCase) -> None:
    own = whole(case)
    small = paster([donor], patch=(4, 4, 4))  # the oedema is larger than half of it, the single voxel is not
    sizes = {int((pasted(small, own, case, [donor], seed).labels != own.labels).sum()) for seed in range(20)}
    assert sizes <= {0, 1}
    full = stored(tmp_path, "own", np.full(SHAPE, 3, dtype=np.uint8))
    everywhere = whole(full)
    assert pasted(paster([donor]), everywhere, full, [donor]) is everywhere
    alone = paster([])
    assert pasted(alone, own, case, []) is own
    broken = stored(tmp_path, "broken", with_lesion(), tissue=(np.nan, DONOR))
    assert pasted(paster([broken]), own, case, [broken]) is own


def test_a_sample_is_pasted_into_by_its_key_alone(phantom_store: Path) -> None:
    cases = open_store(phantom_store).cases
    shared: dict[str, Any] = {"patch": (24, 24, 24), "seed": 3, "lesions_of": ("TC", "ET")}
    plain = Samples(phantom_store, cases, **shared)
    pasting = Samples(phantom_store, cases, copy_paste=1.0, **shared)
    changed = 0
    for step in range(12):
        before, after = plain[step, 0], pasting[step, 0]
        assert (before["case"], before["origin"]) == (after["case"], after["origin"])
        changed += not torch.equal(before["labels"], after["labels"])
        assert torch.equal(after["lesions"][1] > 0, after["labels"] == 3)
        assert torch.equal(before["image"].any(dim=0), after["image"].any(dim=0))
    assert changed >= 6
    again = pickle.loads(pickle.dumps(pasting))
    assert torch.equal(again[4, 0]["image"], pasting[4, 0]["image"])
    assert torch.equal(Samples(phantom_store, cases, copy_paste=0.0, **shared)[4, 0]["image"], plain[4, 0]["image"])
