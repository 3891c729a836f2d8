"""A data set as it is downloaded, with every oddity at once: 22 tiny phantoms of five editions and two sites."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mets3d.data.nifti import write_image
from mets3d.phantoms.synth import phantom
from tests.builders.runs import TINY

SHAPE, SPACING = (32, 36, 28), (5.0, 5.0, 5.0)
OLD_NAMES = {"t1n": "t1", "t1c": "t1ce", "t2w": "t2", "t2f": "flair", "seg": "seg"}
OLD_EDITIONS = ("Brats18_TCIA01_001_1", "BraTS19_CBICA_AAB_1", "BraTS20_Training_001", "BraTS2021_00000")
ATLAS = tuple(f"BraTS-MET-{number:05d}-000" for number in range(1, 5))
EMPTY = tuple(f"BraTS-MET-{number:05d}-{time:03d}" for number in range(901, 905) for time in (0, 1))
REPAIRED, ILLEGAL, EXCLUDED, INCOMPLETE = (
    *("BraTS-MET-01184-002", "BraTS-MET-01094-002"),
    *("BraTS-MET-01000-000", "BraTS-MET-01001-000"),
)
UNLABELLED = ("BraTS-MET-02001-000", "BraTS-MET-02002-000")
TOP = "MICCAI-LH-BraTS2025-MET-Challenge-Training"


def make_download(folder: Path) -> Path:
    """Writes the data set, an overlay and a list of cases to leave out; returns the one configuration for all of it."""
    top, ucsd = folder / "data" / TOP, folder / "data" / TOP / "UCSD - Training"
    for index, name in enumerate(ATLAS):
        _write(top, name, index)
    for index, name in enumerate(OLD_EDITIONS):
        _write(folder / "data" / "older", name, 10 + index, names=OLD_NAMES, label_of_et=4, orientation="LPS")
    for index, name in enumerate(EMPTY):
        _write(ucsd, name, 20 + index % 3, empty=True, orientation="LPS")
    _write(ucsd, REPAIRED, 30, illegal=8, orientation="PIR")  # its slices are the first axis
    _write(ucsd, ILLEGAL, 31, illegal=6, orientation="LPS")
    _write(ucsd, EXCLUDED, 32, orientation="LPS")
    _write(ucsd, INCOMPLETE, 33, without=("t2w",), orientation="LPS")
    for index, name in enumerate(UNLABELLED):
        _write(folder / "data" / "Validation", name, 40 + index, without=("seg",))
    _write(folder / "corrected", REPAIRED, 30, without=("t1n", "t1c", "t2w", "t2f"), orientation="PIR")
    for place in (top / ATLAS[0], ucsd, folder / "data"):
        (place / f"._{ATLAS[0]}-t1n.nii.gz").write_bytes(b"\x00\x05\x16\x07")
        (place / ".DS_Store").write_bytes(b"\x00")
    (folder / "exclude.txt").write_text(f"{EXCLUDED}  # moved during the scan\n", encoding="utf-8")
    return _configuration(folder)


def _write(
    place: Path,
    name: str,
    index: int,
    *,
    names: dict[str, str] | None = None,
    without: tuple[str, ...] = (),
    empty: bool = False,
    illegal: int | None = None,
    label_of_et: int = 3,
    orientation: str = "RAS",
) -> None:
    patient = phantom(0, index, SHAPE, SPACING)
    labels = patient.labels * (0 if empty else 1)
    lesion = np.argwhere(labels == 3)
    labels = np.where(labels == 3, np.uint8(label_of_et), labels)
    if illegal is not None:
        labels[tuple(lesion[0])] = illegal
    for kind, volume in {**patient.images, "seg": labels}.items():
        if kind not in without:
            stored, affine = _turned(volume, orientation)
            separator = "-" if names is None else "_"
            write_image(place / name / f"{name}{separator}{(names or {}).get(kind, kind)}.nii.gz", stored, affine)


def _turned(volume: np.ndarray, orientation: str) -> tuple[np.ndarray, np.ndarray]:
    """Turns a RAS volume to other axes and gives it the affine that keeps every voxel in its place."""
    import nibabel

    affine = np.diag([*SPACING, 1.0])
    affine[1, 3] = 239.0
    wanted = nibabel.orientations.axcodes2ornt(orientation)
    turn = nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), wanted)
    stored = nibabel.orientations.apply_orientation(volume, turn)
    return np.ascontiguousarray(stored), affine @ nibabel.orientations.inv_ornt_aff(turn, volume.shape)


def _configuration(folder: Path) -> Path:
    import yaml

    tree = {key: dict(value) for key, value in TINY.items()}
    tree["data"] |= {
        "store": str(folder / "store"),
        "exclude": str(folder / "exclude.txt"),
        "overlay": str(folder / "corrected"),
        "illegal_labels": "background",
        "missing_sequences": "zero",
        "cavity": False,
    }
    tree["preprocess"] = {"spacing_mm": list(SPACING)}
    tree["output"] = str(folder / "runs")
    file = folder / "config.yaml"
    file.write_text(yaml.dump(tree), encoding="utf-8")
    return file
