"""Defines the layouts that are converted to: where each file of a case goes, and what describes the data set."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from mets3d.data.case import LABELS
from mets3d.regions import BACKGROUND, KNOWN_LABELS, LABEL_NAMES, RC_LABEL, scored_regions

To = Literal["nnunet-v1", "nnunet-v2", "brats"]
FORMS: tuple[To, ...] = ("nnunet-v1", "nnunet-v2", "brats")
ENDING, PLAIN = ".nii.gz", ".nii"


@dataclass(frozen=True)
class Form:
    """A layout to convert to. channels: the sequences that every case must have, in order; none: those it has.

    strict: files go to programs that read them in their own way, so that they must be on one grid and free of oddities.
    """

    to: To
    channels: tuple[str, ...] = ()

    @property
    def strict(self) -> bool:
        """Whether the files are nnU-Net's."""
        return self.to != "brats"

    def place(self, name: str, kind: str, suffix: str, *, learned: bool) -> str:
        """Returns the path of a case's sequence or reference below the target. learned: the case has a reference."""
        if not self.strict:
            return f"{name}/{name}-{kind}{suffix}"
        folder = "labels" if kind == LABELS else "images"
        channel = "" if kind == LABELS else f"_{self.channels.index(kind):04d}"
        return str(PurePosixPath(f"{folder}{'Tr' if learned else 'Ts'}", f"{name}{channel}{ENDING}"))

    def description(self, dataset: str, learned: Sequence[str], tested: Sequence[str], labels: Collection[int]) -> Any:
        """Returns the content of dataset.json; None where the layout has none. labels: those that references hold."""
        cavity = RC_LABEL in labels
        if self.to == "nnunet-v1":
            return self._version_1(dataset, learned, tested, cavity)
        return self._version_2(dataset, len(learned), cavity) if self.to == "nnunet-v2" else None

    def _version_1(self, dataset: str, learned: Sequence[str], tested: Sequence[str], cavity: bool) -> dict[str, Any]:
        known = KNOWN_LABELS if cavity else KNOWN_LABELS[:-1]
        return {
            "name": dataset,
            "description": "brain metastases",
            "tensorImageSize": "4D",
            "reference": "",
            "licence": "",
            "release": "",
            "modality": {str(number): channel for number, channel in enumerate(self.channels)},
            "labels": {str(label): LABEL_NAMES[label] for label in known},
            "numTraining": len(learned),
            "numTest": len(tested),
            "training": [
                {"image": f"./imagesTr/{name}{ENDING}", "label": f"./labelsTr/{name}{ENDING}"} for name in learned
            ],
            "test": [f"./imagesTs/{name}{ENDING}" for name in tested],
        }

    def _version_2(self, dataset: str, count: int, cavity: bool) -> dict[str, Any]:
        regions = scored_regions(cavity)
        labels: Mapping[str, Any] = {
            LABEL_NAMES[BACKGROUND]: BACKGROUND,
            **{region.name: list(region.labels) if len(region.labels) > 1 else region.labels[0] for region in regions},
        }
        return {
            "name": dataset,
            "channel_names": {str(number): channel for number, channel in enumerate(self.channels)},
            "labels": labels,
            "regions_class_order": [region.decoded_as for region in regions],
            "numTraining": count,
            "file_ending": ENDING,
        }
