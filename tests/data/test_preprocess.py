"""One case prepared and put back; a store made, refused, resumed."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mets3d.config import Preprocess
from mets3d.data import DataError
from mets3d.data import preprocess as module
from mets3d.data.cases import SEQUENCES
from mets3d.data.nifti import ImageVolume, LabelVolume, read_image, read_labels
from mets3d.data.prepare import Prepared, prepare, put_back
from mets3d.data.preprocess import preprocess
from mets3d.data.store import open_store
from mets3d.data.stored_case import Entry
from tests.builders.cases import SHAPE, brain_box, make_case, scan, two_lesions

MM = (1.0, 1.0, 1.0)


def volumes(tmp_path: Path, **arguments: Any) -> tuple[list[ImageVolume], LabelVolume]:
    case = make_case(tmp_path, **arguments)
    assert case.labels is not None
    return [read_image(case.sequences[sequence]) for sequence in SEQUENCES], read_labels(case.labels)


def prepared(
    tmp_path: Path, *, spacing: tuple[float, float, float] = MM, margin: int = 0, **arguments: Any
) -> Prepared:
    images, labels = volumes(tmp_path, **arguments)
    return prepare(images, labels, spacing, margin, False)


# ---------------------------------------------------------------- prepare


def test_crop_and_z_score(tmp_path: Path) -> None:
    result = prepared(tmp_path)
    images, labels = volumes(tmp_path)
    assert result.entry.box == ((2, 10), (2, 12), (2, 8))
    assert result.image.dtype == np.float16
    for channel, image in enumerate(images):
        inside = image.data[brain_box()].astype(np.float64)
        expected = (inside - inside.mean()) / inside.std()
        np.testing.assert_allclose(result.image[channel], expected, atol=2e-3)
        assert result.entry.mean[channel] == pytest.approx(inside.mean())
        assert result.entry.std[channel] == pytest.approx(inside.std())
    np.testing.assert_array_equal(result.labels, labels.labels[brain_box()])


def test_the_brain_is_where_any_sequence_is_not_zero(tmp_path: Path) -> None:
    wider = np.zeros(SHAPE, dtype=np.int16)
    wider[1, 5, 5] = -3
    result = prepared(tmp_path, volumes={"t2w": scan(0) + wider})
    assert result.entry.box[0] == (1, 10)
    outside = np.ones(result.image.shape[1:], dtype=bool)
    outside[1:] = False
    outside[0, 3, 3] = False
    assert (result.image[:, outside] == 0).all()
    assert (result.image[:, 0, 3, 3] != 0).all()
    brain = ~outside
    for channel in range(4):
        assert float(result.image[channel][brain].astype(np.float64).mean()) == pytest.approx(0, abs=2e-3)
        assert float(result.image[channel][brain].astype(np.float64).std()) == pytest.approx(1, abs=2e-3)


def test_margin_ends_at_the_volume(tmp_path: Path) -> None:
    assert prepared(tmp_path, margin=1).entry.box == ((1, 11), (1, 13), (1, 9))
    result = prepared(tmp_path, margin=5)
    assert result.entry.box == tuple((0, n) for n in SHAPE)
    assert (result.image[:, 0] == 0).all()


def test_resampled_size_and_brain(tmp_path: Path) -> None:
    result = prepared(tmp_path, spacing=(0.5, 1.0, 2.0))
    assert result.image.shape == (4, 16, 10, 3)
    assert result.labels is not None
    assert result.labels.shape == (16, 10, 3)
    assert result.entry.stored_shape == (16, 10, 3)
    assert result.entry.spacing_mm == MM


def test_resampled_values_stay_within_those_of_the_brain(tmp_path: Path) -> None:
    images, _ = volumes(tmp_path)
    result = prepared(tmp_path, spacing=(0.7, 0.8, 1.3))
    for channel, image in enumerate(images):
        values = result.image[channel].astype(np.float64) * result.entry.std[channel] + result.entry.mean[channel]
        assert values.min() > image.data[brain_box()].min() - 5
        assert values.max() < image.data[brain_box()].max() + 5


@pytest.mark.parametrize("cavity", [False, True])
def test_the_cavity_becomes_background_unless_wanted(tmp_path: Path, cavity: bool) -> None:
    labels = two_lesions()
    labels[7, 7, 5] = 4
    images, reference = volumes(tmp_path, volumes={"seg": labels})
    result = prepare(images, reference, MM, 0, cavity)
    assert result.labels is not None
    assert result.labels[5, 5, 3] == (4 if cavity else 0)
    assert int((result.labels == 1).sum()) == 1


def test_without_reference(tmp_path: Path) -> None:
    images, _ = volumes(tmp_path)
    assert prepare(images, None, MM, 0, False).labels is None


def test_what_cannot_be_prepared(tmp_path: Path) -> None:
    images, labels = volumes(tmp_path)
    zero = ImageVolume(np.zeros(SHAPE, dtype=np.float32), MM, images[0].affine, images[0].source)
    with pytest.raises(DataError, match="zeros in all sequences"):
        prepare([zero] * 4, labels, MM, 0, False)
    flat = ImageVolume((images[0].data != 0).astype(np.float32), MM, images[0].affine, images[0].source)
    with pytest.raises(DataError, match="is 1 everywhere in the brain"):
        prepare([*images[:3], flat], labels, MM, 0, False)
    noise = np.random.default_rng(0).normal(size=flat.data.shape)
    for level, spread in ((4000.0, 0.01), (-3e-4, 1e-9), (1e30, 1e24)):  # as resampling rounds
        rounded = (flat.data * (level + spread * noise)).astype(np.float32)
        with pytest.raises(DataError, match=re.escape(f"is {level:g} everywhere in the brain")):
            prepare([*images[:3], replace(flat, data=rounded)], labels, MM, 0, False)
    faint = (flat.data * (4000 + noise)).astype(np.float32)  # that varies, if little
    prepare([*images[:3], replace(flat, data=faint)], labels, MM, 0, False)
    short = ImageVolume(images[0].data[:-1], MM, images[0].affine, images[0].source)
    with pytest.raises(DataError, match=r"one shape, found .*\(11, 14, 10\)"):
        prepare([*images[:3], short], labels, MM, 0, False)


# ---------------------------------------------------------------- put back


def test_put_back_is_exact_without_resampling(tmp_path: Path) -> None:
    result = prepared(tmp_path)
    probabilities = np.random.default_rng(0).random((3, *result.entry.stored_shape), dtype=np.float32)
    whole = put_back(probabilities, result.entry, outside=(1.0, 0.0, 0.25))
    assert whole.shape == (3, *SHAPE)
    np.testing.assert_array_equal(whole[(slice(None), *brain_box())], probabilities)
    assert (whole[0, :2] == 1).all()
    assert (whole[1, :2] == 0).all()
    assert (whole[2, :, :, -2:] == 0.25).all()


def test_labels_survive_preparing_and_putting_back(tmp_path: Path) -> None:
    """On a grid twice as fine every label comes back; the one-voxel lesion too."""
    result = prepared(tmp_path, spacing=(0.5, 0.5, 0.5))
    assert result.labels is not None
    channels = np.stack([result.labels == label for label in range(4)]).astype(np.float32)
    whole = put_back(channels, result.entry, outside=(1.0, 0.0, 0.0, 0.0))
    np.testing.assert_array_equal(whole.argmax(0), two_lesions())


def test_put_back_refuses_another_shape(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"stored grid \(8, 10, 6\), found \(8, 10, 7\)"):
        put_back(np.zeros((3, 8, 10, 7), dtype=np.float32), prepared(tmp_path).entry)


box_end = st.tuples(st.integers(0, 3), st.integers(4, 9))


@settings(deadline=None, max_examples=25)
@given(st.tuples(box_end, box_end, box_end), st.tuples(*[st.integers(1, 9)] * 3))
def test_a_constant_comes_back_constant(box: Any, stored: Any) -> None:
    entry = Entry((9, 9, 9), MM, box, stored, (0.0,), (1.0,))
    whole = put_back(np.full((1, *stored), 0.7, dtype=np.float32), entry)
    inside = np.zeros((9, 9, 9), dtype=bool)
    inside[tuple(slice(*ends) for ends in box)] = True
    np.testing.assert_allclose(whole[0][inside], 0.7, rtol=1e-5)
    assert (whole[0][~inside] == 0).all()
    assert Entry.from_json(entry.as_json()) == entry


# ---------------------------------------------------------------- the store

SETTINGS = Preprocess(spacing_mm=MM)


def three_cases(data: Path) -> Path:
    for name in ("A-000", "A-001", "B-000"):
        make_case(data, name)
    return data


def contents(store: Path) -> dict[str, bytes]:
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def test_the_store_holds_what_prepare_gives(tmp_path: Path) -> None:
    data, store = three_cases(tmp_path / "data"), tmp_path / "store"
    assert preprocess(data, store, SETTINGS, cavity=False) == []
    opened = open_store(store, expected=SETTINGS, cavity=False)
    assert opened.cases == ["A-000", "A-001", "B-000"]
    expected = prepared(tmp_path / "other", name="A-001")
    case = opened.read("A-001")
    np.testing.assert_array_equal(case.image().numpy(), expected.image)
    np.testing.assert_array_equal(case.labels().numpy(), expected.labels)
    assert case.entry == expected.entry
    assert opened.index["cases"]["A-001"] == {
        "patient": "A",
        "shape": [8, 10, 6],
        "lesions": {"WT": 2, "TC": 2, "ET": 2},
    }
    assert opened.plan.spacing_mm == (1, 1, 1)
    assert opened.plan.sequences == SEQUENCES
    assert opened.plan.cases == tuple(opened.cases)


def test_two_processes_make_the_same_store(tmp_path: Path) -> None:
    data = three_cases(tmp_path / "data")
    for jobs in (1, 2):
        preprocess(data, tmp_path / str(jobs), SETTINGS, cavity=False, jobs=jobs)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_median_spacing_is_of_the_data_set(tmp_path: Path) -> None:
    for name, spacing in (("A", (1.0, 1.0, 2.0)), ("B", (1.0, 1.5, 3.0)), ("C", (4.0, 1.2, 5.0))):
        make_case(tmp_path / "data", name, affine=np.diag([*spacing, 1.0]))
    preprocess(tmp_path / "data", tmp_path / "store", Preprocess(spacing_mm="median"), cavity=False)
    store = open_store(tmp_path / "store")
    np.testing.assert_allclose(store.plan.spacing_mm, [1.0, 1.2, 3.0], rtol=1e-5)
    assert store.read("B").shape == (8, round(10 * 1.5 / 1.2), 6)


def test_an_unusable_case_leaves_nothing_and_all_findings_are_told(tmp_path: Path) -> None:
    data, store = three_cases(tmp_path / "data"), tmp_path / "store"
    nan = scan(0).astype(np.float32)
    nan[5, 5, 5] = np.nan
    bad = two_lesions()
    bad[5, 5, 5] = 9
    make_case(data, "C-000", volumes={"t1n": nan})
    make_case(data, "D-000", volumes={"seg": bad})
    with pytest.raises(DataError, match=r"(?s)2 cases cannot be used.*C-000 .*not a number.*D-000 .*unknown label"):
        preprocess(data, store, SETTINGS, cavity=False)
    assert not store.exists()


def test_faults_of_headers_are_told_with_those_of_voxels_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, store = three_cases(tmp_path / "data"), tmp_path / "store"
    bad = two_lesions()
    bad[5, 5, 5] = 9
    make_case(data, "C-000", volumes={"t1n": None, "seg": bad})
    monkeypatch.setattr(module, "write_case", lambda *_, **__: pytest.fail("wrote a case"))
    with pytest.raises(DataError, match=r"(?s)1 case cannot be used.*missing sequence.*unknown label") as caught:
        preprocess(data, store, SETTINGS, cavity=False)
    assert str(caught.value).count("missing sequence") == 1
    assert not store.exists()


def test_remarks(tmp_path: Path) -> None:
    data = three_cases(tmp_path / "data")
    cavity = two_lesions()
    cavity[5, 5, 5] = 4
    for name in ("C-000", "D-000"):
        make_case(data, name, volumes={"seg": cavity})
    make_case(data, "E-000", volumes={"seg": None})
    without, cavities = preprocess(data, tmp_path / "store", SETTINGS, cavity=False)
    assert "1 of 6 cases have no reference" in without
    assert "E-000" in without
    assert "in 2 cases and became background" in cavities
    assert "E-000" not in open_store(tmp_path / "store").cases
    assert len(preprocess(data, tmp_path / "learned", SETTINGS, cavity=True)) == 1
    assert len(open_store(tmp_path / "learned").read("C-000").foreground("RC")) == 1


def test_a_spacing_that_leaves_no_brain_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"A-000 .*cannot be prepared .*everywhere in the brain"):
        preprocess(
            three_cases(tmp_path / "data"), tmp_path / "s", Preprocess(spacing_mm=(99.0, 99.0, 99.0)), cavity=False
        )
    assert not (tmp_path / "s").exists()


def test_no_reference_at_all(tmp_path: Path) -> None:
    make_case(tmp_path / "data", volumes={"seg": None})
    with pytest.raises(DataError, match="references CASE-seg"):
        preprocess(tmp_path / "data", tmp_path / "store", SETTINGS, cavity=False)


def test_goes_on_after_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, store = three_cases(tmp_path / "data"), tmp_path / "store"

    def interrupted(done: int, total: int, name: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        preprocess(data, store, SETTINGS, cavity=False, progress=interrupted)
    with pytest.raises(FileNotFoundError, match="interrupted"):
        open_store(store)
    assert sorted(path.name for path in (store / "cases").iterdir()) == ["A-000.safetensors", "A-001.safetensors"]
    (store / "cases" / ".123.tmp.B-000.safetensors").write_bytes(b"half")
    prepared_again = []
    original = module.prepare
    monkeypatch.setattr(module, "prepare", lambda *args: prepared_again.append(1) or original(*args))
    preprocess(data, store, SETTINGS, cavity=False)
    assert len(prepared_again) == 1
    preprocess(data, tmp_path / "whole", SETTINGS, cavity=False)
    assert contents(store) == contents(tmp_path / "whole")


def test_a_finished_store_is_left_as_it_is(tmp_path: Path) -> None:
    data, store = three_cases(tmp_path / "data"), tmp_path / "store"
    preprocess(data, store, SETTINGS, cavity=False)
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    (remark,) = preprocess(data, store, SETTINGS, cavity=False)
    assert "already complete" in remark
    assert before == {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    (store / "cases" / "A-001.safetensors").unlink()
    preprocess(data, store, SETTINGS, cavity=False)
    assert open_store(store).read("A-001").shape == (8, 10, 6)


def test_another_store_in_the_folder_is_refused(tmp_path: Path) -> None:
    data, store = three_cases(tmp_path / "data"), tmp_path / "store"
    preprocess(data, store, SETTINGS, cavity=False)
    with pytest.raises(DataError, match=r"margin_voxels is 0 in the store, 3 was asked.*data.cavity is False"):
        preprocess(data, store, Preprocess(spacing_mm=MM, margin_voxels=3), cavity=True)
    make_case(data, "Z-000")
    with pytest.raises(DataError, match=r"stale.*Z-000/Z-000-seg.nii.gz new"):
        preprocess(data, store, SETTINGS, cavity=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(DataError, match="new or empty folder"):
        preprocess(data, tmp_path / "mine", SETTINGS, cavity=False)


def test_lesions_are_counted_as_scipy_does(phantom_store: Path) -> None:
    store = open_store(phantom_store)
    for name in store.cases:
        labels = store.read(name).labels().numpy()
        for region, members in (("WT", (1, 2, 3)), ("TC", (1, 3)), ("ET", (3,))):
            _, count = ndimage.label(np.isin(labels, members), np.ones((3, 3, 3)))
            assert store.index["cases"][name]["lesions"][region] == count
