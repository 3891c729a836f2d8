"""Holds the settings of data: how files are read, prepared and split."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mets3d.regions import KNOWN_LABELS
from mets3d.settings.channels import fault_of
from mets3d.settings.kinds import Counts, Section, VoxelSize

# The settings of `data` that say how the files of a data set are read; the others are about training.
READING = tuple(
    f"data.{key}"
    for key in (
        "sequences", "missing_sequences", "grids", "labels", "illegal_labels", "patients", "exclude", "overlay",
        "cavity",
    )
)  # fmt: skip


class Data(Section):
    """What the network is shown: the store, targets, patches and folds."""

    store: str = Field("store", description="folder written by `mets3d preprocess`")
    cache: str | None = Field(None, description="local folder to copy the store to first; none: it is read where it is")
    sequences: tuple[str, ...] = Field(
        ("t1n", "t1c", "t2w", "t2f"), min_length=1, description="the network's channels; t1c-t1n is their difference"
    )
    missing_sequences: Literal["refuse", "zero"] = Field(
        "refuse", description="a case that lacks a sequence: refuse it, or let the network see zeros"
    )
    grids: Literal["refuse", "t1c"] = Field(
        "refuse", description="a case whose scans differ in grid: refuse it, or resample the scans onto t1c's"
    )
    labels: dict[int, int] | None = Field(
        None, description="the references' integers to ours, as {4: 3}; none: the layout's own map"
    )
    illegal_labels: Literal["error", "background"] = Field(
        "error", description="a reference with a label that is not known: refuse the case, or see background there"
    )
    patients: str | None = Field(
        None, description="file `case,patient`, or a regular expression whose one group is the patient; none: by name"
    )
    exclude: str | None = Field(None, description="file with cases to leave out, one a line, with a reason")
    overlay: str | None = Field(None, description="folder of corrected references, which replace the cases' own")
    split: str | None = Field(
        None, description="file of folds, as nnU-Net's splits_final.json, or of held-out cases; none: folds are made"
    )
    target: Literal["regions", "labels"] = Field(
        "regions", description="learn overlapping regions (sigmoid) or exclusive labels (softmax)"
    )
    cavity: bool = Field(False, description="learn label 4, the resection cavity; off: it becomes background")
    patch: Counts = Field(
        (128, 128, 128), description="voxels per axis that the network sees; a multiple of its strides"
    )
    folds: int = Field(5, ge=2, description="number of folds; patients never cross folds")
    fold: int = Field(0, ge=0, description="the fold held out for validation")
    inner_folds: int | None = Field(
        None,
        ge=2,
        description="choose on the training cases alone: hold out one of so many parts of them instead; none: the fold",
    )
    split_seed: int = Field(12345, ge=0, description="shuffles patients into folds")
    lesion_fraction: float = Field(
        1 / 3, ge=0, le=1, description="share of samples centred on a lesion, lesions being equally likely"
    )
    lesions_per_case: int | None = Field(
        20, ge=1, description="lesions of a case that count at most when the case of such a sample is drawn; none: all"
    )
    workers: int = Field(4, ge=0, description="loader processes per training process; 0 loads in the training process")

    @model_validator(mode="after")
    def _channels_have_names(self) -> Data:
        fault = fault_of(self.sequences)
        if fault:
            raise ValueError(f"sequences: {fault}")
        return self

    @model_validator(mode="after")
    def _labels_are_ours(self) -> Data:
        wrong = {theirs: ours for theirs, ours in (self.labels or {}).items() if ours not in KNOWN_LABELS}
        if wrong:
            raise ValueError(f"labels: expected each integer mapped to one of 0 to {KNOWN_LABELS[-1]}, found {wrong}")
        return self

    @model_validator(mode="after")
    def _fold_exists(self) -> Data:
        if self.split is None and self.fold >= self.folds:
            raise ValueError(f"fold is {self.fold}, but folds are numbered 0 to {self.folds - 1}")
        return self


class Preprocess(Section):
    """How raw files become a store."""

    spacing_mm: VoxelSize | Literal["median", "in_plane"] = Field(
        (1.0, 1.0, 1.0), description="voxel size in mm, the data set's median, or each case's in plane, slices to 1 mm"
    )
    brain: Literal["nonzero", "file", "none"] = Field(
        "nonzero", description="the brain: where a sequence is not background, in a mask's file, or everywhere"
    )
    clip_percentile: float | None = Field(
        None,
        gt=50,
        lt=100,
        description="percentile in the brain at which intensities are clipped at both ends; none: not",
    )
    normalisation: Literal["z_score", "percentile", "nyul"] = Field(
        "z_score", description="how intensities in the brain are made comparable, per sequence"
    )
    margin_voxels: int = Field(0, ge=0, description="voxels kept around the brain's bounding box")
