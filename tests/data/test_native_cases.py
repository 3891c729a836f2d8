"""Cases whose scans lie on different grids, from check to the store."""

from pathlib import Path

import numpy as np
import pytest

from mets3d.config import Preprocess
from mets3d.data import DataError
from mets3d.data.cases import Case, Finding
from mets3d.data.check import check_case, check_headers, read_case
from mets3d.data.nifti import read_image, read_labels
from mets3d.data.preprocess import preprocess
from mets3d.data.store import open_store
from mets3d.settings import Data
from tests.builders.cases import SHAPE, make_case, scan, two_lesions

ONTO_T1C = Data(grids="t1c")
PAD = 3


def shifted(voxels: int) -> np.ndarray:
    affine = np.eye(4)
    affine[0, 3] = -voxels
    return affine


def native_case(folder: Path, **more: np.ndarray) -> Case:
    """t2f and the reference lie on a grid that is larger at the left by whole voxels, whose first has its own place."""
    wider = {
        kind: np.pad(volume, ((PAD, 0), (0, 0), (0, 0)))
        for kind, volume in {"t2f": scan(9), "seg": two_lesions()}.items()
    }
    return make_case(folder, volumes={"t1n": scan(1), **wider, **more}, affines=dict.fromkeys(wider, shifted(PAD)))


def named(findings: list[Finding], what: str) -> list[Finding]:
    return [finding for finding in findings if finding.what == what]


def test_grids_that_differ_are_refused_unless_that_is_set(tmp_path: Path) -> None:
    case = native_case(tmp_path)
    (finding,) = named(check_case(case, Data()), "shapes differ")
    assert finding.severity == "error"
    assert "or set data.grids to t1c" in finding.advice
    assert [one for one in check_case(case, ONTO_T1C) if one.severity == "error"] == []


def test_how_far_is_said_of_each_scan_and_of_the_reference(tmp_path: Path) -> None:
    findings = check_case(native_case(tmp_path), ONTO_T1C)
    told = named(findings, "resampled onto another grid")
    assert [finding.severity for finding in told] == ["warning", "warning"]
    assert told[0].detail == (
        "t2f has 15x14x10 voxels of 1x1x1 mm, t1c 12x14x10 voxels of 1x1x1 mm: centres 1.5 mm apart, turned by 0 "
        "degrees, covers 100% of the box"
    )
    assert named(check_headers(native_case(tmp_path), ONTO_T1C), "resampled onto another grid") == told
    (reference,) = named(findings, "reference resampled")
    assert reference.detail == "seg: NETC 1 to 1 mm3, SNFH 9 to 9 mm3, ET 27 to 27 mm3"


def test_voxels_come_to_the_place_that_the_header_says(tmp_path: Path) -> None:
    case = native_case(tmp_path)
    checked = read_case(case, ONTO_T1C)
    assert checked.labels is not None
    np.testing.assert_array_equal(checked.images["t2f"].data, scan(9))
    np.testing.assert_array_equal(checked.labels.labels, two_lesions())
    t1c = read_image(case.sequences["t1c"].path)
    for volume in (*checked.images.values(), checked.labels):
        assert volume.source.shape == t1c.source.shape
        np.testing.assert_array_equal(volume.affine, t1c.affine)


def test_the_store_is_that_of_scans_on_one_grid(tmp_path: Path) -> None:
    native = native_case(tmp_path / "native")
    make_case(tmp_path / "plain", volumes={"t1n": scan(1), "t2f": scan(9)})
    with pytest.raises(DataError, match="shapes differ"):
        preprocess(tmp_path / "native", tmp_path / "refused", Preprocess(), data=Data())
    stores = [tmp_path / name for name in ("native-store", "plain-store")]
    preprocess(tmp_path / "native", stores[0], Preprocess(), data=ONTO_T1C)
    preprocess(tmp_path / "plain", stores[1], Preprocess(), data=Data())
    found, expected = (open_store(store).read(native.name) for store in stores)
    np.testing.assert_array_equal(found.image(), expected.image())
    np.testing.assert_array_equal(found.labels(), expected.labels())


def test_places_that_do_not_meet_are_an_error_that_names_both(tmp_path: Path) -> None:
    away = np.eye(4)
    away[1, 3] = SHAPE[1]
    case = make_case(tmp_path, affines={"t1c": away})
    findings = [one for one in check_case(case, ONTO_T1C) if one.severity == "error"]
    assert {finding.what for finding in findings} == {"scans do not overlap"}
    assert len(findings) == 4
    assert findings[0].detail.startswith("t1n covers x -0..12 y -0..14 z -0..10, t1c x -0..12 y 14..28 z -0..10")


def test_what_says_nothing_of_its_place_is_not_resampled(tmp_path: Path) -> None:
    import nibabel

    case = native_case(tmp_path)
    path = case.sequences["t2f"].path
    image = nibabel.load(path)
    image = nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header)
    image.header.set_sform(None, 0)
    image.header.set_qform(None, 0)
    nibabel.save(image, path)
    findings = [one for one in check_case(case, ONTO_T1C) if one.severity == "error"]
    assert [finding.what for finding in findings] == ["grids differ"]
    assert "t2f does not say where its voxels lie" in findings[0].detail


def test_a_reference_beyond_the_grid_says_what_is_lost(tmp_path: Path) -> None:
    labels = np.pad(two_lesions(), ((PAD, 0), (0, 0), (0, 0)))
    labels[0, 3:9, 3:9] = 3
    case = native_case(tmp_path, seg=labels)
    (finding,) = named(check_case(case, ONTO_T1C), "reference resampled")
    assert "ET 63 to 27 mm3" in finding.detail
    assert "outside the box of that grid are lost" in finding.advice
    assert read_labels(tmp_path / case.name / f"{case.name}-seg.nii.gz").labels.shape == (15, 14, 10)
