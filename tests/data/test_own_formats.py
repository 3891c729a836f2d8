"""Cases of NRRD, MGZ, NIfTI pairs and wrongly named gzip, from check to the store."""

import gzip
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest

from mets3d.config import Preprocess
from mets3d.data.check import check
from mets3d.data.preprocess import preprocess
from mets3d.data.store import open_store
from mets3d.settings import Data
from tests.builders.cases import make_case

NAME = "BraTS-MET-00001-000"


def rewritten(path: Path, form: str) -> None:
    image = nibabel.load(path)
    stem, values = path.name.removesuffix(".nii.gz"), np.asarray(image.dataobj)
    path.unlink()
    if form == "nrrd":
        suffix = ".seg.nrrd" if stem.endswith("-seg") else ".nrrd"
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
        space = {"space": "left-posterior-superior", "space directions": affine[:3, :3].T}
        nrrd.write(str(path.parent / (stem + suffix)), values, {**space, "space origin": affine[:3, 3]})
    elif form == "mgz":
        stored = values.astype(np.int32)
        nibabel.save(nibabel.MGHImage(stored, image.affine), path.parent / f"{stem}.mgz")
    elif form == "pair":
        nibabel.save(nibabel.Nifti1Pair(values, image.affine), path.parent / f"{stem}.hdr")
    else:
        content = bytes(nibabel.Nifti1Image(values, image.affine).to_bytes())
        if form == "plain as gz":
            path.write_bytes(content)
        else:
            (path.parent / f"{stem}.nii").write_bytes(gzip.compress(content))


@pytest.mark.parametrize("form", ["nrrd", "mgz", "pair", "plain as gz", "gz as plain"])
def test_every_format_makes_the_same_store(tmp_path: Path, form: str) -> None:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[:3, 3] = [3, 239, -7]
    for name in ("plain", "other"):
        make_case(tmp_path / name, NAME, affine=affine)
    for path in sorted((tmp_path / "other" / NAME).iterdir()):
        rewritten(path, form)
    assert check(tmp_path / "other").findings == []
    for name in ("plain", "other"):
        preprocess(tmp_path / name, tmp_path / f"{name}-store", Preprocess(), data=Data())
    found, expected = (open_store(tmp_path / f"{name}-store").read(NAME) for name in ("other", "plain"))
    np.testing.assert_array_equal(found.image(), expected.image())
    np.testing.assert_array_equal(found.labels(), expected.labels())
