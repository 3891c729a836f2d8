"""Reads what the viewer shows of one case: all its sequences, reference, predictions, probabilities, uncertainty.

What is missing or cannot be read is a sentence, and the rest is shown without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from mets3d.data.case import Case, in_order
from mets3d.data.grids import Placed
from mets3d.data.nifti import Header
from mets3d.ops.voxels import Spacing
from mets3d.regions import Region, Target

Read = TypeVar("Read")
Volume = TypeVar("Volume", bound=Placed)


@dataclass(frozen=True)
class PredictedFiles:
    """The files of one run's prediction of a case, each of which may be missing; `absent` is why, in a sentence."""

    run: str  # its name, or its arm's
    labels: Path | None
    probabilities: Path | None = None
    uncertainty: Path | None = None
    absent: str = ""


@dataclass(frozen=True, eq=False)
class SoftMap:
    """A map of numbers from 0 to 1: the probability of a region, or, where region is None, the uncertainty in bits."""

    run: str
    region: Region | None
    values: Float32[np.ndarray, "X Y Z"]

    @property
    def name(self) -> str:
        """Returns what the map is of, without the run."""
        return "Uncertainty" if self.region is None else f"Probability of {self.region.name}"


@dataclass(frozen=True, eq=False)
class CaseLayers:
    """Volumes of a case on one RAS grid: images by sequence, 0 outside the brain, label maps by run, soft maps.

    `problems` are sentences about what is not there. several: whether names of layers say of which run they are.
    """

    affine: Float64[np.ndarray, "4 4"]
    spacing_mm: Spacing
    images: dict[str, Float32[np.ndarray, "X Y Z"]]
    reference: UInt8[np.ndarray, "X Y Z"] | None = None
    predictions: dict[str, UInt8[np.ndarray, "X Y Z"]] = field(default_factory=dict)
    soft: list[SoftMap] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    several: bool = False


def read_layers(case: Case, predicted: Sequence[PredictedFiles]) -> CaseLayers:
    """Reads a case and its predictions onto the grid that predictions lie on.

    Raises FileNotFoundError or ValueError where no sequence can be read: there is nothing to lay the rest over.
    """
    from mets3d.data.native import reference_of
    from mets3d.data.reading import read_scan_header

    if not case.sequences:
        raise FileNotFoundError(f"{case.name}: none of its scans is there")
    problems: list[str] = []
    grid = read_scan_header(case, reference_of(case.sequences))
    images = {name: _image(case, name, grid, problems) for name in in_order(case.sequences)}
    read = {name: image for name, image in images.items() if image is not None}
    if not read:
        raise ValueError("; ".join(problems))
    reference = _reference(case, grid, problems)
    layers = CaseLayers(grid.affine, grid.spacing_mm, read, reference, problems=problems, several=len(predicted) > 1)
    for files in predicted:
        _add_prediction(layers, files, grid)
    return layers


def region_maps(run: str, channels: Sequence[Float32[np.ndarray, "X Y Z"]], names: Sequence[str]) -> list[SoftMap]:
    """Returns the probability of each region, innermost first, from channels of regions or of labels by name.

    Raises ValueError for names that are no target's.
    """
    from mets3d.inference.region_probabilities import region_probability

    known = (Target("regions"), Target("regions", cavity=True), Target("labels"), Target("labels", cavity=True))
    target = next((target for target in known if target.names == tuple(names)), None)
    if target is None:
        raise ValueError(f"expected the channels of a target, such as WT TC ET, found {' '.join(names)}")
    return [SoftMap(run, region, region_probability(channels, target, region)) for region in reversed(target.regions)]


# ---------------------------------------------------------------- one volume each


def _image(case: Case, name: str, grid: Header, problems: list[str]) -> Float32[np.ndarray, "X Y Z"] | None:
    from mets3d.data.native import image_onto
    from mets3d.data.reading import read_scan
    from mets3d.reporting.pictures.case_volumes import shown

    return _tried(lambda: shown(image_onto(read_scan(case, name), grid)), problems)


def _reference(case: Case, grid: Header, problems: list[str]) -> UInt8[np.ndarray, "X Y Z"] | None:
    from mets3d.data.native import labels_onto
    from mets3d.data.reading import read_reference

    if case.labels is None:
        problems.append("This case has no reference.")
        return None
    return _tried(lambda: labels_onto(read_reference(case), grid).labels, problems)


def _add_prediction(layers: CaseLayers, files: PredictedFiles, grid: Header) -> None:
    """Adds those of one run's maps that are there and lie on the grid."""
    from mets3d.data.nifti import read_image, read_labels, read_probabilities

    if files.labels is None:
        layers.problems.append(files.absent or f"{files.run} has no prediction of this case.")
        return
    labels = _on_grid(files.labels, read_labels, grid, layers.problems)
    if labels is not None:
        layers.predictions[files.run] = labels.labels
    volume = _on_grid(files.probabilities, read_probabilities, grid, layers.problems)
    if volume is not None:
        maps = _tried(lambda: region_maps(files.run, list(volume.data), volume.names), layers.problems)
        layers.soft.extend(maps or [])
    bits = _on_grid(files.uncertainty, read_image, grid, layers.problems)
    if bits is not None:
        layers.soft.append(SoftMap(files.run, None, bits.data))


def _on_grid(file: Path | None, reader: Callable[[Path], Volume], grid: Header, problems: list[str]) -> Volume | None:
    from mets3d.data.native import is_on_grid

    if file is None:
        return None
    volume = _tried(lambda: reader(file), problems)
    if volume is not None and not is_on_grid(volume, grid):
        problems.append(f"{file} lies on another grid than the scans and is not shown.")
        return None
    return volume


def _tried(read: Callable[[], Read], problems: list[str]) -> Read | None:
    """Returns what is read, or None and a sentence about a file that cannot be used."""
    try:
        return read()
    except (OSError, ValueError) as error:
        problems.append(f"{str(error).rstrip('.')}.")
        return None
