"""Conversion to nnU-Net's folders and back: what is linked, written, refused and gone on with."""

import errno
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from mets3d.config import Data
from mets3d.data import DataError
from mets3d.data.cases import SEQUENCES, Case, find_cases
from mets3d.data.convert import convert
from mets3d.data.nifti import write_image
from mets3d.data.reading import read_reference, read_scan
from tests.builders.cases import RAS, SHAPE, make_case, scan, two_lesions
from tests.builders.layouts import described

LPS = np.array([[-1.0, 0, 0, SHAPE[0] - 1], [0, -1, 0, SHAPE[1] - 1], [0, 0, 1, 0], [0, 0, 0, 1]])
CHANNELS = {"0": "t1n", "1": "t1c", "2": "t2w", "3": "t2f"}


def content(folder: Path) -> dict[str, str]:
    """How each file is there, by its path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): "link" if path.is_symlink() else "file" for path in files}


def volumes(case: Case) -> dict[str, np.ndarray]:
    found = {sequence: read_scan(case, sequence).data for sequence in case.sequences}
    return found if case.labels is None else {**found, "seg": read_reference(case).labels}


def assert_same_voxels(case: Case, other: Case) -> None:
    before, after = volumes(case), volumes(other)
    assert before.keys() == after.keys()
    for kind in before:
        np.testing.assert_array_equal(before[kind], after[kind], kind)


def stored(path: Path) -> Any:
    return nibabel.load(path)


def test_files_that_can_stay_are_linked(tmp_path: Path) -> None:
    cases = [make_case(tmp_path / "D", "A-000"), make_case(tmp_path / "D", "B-000", volumes={"seg": None})]
    done = convert(tmp_path / "D", tmp_path / "Dataset001_X", "nnunet-v2")
    assert content(tmp_path / "Dataset001_X") == {
        "conversion.jsonl": "file",
        "dataset.json": "file",
        **{f"imagesTr/A-000_000{number}.nii.gz": "link" for number in range(4)},
        **{f"imagesTs/B-000_000{number}.nii.gz": "link" for number in range(4)},
        "labelsTr/A-000.nii.gz": "link",
    }
    assert (tmp_path / "Dataset001_X" / "imagesTr" / "A-000_0001.nii.gz").readlink() == cases[0].sequences["t1c"].path
    assert json.loads((tmp_path / "Dataset001_X" / "dataset.json").read_text(encoding="utf-8")) == {
        "name": "Dataset001_X",
        "channel_names": CHANNELS,
        "labels": {"background": 0, "WT": [1, 2, 3], "TC": [1, 3], "ET": 3},
        "regions_class_order": [2, 1, 3],
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    assert (done.learned, done.tested, done.faults, dict(done.files)) == (["A-000"], ["B-000"], {}, {"linked": 9})


def test_version_1_lists_its_cases_and_copies_are_files(tmp_path: Path) -> None:
    cavity = two_lesions()
    cavity[5, 5, 8] = 4
    make_case(tmp_path / "D", "A-000", volumes={"seg": cavity})
    make_case(tmp_path / "D", "B-000", volumes={"seg": None})
    convert(tmp_path / "D", tmp_path / "T", "nnunet-v1", copy=True)
    assert set(content(tmp_path / "T").values()) == {"file"}
    written = json.loads((tmp_path / "T" / "dataset.json").read_text(encoding="utf-8"))
    assert written["modality"] == CHANNELS
    assert written["labels"] == {"0": "background", "1": "NETC", "2": "SNFH", "3": "ET", "4": "RC"}
    assert written["training"] == [{"image": "./imagesTr/A-000.nii.gz", "label": "./labelsTr/A-000.nii.gz"}]
    assert (written["numTraining"], written["numTest"], written["test"]) == (1, 1, ["./imagesTs/B-000.nii.gz"])
    before, after = find_cases(tmp_path / "D"), find_cases(tmp_path / "T")
    assert after.layout == "nnU-Net raw v1 (labels 1 NETC, 2 SNFH, 3 ET, 4 RC)"
    for case, other in zip(before, after, strict=True):
        assert_same_voxels(case, other)


@pytest.mark.parametrize("to", ["nnunet-v1", "nnunet-v2"])
def test_there_and_back_with_names_that_nnunet_cannot_have(tmp_path: Path, to: Any) -> None:
    for name in ("Zoë 1-000", "P_0001", "plain", "PLAIN"):
        make_case(tmp_path / "D", name)
    done = convert(tmp_path / "D", tmp_path / "N", to)
    assert done.learned == ["PLAIN", "P_0001_x", "Zoe_1-000", "plain-2"]
    assert (tmp_path / "N" / "names.csv").read_text(encoding="utf-8").splitlines() == [
        "name,case",
        "P_0001_x,P_0001",
        "Zoe_1-000,Zoë 1-000",
        "plain-2,plain",
    ]
    convert(tmp_path / "N", tmp_path / "B", "brats")
    before, after = find_cases(tmp_path / "D"), find_cases(tmp_path / "B")
    assert after.layout == before.layout
    for case, other in zip(before, after, strict=True):
        assert case.name == other.name
        assert_same_voxels(case, other)


def msd(data: Path, name: str = "BRATS_001") -> Path:
    described(
        data, modality={"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        labels={"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}, training=[],
    )  # fmt: skip
    image = np.stack([scan(seed) for seed in range(4)], axis=3)
    for folder, volume in (("imagesTr", image), ("labelsTr", two_lesions())):
        (data / folder).mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(volume, LPS), data / folder / f"{name}.nii.gz")
    return data


@pytest.mark.parametrize("to", ["nnunet-v2", "brats"])
def test_4d_files_are_split_and_labels_are_ours(tmp_path: Path, to: Any) -> None:
    before = find_cases(msd(tmp_path / "Task01"))
    done = convert(tmp_path / "Task01", tmp_path / "T", to)
    assert dict(done.files) == {"written": 5}
    (after,) = find_cases(tmp_path / "T")
    assert (after.name, after.label_map) == ("BRATS_001", {})
    assert_same_voxels(before[0], after)
    for path in after.files:
        assert stored(path).shape == SHAPE
        np.testing.assert_array_equal(stored(path).affine, LPS)


def test_references_stored_as_floats_are_written_whole(tmp_path: Path) -> None:
    floats = two_lesions().astype(np.float32) + np.float32(1e-4)
    make_case(tmp_path / "D", "A-000", volumes={"seg": floats})
    for to in ("nnunet-v2", "brats"):
        convert(tmp_path / "D", tmp_path / to, to)  # type: ignore[arg-type]
        (case,) = find_cases(tmp_path / to)
        assert case.labels is not None
        np.testing.assert_array_equal(np.asarray(stored(case.labels).dataobj), two_lesions())
        assert stored(case.labels).get_data_dtype() == np.uint8


def test_nnunet_gets_one_grid_a_case(tmp_path: Path) -> None:
    """One scan's axes run the other way, one has a fourth axis of one voxel, one a header off by less than a tenth."""
    turned, almost = scan(1)[::-1, ::-1], RAS.copy()
    almost[0, 3] = 0.04
    make_case(tmp_path / "D", "A-000", volumes={"t1c": turned}, affines={"t1c": LPS, "t2w": almost})
    path = tmp_path / "D" / "A-000" / "A-000-t2f.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.asarray(stored(path).dataobj)[..., None], RAS), path)
    (before,) = find_cases(tmp_path / "D")
    assert dict(convert(tmp_path / "D", tmp_path / "N", "nnunet-v2").files) == {"linked": 2, "written": 3}
    (after,) = find_cases(tmp_path / "N")
    assert_same_voxels(before, after)
    for file in after.files:
        assert stored(file).shape == SHAPE
        np.testing.assert_array_equal(stored(file).affine, RAS)


def test_other_formats_become_nifti(tmp_path: Path) -> None:
    make_case(tmp_path / "D", "A-000")
    folder = tmp_path / "D" / "A-000"
    nibabel.save(nibabel.MGHImage(np.asarray(scan(5), np.float32), RAS), folder / "A-000-t1c.mgz")
    (folder / "A-000-t1c.nii.gz").unlink()
    plain = folder / "A-000-t2w.nii"
    nibabel.save(stored(folder / "A-000-t2w.nii.gz"), plain)
    (folder / "A-000-t2w.nii.gz").unlink()
    (before,) = find_cases(tmp_path / "D")
    for to, suffix in (("nnunet-v2", ".nii.gz"), ("brats", ".nii")):
        convert(tmp_path / "D", tmp_path / to, to)  # type: ignore[arg-type]
        (after,) = find_cases(tmp_path / to)
        assert_same_voxels(before, after)
        assert after.sequences["t1c"].path.name.endswith(".nii.gz")
        assert after.sequences["t2w"].path.name.endswith(suffix)


def test_cases_that_cannot_be_converted_are_left_out_and_named(tmp_path: Path) -> None:
    data = tmp_path / "D"
    illegal, shifted = two_lesions(), RAS.copy()
    illegal[5, 5, 8] = 8
    shifted[0, 3] = 3
    hole = scan(3).astype(np.float32)
    hole[5, 5, 5] = np.nan
    make_case(data, "good")
    make_case(data, "illegal", volumes={"seg": illegal})
    make_case(data, "lacks", volumes={"t2w": None})
    make_case(data, "moved", affines={"seg": shifted})
    make_case(data, "nan", volumes={"t2f": hole})
    make_case(data, "cut")
    cut = data / "cut" / "cut-t2f.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-300])
    (make_case(data, "gone").folder / "gone-t1n.nii.gz").unlink()
    (data / "gone" / "gone-t1n.nii.gz").symlink_to(tmp_path / "nowhere.nii.gz")
    done = convert(data, tmp_path / "N", "nnunet-v2")
    assert done.learned == ["good"]
    assert {name: word in done.faults[name] for name, word in (
        ("illegal", "label 8 in 1 voxel"), ("lacks", "found no t2w"), ("moved", "up to 3 mm apart"),
        ("nan", "t2f is NaN or infinite in 1 voxel"), ("cut", "truncated or corrupt"), ("gone", "a link to"),
    )} == dict.fromkeys(done.faults, True)  # fmt: skip
    assert {name.split("/")[-1][:4] for name in content(tmp_path / "N") if "/" in name} == {"good"}
    assert json.loads((tmp_path / "N" / "dataset.json").read_text(encoding="utf-8"))["numTraining"] == 1


def test_settings_make_more_cases_fit(tmp_path: Path) -> None:
    illegal = two_lesions()
    illegal[5, 5, 8] = 8
    make_case(tmp_path / "D", "A", volumes={"t2w": None, "seg": illegal})
    chosen = Data(missing_sequences="zero", illegal_labels="background")
    assert convert(tmp_path / "D", tmp_path / "N", "nnunet-v2", chosen).faults == {}
    (case,) = find_cases(tmp_path / "N")
    assert not read_scan(case, "t2w").data.any()
    np.testing.assert_array_equal(read_reference(case).labels, two_lesions())
    two = convert(tmp_path / "D", tmp_path / "two", "nnunet-v2", Data(sequences=("t1c", "t2f"), labels={8: 4}))
    assert two.faults == {}
    written = json.loads((tmp_path / "two" / "dataset.json").read_text(encoding="utf-8"))
    assert written["channel_names"] == {"0": "t1c", "1": "t2f"}
    assert (written["labels"]["RC"], written["regions_class_order"]) == (4, [2, 1, 3, 4])


def test_a_later_call_goes_on(tmp_path: Path) -> None:
    data, target = tmp_path / "D", tmp_path / "N"
    msd(data, "BRATS_001")
    msd(data, "BRATS_002")
    cases: list[str] = []
    convert(data, target, "nnunet-v2", progress=lambda done, total, name: cases.append(name))
    assert cases == ["BRATS_001", "BRATS_002"]
    times = {path: path.stat().st_mtime_ns for path in target.glob("images*/*")}
    (target / "dataset.json").unlink()
    with (target / "conversion.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"case": "BRATS_0')  # of a call that was killed
    (target / "imagesTr" / "BRATS_002_0003.nii.gz").unlink()
    cases.clear()
    done = convert(data, target, "nnunet-v2", progress=lambda done, total, name: cases.append(name))
    assert (cases, done.learned) == (["BRATS_002"], ["BRATS_001", "BRATS_002"])
    assert all(path.stat().st_mtime_ns == time for path, time in times.items() if "BRATS_001" in path.name)
    (data / "imagesTr" / "BRATS_001.nii.gz").unlink()
    cases.clear()
    done = convert(data, target, "nnunet-v2", progress=lambda done, total, name: cases.append(name))
    assert (cases, done.learned, len(content(target))) == ([], ["BRATS_002"], 7)
    with pytest.raises(DataError, match=r"another conversion: to 'nnunet-v2', now 'nnunet-v1'"):
        convert(data, target, "nnunet-v1")


def test_a_full_disk_or_a_kill_leaves_no_half_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, target = msd(tmp_path / "D"), tmp_path / "N"

    def full(path: Path, *_: Any) -> None:
        raise OSError(errno.ENOSPC, f"{path}: no space left")

    with monkeypatch.context() as patch:
        patch.setattr("mets3d.data.convert.case_files.write_labels", full)
        with pytest.raises(OSError, match="no space left"):
            convert(data, target, "nnunet-v2")
    assert [*content(target)] == ["conversion.jsonl"]
    (target / "imagesTr").mkdir(exist_ok=True)
    (target / "imagesTr" / "BRATS_001_0000.nii.gz").touch()  # of a call that was killed
    (data / "imagesTr" / "BRATS_001.nii.gz").rename(data / "imagesTr" / "BRATS_009.nii.gz")
    assert convert(data, target, "nnunet-v2").tested == ["BRATS_009"]
    assert not (target / "imagesTr" / "BRATS_001_0000.nii.gz").exists()


def test_a_change_of_the_source_is_converted_again(tmp_path: Path) -> None:
    make_case(tmp_path / "D", "A")
    convert(tmp_path / "D", tmp_path / "N", "brats", copy=True)
    write_image(tmp_path / "D" / "A" / "A-t1c.nii.gz", scan(77), RAS)
    convert(tmp_path / "D", tmp_path / "N", "brats", copy=True)
    (case,) = find_cases(tmp_path / "N")
    np.testing.assert_array_equal(read_scan(case, "t1c").data, scan(77))


def test_folders_of_something_else_are_refused(tmp_path: Path) -> None:
    make_case(tmp_path / "D", "A")
    (tmp_path / "N").mkdir()
    (tmp_path / "N" / "thesis.txt").touch()
    with pytest.raises(DataError, match="expected a new or empty folder"):
        convert(tmp_path / "D", tmp_path / "N", "brats")
    for inside in (tmp_path / "D", tmp_path / "D" / "out"):
        with pytest.raises(DataError, match="lies in"):
            convert(tmp_path / "D", inside, "brats")
    with pytest.raises(DataError, match=r"expected one of t1n, t1c, t2w, t2f"):
        convert(tmp_path / "D", tmp_path / "M", "nnunet-v2", Data(sequences=("t1c-t1n",)))


def test_brats_takes_what_sequences_there_are(tmp_path: Path) -> None:
    make_case(tmp_path / "D", "A", volumes={"t2w": None, "seg": None})
    assert convert(tmp_path / "D", tmp_path / "B", "brats").faults == {}
    (case,) = find_cases(tmp_path / "B")
    assert [*case.sequences] == [sequence for sequence in SEQUENCES if sequence != "t2w"]


def test_scans_on_several_grids_come_onto_that_of_t1c(tmp_path: Path) -> None:
    half = np.diag([2.0, 2.0, 2.0, 1.0])
    half[:3, 3] = 0.5
    coarse = scan(9)[::2, ::2, ::2].copy()
    make_case(tmp_path / "D", "A", volumes={"t1n": coarse, "seg": two_lesions()}, affines={"t1n": half})
    assert (
        "resample to one grid, or set data.grids to t1c"
        in convert(tmp_path / "D", tmp_path / "N", "nnunet-v2").faults["A"]
    )
    done = convert(tmp_path / "D", tmp_path / "M", "nnunet-v2", Data(grids="t1c"))
    assert (done.faults, dict(done.files)) == ({}, {"linked": 4, "written": 1})
    (case,) = find_cases(tmp_path / "M")
    assert {stored(file).shape for file in case.files} == {SHAPE}
    near = np.array([0.75, 0.25])  # 3 mm is a quarter of the way from voxel 1, at 2.5 mm, to voxel 2
    expected = np.einsum("xyz,x,y,z", coarse[1:3, 1:3, 1:3].astype(float), near, near, near)
    np.testing.assert_allclose(read_scan(case, "t1n").data[3, 3, 3], expected, rtol=1e-5)
    far = RAS.copy()
    far[0, 3] = 500
    make_case(tmp_path / "far", "A", affines={"t2w": far})
    assert "lies elsewhere" in convert(tmp_path / "far", tmp_path / "F", "nnunet-v2", Data(grids="t1c")).faults["A"]
