"""A store made, refused, resumed."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from mets3d.config import Data, Preprocess
from mets3d.data import DataError
from mets3d.data import preprocess as module
from mets3d.data.cases import SEQUENCES
from mets3d.data.preprocess import preprocess
from mets3d.data.store import open_store
from tests.builders.cases import make_case, scan, two_lesions
from tests.data.test_prepare import prepared

MM = (1.0, 1.0, 1.0)


SETTINGS = Preprocess(spacing_mm=MM)


def three_cases(data: Path) -> Path:
    for name in ("A-000", "A-001", "B-000"):
        make_case(data, name)
    return data


def contents(store: Path) -> dict[str, bytes]:
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def test_the_store_holds_what_prepare_gives(tmp_path: Path) -> None:
    data, store = three_cases(tmp_path / "data"), tmp_path / "store"
    assert preprocess(data, store, SETTINGS, data=Data()) == []
    opened = open_store(store, expected=(SETTINGS, Data()))
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
        preprocess(data, tmp_path / str(jobs), SETTINGS, data=Data(), jobs=jobs)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_median_spacing_is_of_the_data_set(tmp_path: Path) -> None:
    for name, spacing in (("A", (1.0, 1.0, 2.0)), ("B", (1.0, 1.5, 3.0)), ("C", (4.0, 1.2, 5.0))):
        make_case(tmp_path / "data", name, affine=np.diag([*spacing, 1.0]))
    preprocess(tmp_path / "data", tmp_path / "store", Preprocess(spacing_mm="median"), data=Data())
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
        preprocess(data, store, SETTINGS, data=Data())
    assert not store.exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("sequence", SEQUENCES)
def test_a_value_that_is_not_finite_is_refused_with_case_sequence_and_count(
    tmp_path: Path, sequence: str, value: float
) -> None:
    data, store = three_cases(tmp_path / "data"), tmp_path / "store"
    spoilt = scan(0).astype(np.float32)
    spoilt[5, 5, 5] = spoilt[6, 6, 6] = value
    make_case(data, "C-000", volumes={sequence: spoilt})
    with pytest.raises(DataError, match=rf"(?s)1 case cannot be used.*C-000 .*{sequence} has 2 voxels that are NaN or"):
        preprocess(data, store, SETTINGS, data=Data())
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
        preprocess(data, store, SETTINGS, data=Data())
    assert str(caught.value).count("missing sequence") == 1
    assert not store.exists()


def test_remarks(tmp_path: Path) -> None:
    data = three_cases(tmp_path / "data")
    cavity = two_lesions()
    cavity[5, 5, 5] = 4
    for name in ("C-000", "D-000"):
        make_case(data, name, volumes={"seg": cavity})
    make_case(data, "E-000", volumes={"seg": None})
    without, cavities = preprocess(data, tmp_path / "store", SETTINGS, data=Data())
    assert "1 of 6 cases have no reference" in without
    assert "E-000" in without
    assert "in 2 cases and became background" in cavities
    assert "E-000" not in open_store(tmp_path / "store").cases
    assert len(preprocess(data, tmp_path / "learned", SETTINGS, data=Data(cavity=True))) == 1
    assert len(open_store(tmp_path / "learned").read("C-000").foreground("RC")) == 1


def test_a_spacing_that_leaves_no_brain_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"A-000 .*cannot be prepared .*everywhere in the brain"):
        preprocess(
            three_cases(tmp_path / "data"), tmp_path / "s", Preprocess(spacing_mm=(99.0, 99.0, 99.0)), data=Data()
        )
    assert not (tmp_path / "s").exists()


def test_no_reference_at_all(tmp_path: Path) -> None:
    make_case(tmp_path / "data", volumes={"seg": None})
    with pytest.raises(DataError, match="references CASE-seg"):
        preprocess(tmp_path / "data", tmp_path / "store", SETTINGS, data=Data())


def test_goes_on_after_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, store = three_cases(tmp_path / "data"), tmp_path / "store"

    def interrupted(done: int, total: int, name: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        preprocess(data, store, SETTINGS, data=Data(), progress=interrupted)
    with pytest.raises(FileNotFoundError, match="interrupted"):
        open_store(store)
    assert sorted(path.name for path in (store / "cases").iterdir()) == ["A-000.safetensors", "A-001.safetensors"]
    (store / "cases" / ".123.tmp.B-000.safetensors").write_bytes(b"half")
    prepared_again = []
    original = module.prepare
    monkeypatch.setattr(module, "prepare", lambda *args: prepared_again.append(1) or original(*args))
    preprocess(data, store, SETTINGS, data=Data())
    assert len(prepared_again) == 1
    preprocess(data, tmp_path / "whole", SETTINGS, data=Data())
    assert contents(store) == contents(tmp_path / "whole")


def test_a_finished_store_is_left_as_it_is(tmp_path: Path) -> None:
    data, store = three_cases(tmp_path / "data"), tmp_path / "store"
    preprocess(data, store, SETTINGS, data=Data())
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    (remark,) = preprocess(data, store, SETTINGS, data=Data())
    assert "already complete" in remark
    assert before == {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    (store / "cases" / "A-001.safetensors").unlink()
    preprocess(data, store, SETTINGS, data=Data())
    assert open_store(store).read("A-001").shape == (8, 10, 6)


def test_another_store_in_the_folder_is_refused(tmp_path: Path) -> None:
    data, store = three_cases(tmp_path / "data"), tmp_path / "store"
    preprocess(data, store, SETTINGS, data=Data())
    with pytest.raises(DataError, match=r"margin_voxels is 0 in the store, 3 is expected.*data.cavity is False"):
        preprocess(data, store, Preprocess(spacing_mm=MM, margin_voxels=3), data=Data(cavity=True))
    make_case(data, "Z-000")
    with pytest.raises(DataError, match=r"stale.*Z-000/Z-000-seg.nii.gz new"):
        preprocess(data, store, SETTINGS, data=Data())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(DataError, match="new or empty folder"):
        preprocess(data, tmp_path / "mine", SETTINGS, data=Data())


def test_lesions_are_counted_as_scipy_does(phantom_store: Path) -> None:
    store = open_store(phantom_store)
    for name in store.cases:
        labels = store.read(name).labels().numpy()
        for region, members in (("WT", (1, 2, 3)), ("TC", (1, 3)), ("ET", (3,))):
            _, count = ndimage.label(np.isin(labels, members), np.ones((3, 3, 3)))
            assert store.index["cases"][name]["lesions"][region] == count
