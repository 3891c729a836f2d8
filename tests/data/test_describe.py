"""A data set in numbers."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from mets3d.data.cases import Case
from mets3d.data.describe import describe, describe_case
from mets3d.data.describe_places import BINS, collect_places, describe_places
from mets3d.data.describe_summary import amounts, at_most_columns, outliers, spread
from mets3d.data.nifti import read_image
from mets3d.settings import Data
from tests.builders.cases import SHAPE, brain_box, make_case, two_lesions

SPACED = np.diag([0.5, 2.0, 3.0, 1.0])
CORNERS = np.ones((3, 3, 3))


def values_of(case: Case, sequence: str) -> np.ndarray:
    return np.asarray(read_image(case.sequences[sequence].path).data, np.float64)


def test_the_numbers_of_a_case(tmp_path: Path) -> None:
    case = make_case(tmp_path, affine=SPACED)
    numbers = describe_case(case, Data()).numbers
    assert (numbers.name, numbers.patient) == (case.name, "BraTS-MET-00001")
    assert (numbers.shape, numbers.spacing_mm, numbers.orientation) == (SHAPE, (0.5, 2.0, 3.0), "RAS")
    assert numbers.sequences == ("t1n", "t1c", "t2w", "t2f")
    assert numbers.brain_ml == pytest.approx(8 * 10 * 6 * 3 / 1000)
    inside = sorted(values_of(case, "t1c")[brain_box()].ravel())
    own = numbers.intensities["t1c"]
    assert (own.lowest, own.highest) == (inside[0], inside[-1])
    mean = math.fsum(inside) / len(inside)
    assert own.mean == pytest.approx(mean)
    assert own.deviation == pytest.approx(math.sqrt(math.fsum((value - mean) ** 2 for value in inside) / len(inside)))
    assert own.percentiles[50] == pytest.approx((inside[len(inside) // 2 - 1] + inside[len(inside) // 2]) / 2)
    assert own.peak == pytest.approx((inside[-1] - mean) / own.deviation)


def test_labels_and_their_contrast(tmp_path: Path) -> None:
    labels = two_lesions()
    t1c = np.zeros(SHAPE)
    t1c[brain_box()] = np.random.default_rng(0).integers(100, 200, (8, 10, 6))
    t1c[labels == 3] = 900
    numbers = describe_case(make_case(tmp_path, affine=SPACED, volumes={"t1c": t1c}), Data()).numbers
    assert numbers.label_mm3 == {label: 3.0 * int((labels == label).sum()) for label in (1, 2, 3)}
    assert numbers.labels == (1, 2, 3)
    assert numbers.volume_mm3((1, 3)) == 3.0 * int(np.isin(labels, (1, 3)).sum())
    contrast = numbers.intensities["t1c"].contrast
    inside = t1c[brain_box()]
    assert set(contrast) == {"NETC", "SNFH", "ET"}
    assert contrast["ET"] == pytest.approx((900 - inside.mean()) / inside.std())
    assert contrast["NETC"] == pytest.approx((t1c[labels == 1][0] - inside.mean()) / inside.std())


@pytest.mark.parametrize("seed", range(3))
def test_lesions_are_the_components_of_each_region(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.uint8)
    labels[brain_box()] = rng.choice(5, (8, 10, 6), p=[0.9, 0.02, 0.03, 0.03, 0.02])
    numbers = describe_case(make_case(tmp_path, affine=SPACED, volumes={"seg": labels}), Data()).numbers
    for name, held in {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,), "RC": (4,)}.items():
        numbered, amount = ndimage.label(np.isin(labels, held), CORNERS)
        expected = []
        for number in range(1, amount + 1):
            at = np.argwhere(numbered == number)
            centre = tuple(at.mean(axis=0) * (0.5, 2.0, 3.0))
            place = tuple((at.mean(axis=0) - 2 + 0.5) / (8, 10, 6))
            inner = tuple(sorted(set(labels[numbered == number].tolist())))
            expected.append((3.0 * len(at), len(at), centre, place, inner))
        found = [
            (lesion.volume_mm3, lesion.voxels, lesion.centre_mm, lesion.place, lesion.labels)
            for lesion in numbers.lesions[name]
        ]
        assert [lesion[1] for lesion in found] == sorted((lesion[1] for lesion in found), reverse=True)
        for one, other in zip(sorted(found), sorted(expected), strict=True):
            assert one[:2] == other[:2]
            assert one[2] == pytest.approx(other[2])
            assert one[3] == pytest.approx(other[3])
            assert one[4] == other[4]


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (-1, 1, -1)])
def test_the_patients_right_is_at_the_end_of_x_whatever_the_file_s_axes(tmp_path: Path, signs: tuple[int, ...]) -> None:
    affine = np.diag([*map(float, signs), 1.0])
    labels = np.zeros(SHAPE, np.uint8)
    labels[8:10, 3, 3] = 3
    labels = labels[tuple(slice(None, None, sign) for sign in signs)]  # as such a file holds the same patient
    described = describe_case(make_case(tmp_path, affine=affine, volumes={"seg": labels}), Data())
    (lesion,) = described.numbers.lesions["ET"]
    assert lesion.place == pytest.approx(((8.5 + 0.5 - 2) / 8, (3.5 - 2) / 10, (3.5 - 2) / 6))
    assert described.places is not None
    assert described.places.tumour is not None
    cover = described.places.tumour["axial"]
    assert cover[BINS[0] // 2 :].sum() == cover.sum() > 0


def test_a_background_that_is_not_zero_is_no_brain(tmp_path: Path) -> None:
    case = make_case(tmp_path / "zero")
    shifted = {name: values_of(case, name).astype(np.float32) - 1000 for name in case.sequences}
    other = describe_case(make_case(tmp_path / "shifted", volumes=shifted), Data()).numbers
    own = describe_case(case, Data()).numbers
    assert other.brain_ml == own.brain_ml
    assert other.intensities["t2f"].percentiles[50] == own.intensities["t2f"].percentiles[50] - 1000


def test_a_scan_that_cannot_be_read_is_a_finding_and_the_others_are_described(tmp_path: Path) -> None:
    make_case(tmp_path, "A-000")
    broken = make_case(tmp_path, "B-000")
    broken.sequences["t1n"].path.write_bytes(b"nothing")
    unlabelled = make_case(tmp_path, "C-000", volumes={"seg": None})
    seen: list[tuple[int, int, str]] = []
    data = describe(tmp_path, progress=lambda *step: seen.append(step))
    assert [case.name for case in data.cases] == ["A-000", "B-000", "C-000"]
    assert seen == [(1, 3, "A-000"), (2, 3, "B-000"), (3, 3, "C-000")]
    assert data.report.unusable == ["B-000"]
    assert data.cases[1].sequences == ("t1c", "t2w", "t2f")
    assert set(data.cases[1].intensities) == {"t1c", "t2w", "t2f"}
    assert data.cases[2].label_mm3 is None
    assert [case.name for case in data.labelled] == ["A-000", "B-000"]
    assert data.severities[unlabelled.name, "error"] == 0
    assert data.places.tumours == 2
    assert data.places.brains == 2  # that of a case without reference says nothing about places


def test_a_case_of_which_nothing_can_be_read(tmp_path: Path) -> None:
    case = make_case(tmp_path, volumes={"t1n": None, "t2w": None, "t2f": None, "seg": None})
    case.sequences["t1c"].path.write_bytes(b"nothing")
    numbers = describe(tmp_path).cases[0]
    assert (numbers.shape, numbers.spacing_mm, numbers.voxels, numbers.sequences) == ((), None, 0, ())


def test_a_reference_on_another_grid_has_volumes_and_no_place(tmp_path: Path) -> None:
    labels = np.zeros((6, 7, 5), np.uint8)
    labels[2, 2, 2] = 3
    described = describe_case(make_case(tmp_path, volumes={"seg": labels}), Data())
    assert described.numbers.label_mm3 == {3: 1.0}
    assert described.numbers.lesions["ET"][0].place is None
    assert described.places is None


def test_nan_is_left_out(tmp_path: Path) -> None:
    image = np.zeros(SHAPE, np.float32)
    image[brain_box()] = 5
    image[4, 4, 4], image[5, 5, 5] = np.nan, 9
    own = describe_case(make_case(tmp_path, volumes={"t2w": image}), Data()).numbers.intensities["t2w"]
    assert (own.lowest, own.highest, own.percentiles[50]) == (5, 9, 5)


def test_time_points_are_counted_within_a_patient(tmp_path: Path) -> None:
    for name in ("MET-2-001", "MET-1-000", "MET-2-000", "MET-2-004"):
        make_case(tmp_path, name)
    data = describe(tmp_path)
    assert data.time_points == {"MET-1-000": 1, "MET-2-000": 1, "MET-2-001": 2, "MET-2-004": 3}
    assert {patient: len(cases) for patient, cases in data.patients.items()} == {"MET-1": 1, "MET-2": 3}


# ---------------------------------------------------------------- places


def test_places_are_shares_of_the_brains_box() -> None:
    brain = np.ones((72, 88, 72), dtype=bool)  # two voxels a bin
    labels = np.zeros(brain.shape, np.uint8)
    labels[0:3, 0:2, 10] = 2
    whole = (slice(0, 72), slice(0, 88), slice(0, 72))
    places = describe_places(brain, labels, whole)
    assert places.tumour is not None
    expected = np.zeros((36, 44))
    expected[0, 0], expected[1, 0] = 1, 0.5
    np.testing.assert_allclose(places.tumour["axial"], expected)
    np.testing.assert_allclose(places.brain["coronal"], np.ones((36, 36)))
    assert places.tumour["sagittal"][0, 5] == pytest.approx(0.5)  # one of two voxels along Z
    small = (slice(0, 9), slice(0, 11), slice(0, 9))
    coarse = describe_places(brain[small], np.full((9, 11, 9), 3, np.uint8), small)
    assert coarse.tumour is not None
    np.testing.assert_allclose(coarse.tumour["axial"], np.ones((36, 44)))  # no holes where voxels are large


def test_places_are_averaged_over_cases_that_have_them() -> None:
    brain = np.ones((4, 4, 4), dtype=bool)
    whole = (slice(0, 4), slice(0, 4), slice(0, 4))
    left, none = np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)
    left[:2] = 3
    found = collect_places(describe_places(brain, labels, whole) for labels in (left, left[::-1], none, left))
    assert (found.brains, found.tumours) == (4, 3)
    assert found.tumour["axial"][0, 0] == pytest.approx(2 / 3)
    assert found.tumour["axial"][-1, 0] == pytest.approx(1 / 3)


# ---------------------------------------------------------------- summaries


def test_spread_is_median_and_quartiles_of_finite_values() -> None:
    found = spread([1, 2, 3, 4, math.nan, math.inf])
    assert found is not None
    assert (found.amount, found.lowest, found.q1, found.median, found.q3, found.highest) == (4, 1, 1.75, 2.5, 3.25, 4)
    assert spread([math.nan]) is None


def test_outliers_are_far_beyond_the_quartiles() -> None:
    usual = {f"case {index}": 100.0 + index for index in range(20)}
    assert outliers(usual) == []
    assert outliers({**usual, "tenth": 10.0, "thousand": 9000.0}) == ["thousand", "tenth"]  # by ratio
    assert outliers(dict.fromkeys(map(str, range(20)), 5.0) | {"a bit": 5.1}) == []
    assert outliers({"a": 1.0, "b": 1.0, "c": 1e9}) == []  # three cases have no usual value
    below = {name: value - 110 for name, value in usual.items()}
    assert outliers({**below, "far": 900.0}) == ["far"]


def test_many_rows_become_medians_of_few_groups() -> None:
    assert at_most_columns([[1.0, 2.0]], 5) == [[1.0, 2.0]]
    assert at_most_columns([[float(value)] for value in range(9)], 3) == [[1.0], [4.0], [7.0]]
    assert amounts("abcab") == [("a", 2), ("b", 2), ("c", 1)]


def test_describing_imports_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys, mets3d.data.describe, mets3d.data.describe_summary;"
        "print(sorted({'torch', 'monai', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)
    assert done.stdout.split() == [b"[]"]
