"""Phantom patients: what is promised about their lesions and files."""

from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from mets3d.data.check import check
from mets3d.data.fingerprint import best_threshold
from mets3d.data.store import open_store
from mets3d.phantoms.synth import Phantom, phantom, synthesise

SHAPE, SPACING = (96, 112, 88), (1.6, 1.6, 1.6)
TOUCHING = np.ones((3, 3, 3))


@pytest.fixture(scope="module")
def patients() -> list[Phantom]:
    return [phantom(11, index, SHAPE, SPACING) for index in range(6)]


def test_what_a_case_is_depends_on_seed_and_index_alone(tmp_path: Path) -> None:
    shape, spacing = (40, 48, 36), (4.0, 4.0, 4.0)
    assert synthesise(tmp_path / "one", 1, 3, shape=shape, spacing_mm=spacing) == ["BraTS-MET-90001-000"]
    names = synthesise(tmp_path / "three", 3, 3, shape=shape, spacing_mm=spacing)
    assert names == [f"BraTS-MET-9000{k}-000" for k in (1, 2, 3)]
    synthesise(tmp_path / "other", 1, 4, shape=shape, spacing_mm=spacing)
    files = {folder: sorted((tmp_path / folder / names[0]).iterdir()) for folder in ("one", "three", "other")}
    assert len(files["one"]) == 5
    for one, three, other in zip(*files.values(), strict=True):
        assert one.name == three.name == other.name
        assert one.read_bytes() == three.read_bytes()
        assert one.read_bytes() != other.read_bytes()


def test_files_look_like_those_of_the_challenge(tmp_path: Path) -> None:
    steps: list[tuple[int, int, str]] = []
    synthesise(
        tmp_path, 1, 0, shape=(48, 56, 40), spacing_mm=(3.5, 3.5, 4.0), progress=lambda *step: steps.append(step)
    )
    assert steps == [(1, 1, "BraTS-MET-90001-000")]
    for kind in ("t1n", "t1c", "t2w", "t2f", "seg"):
        image = nibabel.load(tmp_path / "BraTS-MET-90001-000" / f"BraTS-MET-90001-000-{kind}.nii.gz")
        assert image.shape == (48, 56, 40)
        assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
        np.testing.assert_allclose(image.affine[:3, 3], [0, 55 * 3.5, 0])
        np.testing.assert_allclose(image.header.get_zooms(), (3.5, 3.5, 4.0))
        assert image.get_data_dtype() == (np.uint8 if kind == "seg" else np.int16)
    assert check(tmp_path).findings == []


def test_labels_are_nested_as_in_the_disease(patients: list[Phantom]) -> None:
    cores = 0
    for patient in patients:
        labels = patient.labels
        core = labels == 1
        cores += int(core.any())
        around = ndimage.binary_dilation(core, TOUCHING) & ~core
        assert set(np.unique(labels[around])) <= {3}, "a core is closed in by its rim"
        whole, count = ndimage.label(labels > 0, TOUCHING)
        assert set(range(1, count + 1)) == set(np.unique(whole[labels == 3])), "oedema only around a tumour"
    assert cores >= 3


def radii_mm(mask: np.ndarray, spacing_mm: float) -> np.ndarray:
    parts, count = ndimage.label(mask, TOUCHING)
    volumes = np.bincount(parts.ravel(), minlength=count + 1)[1:] * spacing_mm**3
    return np.cbrt(volumes * 3 / (4 * np.pi))


def test_number_and_size_of_lesions(patients: list[Phantom]) -> None:
    counts, sizes = [], []
    for patient in patients:
        radii = radii_mm(np.isin(patient.labels, (1, 3)), SPACING[0])
        counts.append(len(radii))
        sizes += list(radii)
    assert 1 <= min(counts) <= max(counts) <= 12
    assert max(counts) > 1
    assert min(sizes) > 1.5  # 2 mm on voxels of 1.6 mm
    assert max(sizes) < 15.5
    assert max(sizes) > 7


def tumours(patient: Phantom, spacing_mm: float) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Mask, labels in its box, and radius in mm of each tumour."""
    parts, _ = ndimage.label(np.isin(patient.labels, (1, 3)), TOUCHING)
    for index, box in enumerate(ndimage.find_objects(parts), 1):
        own = parts[box] == index
        yield own, patient.labels[box], float(np.cbrt(own.sum() * spacing_mm**3 * 3 / (4 * np.pi)))


def test_shapes_are_no_balls(patients: list[Phantom]) -> None:
    fills = []
    for patient in patients:
        for own, _, radius in tumours(patient, SPACING[0]):
            if radius > 5:
                reach = np.linalg.norm(np.argwhere(own) - np.argwhere(own).mean(0), axis=1).max() * SPACING[0]
                fills.append(reach / radius)
    assert len(fills) > 4
    assert np.median(fills) > 1.15  # of a ball: 1


def test_small_ones_have_no_core_and_most_large_ones_have() -> None:
    """On voxels of 1 mm, where a lesion of 3 mm would have room for one."""
    found = list(tumours(phantom(11, 6, (140, 176, 136), (1.0, 1.0, 1.0)), 1.0))
    small = [(labels[own] == 1).any() for own, labels, radius in found if radius < 4.2]
    large = [(labels[own] == 1).any() for own, labels, radius in found if radius > 5]
    assert small
    assert not any(small)
    assert np.mean(large) > 0.5


def test_labels_lie_in_the_brain_and_the_brain_is_stripped(patients: list[Phantom]) -> None:
    for patient in patients:
        brains = [image > 0 for image in patient.images.values()]
        for brain in brains:
            np.testing.assert_array_equal(brain, brains[0])
        assert brains[0][patient.labels > 0].all()
        assert 0.15 < brains[0].mean() < 0.45
        assert ndimage.label(brains[0])[1] == 1
        border = np.ones(SHAPE, dtype=bool)
        border[1:-1, 1:-1, 1:-1] = False
        assert not brains[0][border].any()


def test_tissue_contrast_of_each_sequence(patients: list[Phantom]) -> None:
    """Against the brain's median: rims bright on t1c; oedema dark on t1n, bright on t2w and t2f. Mean over patients."""
    ratios: dict[tuple[str, int], list[float]] = {}
    for patient in patients:
        for kind, image in patient.images.items():
            for label in (2, 3):
                median = np.median(image[patient.labels == label]) / np.median(image[image > 0])
                ratios.setdefault((kind, label), []).append(float(median))
    mean = {key: np.mean(values) for key, values in ratios.items()}
    assert mean["t1c", 3] > 1.5
    assert mean["t1n", 3] < 0.9
    assert mean["t1n", 2] < 0.95
    assert mean["t2w", 2] > 1.5
    assert mean["t2f", 2] > 1.2


def test_another_grid_shows_the_same_head() -> None:
    fine = phantom(2, 0, (80, 96, 72), (2.0, 2.0, 2.0)).images["t2w"]
    coarse = phantom(2, 0, (40, 48, 36), (4.0, 4.0, 4.0)).images["t2w"]
    someone_else = phantom(2, 1, (40, 48, 36), (4.0, 4.0, 4.0)).images["t2w"]
    means = fine.reshape(40, 2, 48, 2, 36, 2).mean((1, 3, 5))
    whole = (fine > 0).reshape(40, 2, 48, 2, 36, 2).mean((1, 3, 5)) > 0.5
    assert 2 * (whole & (coarse > 0)).sum() / (whole.sum() + (coarse > 0).sum()) > 0.97
    inside = (means > 0) & (coarse > 0) & (someone_else > 0)
    assert np.corrcoef(means[inside], coarse[inside])[0, 1] > 0.75
    assert np.corrcoef(means[inside], someone_else[inside])[0, 1] < 0.6


def test_a_small_field_of_view_scales_the_head_down() -> None:
    small = phantom(2, 0, (48, 56, 44), (1.0, 1.0, 1.0))
    brain = small.images["t1n"] > 0
    assert 0.2 < brain.mean() < 0.6
    assert radii_mm(np.isin(small.labels, (1, 3)), 1.0).max() < 8


def test_no_room_for_a_head() -> None:
    with pytest.raises(
        ValueError,
        match=r"shape \(16, 64, 64\).*leaves 16 voxels across the head; expected at least 24.*: choose a larger shape$",
    ):
        phantom(0, 0, (16, 64, 64), (1.0, 1.0, 1.0))
    # Here the whole head has room: a larger shape would change nothing.
    with pytest.raises(ValueError, match=r"leaves 22 voxels .*: choose a smaller spacing$"):
        phantom(0, 0, (32, 40, 24), (6.0, 6.0, 6.0))
    with pytest.raises(ValueError, match=r"leaves 12 voxels .*: choose a smaller spacing and a larger shape$"):
        phantom(0, 0, (16, 16, 16), (10.0, 10.0, 10.0))
    with pytest.raises(ValueError, match="expected 1 to 9999 cases, found 0"):
        synthesise(Path("nowhere"), 0, 0)
    with pytest.raises(ValueError, match=r"spacing: expected voxel sizes of at least 0.001 mm, found \(1e-320"):
        synthesise(Path("nowhere"), 1, 0, spacing_mm=(1e-320, 1.0, 1.0))


def test_no_threshold_solves_them(phantom_store: Path) -> None:
    store = open_store(phantom_store)
    assert 0.05 < best_threshold(store.fingerprint, store.cases, store.cases)["validation_dice"] < 0.55
