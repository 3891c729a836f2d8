"""Chooses the regions that the page about a data set shows, and the colours of labels."""

from __future__ import annotations

from collections.abc import Sequence

from mets3d.data.describe_case import CaseNumbers
from mets3d.data.describe_lesions import REGIONS
from mets3d.regions import LABEL_NAMES, RC, Region

COLOUR_OF_LABEL = {region.decoded_as: region.colour for region in REGIONS}
OTHER_COLOUR = "#8C8C8C"


def regions_of(cases: Sequence[CaseNumbers]) -> list[Region]:
    """Returns WT, TC and ET, and RC where any reference has a cavity; none where no reference has a label."""
    seen = {label for case in cases for label in case.labels}
    if not seen:
        return []
    return [region for region in REGIONS if region != RC or seen & set(RC.labels)]


def label_name(label: int) -> str:
    """Returns a label's name; of an unknown one its number."""
    return LABEL_NAMES.get(label, f"label {label}")


def labels_text(labels: Sequence[int]) -> str:
    """Names the labels of a set, as in `NETC + ET`; `empty` without any."""
    return " + ".join(map(label_name, labels)) or "empty"
