"""Oddities of labels, intensities and whole data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mets3d.data.cases import SEQUENCES
from tests.builders.cases import RAS, SHAPE, make_case
from tests.builders.oddities import Change, Volumes, name_of, of_second, patient, patients, row, with_value


def relabelled(ours: dict[int, int]) -> Change:
    """Returns a change that writes other integers for the labels."""
    table = np.arange(256, dtype=np.uint8)
    for label, integer in ours.items():
        table[label] = integer
    return lambda volumes, _: {**volumes, "seg": table[volumes["seg"]]}


def exchanged(one: str, other: str) -> Change:
    """Returns a change that gives two sequences each other's name."""
    return lambda volumes, _: {**volumes, one: volumes[other], other: volumes[one]}


def in_second(change: Change) -> Change:
    """Returns the change for the second patient alone."""
    return lambda volumes, number: change(volumes, number) if number == 2 else volumes


@row("nothing odd", says=[], then="stores 3 cases")
def nothing_odd(data: Path) -> None:
    patients(data)


# ---------------------------------------------------------------- labels


@row(
    "label 4 in the place of 3, as in BraTS up to 2021",
    says=["error: no enhancing tumour", "note: cavity present"],
    then="refuses",
)
def old_labels(data: Path) -> None:
    patients(data, relabelled({3: 4}))


@row("the same with data.labels {4: 3}", says=[], then="stores 3 cases", data={"labels": {4: 3}})
def old_labels_mapped(data: Path) -> None:
    patients(data, relabelled({3: 4}))


@row("labels in the order of MSD: 1 oedema, 2 core", says=["error: labels in another order"], then="refuses")
def msd_order(data: Path) -> None:
    patients(data, relabelled({1: 2, 2: 1}))


@row("labels 1 core, 2 enhancing, 3 oedema", says=["error: labels in another order"], then="refuses")
def enhancing_second(data: Path) -> None:
    patients(data, relabelled({3: 2, 2: 3}))


@row("label 1 alone", says=["error: a single label"], then="refuses")
def single_label(data: Path) -> None:
    patients(data, relabelled({2: 0, 3: 1}))


@row(
    "label 1 alone, with data.labels {1: 3}",
    says=["note: a single label"],
    then="stores 3 cases",
    data={"labels": {1: 3}},
)
def single_label_mapped(data: Path) -> None:
    patients(data, relabelled({2: 0, 3: 1}))


@row("label 6 in 2 voxels", says=["error: unknown label"], then="refuses")
def illegal_label(data: Path) -> None:
    patients(data, of_second(seg=with_value(6, (5, 5, 5), (5, 5, 6))))


@row(
    "label 6 in 2 voxels, data.illegal_labels background",
    says=["warning: unknown label"],
    then="stores 3 cases",
    data={"illegal_labels": "background"},
)
def illegal_label_dropped(data: Path) -> None:
    patients(data, of_second(seg=with_value(6, (5, 5, 5), (5, 5, 6))))


@row(
    "labels 1000, data.illegal_labels background",
    says=["warning: unknown label"],
    then="stores 3 cases",
    data={"illegal_labels": "background"},
)
def labels_beyond(data: Path) -> None:
    patients(data, of_second(seg=with_value(1000, (5, 5, 5), kind="int16")))


@row("an empty reference", says=["note: empty reference"], then="stores 3 cases")
def empty_reference(data: Path) -> None:
    patients(data, of_second(seg=np.zeros_like))


@row(
    "half of the references empty",
    says=["note: empty reference", "warning: many empty references"],
    then="stores 4 cases",
)
def empty_references(data: Path) -> None:
    patients(data, lambda volumes, number: volumes if number % 2 else {**volumes, "seg": volumes["seg"] * 0}, cases=4)


@row("one label voxel outside the brain", says=["warning: label outside the brain"], then="stores 3 cases")
def one_voxel_outside(data: Path) -> None:
    patients(data, of_second(seg=with_value(2, (0, 0, 0))))


@row("3 of a lesion's voxels outside the brain", says=["error: label outside the brain"], then="refuses")
def lesion_outside(data: Path) -> None:
    patients(data, of_second(seg=with_value(2, (2, 5, 5), (1, 5, 5), (1, 5, 4), (1, 5, 6))))


# ---------------------------------------------------------------- sequences


@row("t1n and t1c swapped in all cases", says=["warning: t1n and t1c swapped?"], then="stores 3 cases")
def t1_swapped(data: Path) -> None:
    patients(data, exchanged("t1n", "t1c"))


@row("t1n and t1c swapped in one case", says=["warning: t1n and t1c swapped?"], then="stores 3 cases")
def t1_swapped_once(data: Path) -> None:
    patients(data, in_second(exchanged("t1n", "t1c")))


@row("t2w and t2f swapped in all cases", says=["warning: t2w and t2f swapped?"], then="stores 3 cases")
def t2_swapped(data: Path) -> None:
    patients(data, exchanged("t2w", "t2f"))


@row("one file as two sequences", says=["warning: duplicated channels"], then="stores 3 cases")
def channel_twice(data: Path) -> None:
    patients(data, in_second(lambda volumes, _: {**volumes, "t2w": volumes["t2f"]}))


@row("one case under two names", says=["warning: case there twice"], then="stores 4 cases")
def case_twice(data: Path) -> None:
    patients(data)
    make_case(data, name_of(4), volumes=patient(2))


@row("one scan in two cases", says=["warning: scan of another case"], then="stores 3 cases")
def scan_twice(data: Path) -> None:
    patients(data, in_second(lambda volumes, _: {**volumes, "t1n": patient(1)["t1n"]}))


# ---------------------------------------------------------------- geometry


@row(
    "RAS and LPS files, world frames that do not meet",
    says=["note: mixed orientations", "note: mixed world frames"],
    then="stores 4 cases",
)
def two_cohorts(data: Path) -> None:
    atlas, glioma = RAS.copy(), np.diag([-1.0, -1.0, 1.0, 1.0])
    atlas[1, 3] = glioma[1, 3] = SHAPE[1] - 1
    for number in range(1, 5):
        make_case(data, name_of(number), volumes=patient(number), affine=atlas if number % 2 else glioma)


@row(
    "voxels of 5 mm in one case of 1 mm",
    says=["warning: voxel size unlike the others'"],
    then="stores 3 cases",
    preprocess={"spacing_mm": (2.0, 2.0, 2.0)},
)
def spacing_outlier(data: Path) -> None:
    patients(data, cases=2)
    make_case(data, name_of(3), volumes=patient(3), affine=np.diag([5.0, 5.0, 5.0, 1.0]))


# ---------------------------------------------------------------- intensities and the brain


@row("one voxel of 1e7", says=["warning: outlier takes the scale"], then="stores 3 cases")
def outlier(data: Path) -> None:
    patients(data, of_second(t1c=with_value(1e7, (5, 5, 5), kind="float32")))


@row("NaN inside the brain", says=["error: not a number"], then="refuses")
def nan_inside(data: Path) -> None:
    patients(data, of_second(t1c=with_value(np.nan, (5, 5, 5), kind="float32")))


@row("a constant image", says=["error: constant image"], then="refuses")
def constant(data: Path) -> None:
    patients(data, of_second(t2w=np.ones_like))


@row("a hole of zeros inside the brain", says=["warning: zeros inside the brain"], then="stores 3 cases")
def hole(data: Path) -> None:
    block = [(x, y, z) for x in (5, 6) for y in (9, 10) for z in (4, 5)]
    patients(data, of_second(t2f=with_value(0, *block)))


@row("a sequence that shows half of the brain", says=["warning: part of the brain"], then="stores 3 cases")
def half_covered(data: Path) -> None:
    def change(volume: np.ndarray) -> np.ndarray:
        volume[: SHAPE[0] // 2] = 0
        return volume

    patients(data, of_second(t2w=change))


@row("a brain cut at the top of the volume", says=["warning: cut brain"], then="stores 3 cases")
def cut_brain(data: Path) -> None:
    patients(data, in_second(lambda volumes, _: {kind: volume[:, :, :8] for kind, volume in volumes.items()}))


@row("hardly any background", says=["warning: skull not stripped?"], then="stores 3 cases")
def no_background(data: Path) -> None:
    def change(volumes: Volumes, _: int) -> Volumes:
        noise = np.random.default_rng(0).integers(1, 60, SHAPE).astype(np.int16)
        return {**volumes, **{sequence: volumes[sequence] + noise for sequence in SEQUENCES}}

    patients(data, in_second(change))


@row(
    "a head whose air is zero",
    says=["note: a single label", "warning: skull not stripped?"],
    then="stores 1 case",
    preprocess={"spacing_mm": (5.0, 5.0, 5.0)},
)
def skull_under_air(data: Path) -> None:
    """A ball of 80 mm in voxels of 5 mm: scalp in its outer 10 mm, then bone and brain."""
    shape = (40, 40, 40)
    from_centre_mm = np.linalg.norm(np.indices(shape) - 19.5, axis=0) * 5
    tissue = np.select([from_centre_mm < 65, from_centre_mm < 70, from_centre_mm < 80], [500, 100, 1200], 0)
    scans = {}
    for channel, sequence in enumerate(SEQUENCES):
        noise = np.random.default_rng(channel).integers(0, 50, shape)
        scans[sequence] = np.where(tissue > 0, tissue + noise, 0).astype(np.int16)
    labels = 3 * (from_centre_mm < 20).astype(np.uint8)
    make_case(data, name_of(1), volumes={**scans, "seg": labels}, affine=np.diag([5.0, 5.0, 5.0, 1.0]))


# ---------------------------------------------------------------- patients


@row("cases that count as one patient", says=["warning: a single patient"], then="stores 3 cases")
def one_patient(data: Path) -> None:
    for number in range(3):
        make_case(data, f"BraTS-MET-00001-{number:03d}", volumes=patient(number))
