"""A store made, refused, resumed."""

import csv
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from mets3d.config import Data, Preprocess
from mets3d.data import DataError, label_probe, not_usable, storing
from mets3d.data import preprocess as module
from mets3d.data.cases import SEQUENCES
from mets3d.data.check import check
from mets3d.data.preprocess import NotUsableError, preprocess
from mets3d.data.store import open_store
from mets3d.files import machine_mark, read_json, write_json
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
    assert preprocess(data, store, SETTINGS, data=Data(patients=r"(\w+)-\d+")) == []
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


def with_two_bad_ones(data: Path) -> Path:
    """Three good cases, one with NaN in t1n, and one with label 9 in its reference."""
    nan = scan(0).astype(np.float32)
    nan[5, 5, 5] = np.nan
    bad = two_lesions()
    bad[5, 5, 5] = 9
    make_case(data, "C-000", volumes={"t1n": nan})
    make_case(data, "D-000", volumes={"seg": bad})
    return three_cases(data)


def test_cases_that_turn_out_unusable_stop_a_small_set_and_the_finished_ones_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, store = with_two_bad_ones(tmp_path / "data"), tmp_path / "store"
    with pytest.raises(
        NotUsableError,
        match=r"(?s)2 cases cannot be used, 3 are finished and kept.*C-000 .*not a number.*D-000 .*label",
    ):
        preprocess(data, store, SETTINGS, data=Data())
    with pytest.raises(FileNotFoundError, match="with cases that cannot be used; run `mets3d preprocess` again"):
        open_store(store)
    kept = [path.name for path in (store / "cases").iterdir()]
    assert sorted(kept) == ["A-000.safetensors", "A-001.safetensors", "B-000.safetensors"]
    prepared_again = counted(monkeypatch)
    for name in ("C-000", "D-000"):
        make_case(data, name)
    preprocess(data, store, SETTINGS, data=Data())
    assert prepared_again == [2]
    assert len(open_store(store).cases) == 5
    assert not (store / "not_usable.csv").exists()


def test_unusable_cases_are_skipped_listed_and_added_when_they_are_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, store = with_two_bad_ones(tmp_path / "data"), tmp_path / "store"
    make_case(data, "E-000", volumes={"t2w": None})
    result = preprocess(data, store, SETTINGS, data=Data(), on_error="skip")
    assert result.cases == open_store(store, expected=(SETTINGS, Data())).cases == ["A-000", "A-001", "B-000"]
    assert set(result.not_usable) == {"C-000", "D-000", "E-000"}
    with (store / "not_usable.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["case"]: row["reason"] for row in rows} == result.not_usable
    assert open_store(store).index["not_usable"] == result.not_usable
    for name, what in (("C-000", "not a number"), ("D-000", "unknown label"), ("E-000", "missing sequence")):
        assert what in result.not_usable[name]
    prepared_again = counted(monkeypatch)
    make_case(data, "D-000")
    assert "D-000" in preprocess(data, store, SETTINGS, data=Data(), on_error="skip").cases
    assert prepared_again == [1]
    again = preprocess(data, store, SETTINGS, data=Data(), on_error="skip")
    assert set(again.not_usable) == {"C-000", "E-000"}
    assert any("already complete" in remark for remark in again)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many cases are prepared from now on, as one number."""
    count = [0]
    original = storing.prepare

    def prepare(*arguments: Any, **more: Any) -> Any:
        count[0] += 1
        return original(*arguments, **more)

    monkeypatch.setattr(storing, "prepare", prepare)
    return count


@pytest.mark.parametrize(("cases", "kept"), [(3, False), (4, True)])
def test_of_many_cases_the_bad_ones_are_skipped_and_few_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cases: int, kept: bool
) -> None:
    monkeypatch.setattr(not_usable, "MANY_CASES", 4)
    data = tmp_path / "data"
    make_case(data, "C-000", volumes={"t1n": None})
    for number in range(cases - 1):
        make_case(data, f"P-{number:03}")
    if kept:
        assert len(preprocess(data, tmp_path / "store", SETTINGS, data=Data()).cases) == cases - 1
        return
    with pytest.raises(DataError, match=r"C-000 .*missing sequence"):
        preprocess(data, tmp_path / "store", SETTINGS, data=Data())
    assert not (tmp_path / "store").exists()


def test_without_a_usable_case_there_is_no_store(tmp_path: Path) -> None:
    for name in ("A-000", "B-000"):
        make_case(tmp_path / "data", name, volumes={"t1c": None})
    with pytest.raises(NotUsableError, match=r"(?s)2 cases cannot be used.*A-000.*B-000"):
        preprocess(tmp_path / "data", tmp_path / "store", SETTINGS, data=Data(), on_error="skip")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("sequence", SEQUENCES)
def test_a_value_that_is_not_finite_is_refused_with_case_sequence_and_count(
    tmp_path: Path, sequence: str, value: float
) -> None:
    data, store = three_cases(tmp_path / "data"), tmp_path / "store"
    spoilt = scan(0).astype(np.float32)
    spoilt[5, 5, 5] = spoilt[6, 6, 6] = value
    make_case(data, "C-000", volumes={sequence: spoilt})
    with pytest.raises(DataError, match=rf"(?s)1 case cannot be used.*C-000 .*{sequence} is NaN or infinite in 2"):
        preprocess(data, store, SETTINGS, data=Data())
    assert not (store / "store.json").exists()
    assert not (store / "cases" / "C-000.safetensors").exists()


def test_faults_of_headers_are_told_with_those_of_voxels_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, store = three_cases(tmp_path / "data"), tmp_path / "store"
    bad = two_lesions()
    bad[5, 5, 5] = 9
    make_case(data, "C-000", volumes={"t1n": None, "seg": bad})
    monkeypatch.setattr(storing, "write_case", lambda *_, **__: pytest.fail("wrote a case"))
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
    assert "1 of 6 cases has no reference" in without
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
    other = tmp_path / "killed when it had written nothing whole"
    other.mkdir()
    (other / f".{2**22 + 7}.tmp.{machine_mark()}building.json").write_text("{")
    prepared_again = counted(monkeypatch)
    preprocess(data, store, SETTINGS, data=Data())
    assert prepared_again == [1]
    preprocess(data, tmp_path / "whole", SETTINGS, data=Data())
    assert contents(store) == contents(tmp_path / "whole")
    preprocess(data, other, SETTINGS, data=Data())
    assert contents(other) == contents(tmp_path / "whole")


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
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(DataError, match="new or empty folder"):
        preprocess(data, tmp_path / "mine", SETTINGS, data=Data())


def test_a_store_grows_with_its_source_and_no_finished_case_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, store = three_cases(tmp_path / "data"), tmp_path / "store"
    preprocess(data, store, SETTINGS, data=Data())
    times = {path: path.stat().st_mtime_ns for path in (store / "cases").iterdir()}
    make_case(data, "Z-000")
    opened: list[list[str]] = []

    def look(done: int, total: int, name: str) -> None:
        opened.append(open_store(store).cases)

    preprocess(data, store, SETTINGS, data=Data(), progress=look)
    assert opened == [["A-000", "A-001", "B-000"]], "a training on the store can go on meanwhile"
    assert open_store(store, expected=(SETTINGS, Data())).cases == ["A-000", "A-001", "B-000", "Z-000"]
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert not (store / "building.json").exists()
    preprocess(data, tmp_path / "whole", SETTINGS, data=Data())
    assert open_store(store).digest == open_store(tmp_path / "whole").digest


def test_a_grown_store_keeps_the_median_with_which_it_began(tmp_path: Path) -> None:
    settings, data = Preprocess(spacing_mm="median"), tmp_path / "data"
    make_case(data, "A-000", affine=np.diag([1.0, 1.0, 2.0, 1.0]))
    preprocess(data, tmp_path / "store", settings, data=Data())
    make_case(data, "B-000", affine=np.diag([1.0, 1.0, 4.0, 1.0]))
    (remark,) = preprocess(data, tmp_path / "store", settings, data=Data())
    assert "keeps the voxels of 1 x 1 x 2 mm" in remark
    assert "the median is 1 x 1 x 3 mm now" in remark
    assert open_store(tmp_path / "store").plan.spacing_mm == (1, 1, 2)


def test_only_a_case_whose_files_have_changed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, store = three_cases(tmp_path / "data"), tmp_path / "store"
    preprocess(data, store, SETTINGS, data=Data())
    before = contents(store)
    prepared_again = counted(monkeypatch)
    for file in data.rglob("*.nii.gz"):
        os.utime(file, (1, 1))  # as a copy of the data set
    preprocess(data, store, SETTINGS, data=Data())
    assert prepared_again == [0]
    make_case(data, "A-001", volumes={"t1n": scan(77)})
    preprocess(data, store, SETTINGS, data=Data())
    assert prepared_again == [1]
    changed = {name for name, content in contents(store).items() if content != before[name]}
    assert {"cases/A-001.safetensors", "records/A-001.json"} <= changed
    assert not {"cases/A-000.safetensors", "cases/B-000.safetensors"} & changed
    assert len(open_store(store, expected=(SETTINGS, Data())).cases) == 3


def test_a_case_that_is_gone_from_the_source_is_not_thrown_away(tmp_path: Path) -> None:
    data, store = three_cases(tmp_path / "data"), tmp_path / "store"
    preprocess(data, store, SETTINGS, data=Data())
    (data / "A-001").rename(tmp_path / "archive")
    with pytest.raises(DataError, match=r"1 of its cases is not in .*: A-001\. Bring the files back"):
        preprocess(data, store, SETTINGS, data=Data())
    assert len(open_store(store).cases) == 3


def test_a_store_of_an_earlier_format_is_refused_in_words(tmp_path: Path) -> None:
    data, store = three_cases(tmp_path / "data"), tmp_path / "store"
    preprocess(data, store, SETTINGS, data=Data())
    index = read_json(store / "store.json")
    write_json(store / "store.json", {**index, "format": 1})
    words = r"store format 1, this version has 2 \(each case has a record, and the settings under `data`"
    with pytest.raises(DataError, match=words):
        preprocess(data, store, SETTINGS, data=Data())
    with pytest.raises(DataError, match=words):
        open_store(store)


# What a store that was made with the defaults can be read as, though it would be made otherwise.
SERVED: tuple[dict[str, Any], ...] = ({"sequences": ("t1c", "t2f")}, {"missing_sequences": "zero"})


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sequences": ("t1c", "t1c-t1n")}, "data.sequences is ['t1n', 't1c', 't2w', 't2f'] in the store"),
        ({"sequences": ("t1c", "t2f")}, "data.sequences is ['t1n', 't1c', 't2w', 't2f'] in the store, ['t1c', 't2f']"),
        ({"labels": {4: 3}}, "data.labels is None in the store, {'4': 3} is expected"),
        ({"illegal_labels": "background"}, "data.illegal_labels is error in the store, background is expected"),
        ({"missing_sequences": "zero"}, "data.missing_sequences is refuse in the store, zero is expected"),
        ({"grids": "t1c"}, "data.grids is refuse in the store, t1c is expected"),
    ],
)
def test_every_setting_of_a_cases_content_is_named_where_it_differs(
    tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    data, store = three_cases(tmp_path / "data"), tmp_path / "store"
    preprocess(data, store, SETTINGS, data=Data())
    with pytest.raises(DataError, match=re.escape(words)):
        preprocess(data, store, SETTINGS, data=Data(**changed))
    if changed in SERVED:
        assert open_store(store, expected=(SETTINGS, Data(**changed))).cases
    else:
        with pytest.raises(DataError, match=re.escape(words)):
            open_store(store, expected=(SETTINGS, Data(**changed)))
    assert preprocess(data, store, SETTINGS, data=Data(fold=3, patch=(8, 8, 8))), "these change nothing in a store"


def test_patients_are_changed_in_the_index_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, store = three_cases(tmp_path / "data"), tmp_path / "store"
    preprocess(data, store, SETTINGS, data=Data())
    prepared_again = counted(monkeypatch)
    file = tmp_path / "patients.csv"
    file.write_text("case,patient\nA-000,X\nA-001,Y\nB-000,Y\n")
    preprocess(data, store, SETTINGS, data=Data(patients=str(file)))
    opened = open_store(store)
    assert [opened.index["cases"][name]["patient"] for name in opened.cases] == ["X", "Y", "Y"]
    assert prepared_again == [0]
    file.unlink()
    assert opened.source_remarks() == []


def test_lesions_are_counted_as_scipy_does(phantom_store: Path) -> None:
    store = open_store(phantom_store)
    for name in store.cases:
        labels = store.read(name).labels().numpy()
        for region, members in (("WT", (1, 2, 3)), ("TC", (1, 3)), ("ET", (3,))):
            _, count = ndimage.label(np.isin(labels, members), np.ones((3, 3, 3)))
            assert store.index["cases"][name]["lesions"][region] == count


def test_an_excluded_case_leaves_the_store_and_one_laid_over_is_made_again_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, store = with_two_bad_ones(tmp_path / "data"), tmp_path / "store"
    result = preprocess(data, store, SETTINGS, data=Data(), on_error="skip")
    listed = tmp_path / "exclude.csv"
    listed.write_bytes((store / "not_usable.csv").read_bytes())
    made = counted(monkeypatch)
    without = Data(exclude=str(listed))
    result = preprocess(data, store, SETTINGS, data=without)
    assert (result.cases, result.not_usable, made) == (["A-000", "A-001", "B-000"], {}, [0])
    assert open_store(store, expected=(SETTINGS, without)).source_remarks() == []
    listed.write_text(listed.read_text() + "A-001,moved\n")
    assert preprocess(data, store, SETTINGS, data=without).cases == ["A-000", "B-000"]
    assert (open_store(store).cases, made) == (["A-000", "B-000"], [0])
    assert not (store / "cases" / "A-001.safetensors").exists()
    corrected = two_lesions()
    corrected[5, 8, 5] = 3
    make_case(tmp_path / "overlay", "B-000", volumes=dict.fromkeys(SEQUENCES[1:]) | {"seg": corrected})
    (tmp_path / "overlay" / "B-000" / "B-000-t1n.nii.gz").unlink()
    over = Data(exclude=str(listed), overlay=str(tmp_path / "overlay"))
    assert preprocess(data, store, SETTINGS, data=over).cases == ["A-000", "B-000"]
    assert made == [1]
    assert open_store(store).index["cases"]["B-000"]["lesions"]["ET"] == 3
    assert open_store(store).source_remarks() == []
    listed.unlink()
    (remark,) = open_store(store).source_remarks()
    assert "A-001/A-001-seg.nii.gz new" in remark


def test_a_case_that_dataset_yaml_excludes_leaves_the_store_as_one_of_the_settings(tmp_path: Path) -> None:
    data, store = tmp_path / "data", tmp_path / "store"
    for name in ("A-000", "B-000", "C-000"):
        make_case(data, name)
    patterns = "".join(f"  {name}: '{{case}}/{{case}}-{name}.nii.gz'\n" for name in SEQUENCES)
    text = f"sequences:\n{patterns}reference: '{{case}}/{{case}}-seg.nii.gz'\n"
    (data / "dataset.yaml").write_text(text)
    assert preprocess(data, store, SETTINGS, data=Data()).cases == ["A-000", "B-000", "C-000"]
    (data / "bad.txt").write_text("B-000, moved\n")
    (data / "dataset.yaml").write_text(text + "exclude: bad.txt\n")
    assert preprocess(data, store, SETTINGS, data=Data()).cases == ["A-000", "C-000"]
    assert open_store(store).left_out == ["B-000"], "a split or a file of patients may name it"
    shutil.rmtree(data / "C-000")
    with pytest.raises(DataError, match=r"1 of its cases is not in .*C-000"):
        preprocess(data, store, SETTINGS, data=Data())


def as_in_2018(data: Path, count: int) -> Path:
    """Cases whose enhancing tumour is label 4, as BraTS had it until 2021."""
    labels = np.where(two_lesions() == 3, 4, two_lesions()).astype(np.uint8)
    for number in range(count):
        make_case(data, f"P-{number:03}", volumes={"seg": labels})
    return data


@pytest.mark.parametrize("many", [True, False])
def test_labels_that_mean_something_else_in_the_whole_set_are_refused_with_the_map_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    data, store = as_in_2018(tmp_path / "data", 3), tmp_path / "store"
    monkeypatch.setattr(module, "MANY_CASES", 3 if many else 4)
    prepared = counted(monkeypatch)
    for on_error in ("skip", "stop"):
        with pytest.raises(DataError, match=r"(?s)no case can be used, .*no enhancing tumour.*data\.labels: \{4: 3\}"):
            preprocess(data, store, SETTINGS, data=Data(), on_error=on_error)
        assert not store.exists(), "the same folder is free for the map"
    assert prepared == ([0] if many else [6])
    preprocess(data, store, SETTINGS, data=Data(labels={4: 3}))
    assert open_store(store).index["cases"]["P-000"]["lesions"]["ET"] == 2


def test_a_probe_that_is_alone_in_its_suspicion_refuses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MANY_CASES", 4)
    monkeypatch.setattr(label_probe, "PROBED", 2)
    data = as_in_2018(tmp_path / "data", 3)
    make_case(data, "P-001")
    make_case(data, "P-003")  # the probe is P-000 and P-002
    assert len(preprocess(data, tmp_path / "store", SETTINGS, data=Data(), on_error="skip").cases) == 4


def test_a_copy_under_another_name_is_told_as_check_tells_it(tmp_path: Path) -> None:
    data = three_cases(tmp_path / "data")
    shutil.copytree(data / "A-000", data / "Z-000")
    for file in (data / "Z-000").iterdir():
        file.rename(file.with_name(file.name.replace("A-000", "Z-000")))
    told = {finding.what for finding in check(data).findings if finding.severity != "note"}
    assert told
    remarks = preprocess(data, tmp_path / "store", SETTINGS, data=Data(), on_error="skip")
    said = [*remarks, *remarks.not_usable.values()]
    assert all(any(what in one for one in said) for what in told)


def test_lesions_before_and_after_are_told_and_kept_in_the_fingerprint(tmp_path: Path) -> None:
    data = tmp_path / "data"
    make_case(data, "MET-001")  # a lesion of 27 voxels with its oedema, and one of a single voxel, at 1 mm
    made = preprocess(data, tmp_path / "coarse", Preprocess(spacing_mm=(2.0, 2.0, 2.0)), data=Data())
    (told,) = [remark for remark in made if remark.startswith("lesions before and after resampling")]
    assert [line.split()[0] for line in told.splitlines()[2:]] == ["WT", "WT", "TC", "TC", "ET", "ET"]
    rows = {(row["region"], row["size_mm3"]): row for row in open_store(tmp_path / "coarse").fingerprint["survival"]}
    small = rows["ET", "0-2"]
    assert (small["lesions"], small["kept"], small["stored_volume_mm3"]) == (1, 1, 8)
    assert rows["WT", "27-100"]["kept"] == 1
    own = preprocess(data, tmp_path / "own", Preprocess(spacing_mm="in_plane"), data=Data())
    assert not any("resampling" in remark for remark in own)
    assert open_store(tmp_path / "own").plan.spacing_mm == "in_plane"
