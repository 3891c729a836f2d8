"""Shows a case in a notebook: scans, reference and prediction in the viewer of the report's case pages.

The viewer stands in a frame of its own, whole: nothing is loaded from anywhere, and its styles touch nothing outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Num, UInt8

from mets3d.data import DataError
from mets3d.data.case import Case
from mets3d.data.cases import find_cases
from mets3d.ops.voxels import Spacing
from mets3d.reporting.lesion_lines import place_text
from mets3d.reporting.rendering import render
from mets3d.reporting.sentences import number
from mets3d.reporting.viewer.assets import NOT_BUILT_IN, niivue_script, viewer_script
from mets3d.reporting.viewer.case_layers import CaseLayers, PredictedFiles, SoftMap, read_layers, region_maps
from mets3d.reporting.viewer.contents import viewer_contents
from mets3d.reporting.viewer.embedded import viewer_html
from mets3d.rundir import PredictionsDir

HEIGHT = 860  # of the frame, in pixels
ArrayScans = tuple[Mapping[str, Num[np.ndarray, "X Y Z"]], Spacing]


@runtime_checkable
class Segmented(Protocol):
    """What `Predictor` returns: `inference.predictor.Segmentation`, whose module imports torch, as none may here."""

    labels: UInt8[np.ndarray, "X Y Z"]
    probabilities: dict[str, Float32[np.ndarray, "X Y Z"]]
    uncertainty: Float32[np.ndarray, "X Y Z"]
    lesions: list[dict[str, Any]]
    case: str | None
    scans: Case | ArrayScans | None


@dataclass(frozen=True, eq=False)
class View:
    """A case to be shown; a notebook shows it as the viewer. The files are read when it does."""

    name: str
    scans: Case | ArrayScans
    files: PredictedFiles | None = None
    found: Segmented | None = None

    def __repr__(self) -> str:
        return f"View({self.name})"

    def _repr_html_(self) -> str:
        """Returns the viewer in a frame, or a sentence about files that cannot be shown."""
        try:
            page = self.page()
        except (OSError, ValueError) as error:
            return f"<p>{escape(self.name)} cannot be shown: {escape(str(error))}</p>"
        name = escape(self.name, quote=True)
        return (
            f'<iframe title="Viewer of {name}" width="100%" height="{HEIGHT}" style="border: 0" '
            f'srcdoc="{escape(page, quote=True)}"></iframe>'
        )

    def page(self) -> str:
        """Returns the viewer as a whole HTML page that loads nothing."""
        layers = self._layers()
        lesions = _lesions(self.found, layers) if self.found else []
        contents = viewer_contents(layers, lesions[0].mm if lesions else None)
        niivue = niivue_script()
        contents.data["without_niivue"] = NOT_BUILT_IN
        page = render(
            "notebook.html",
            name=self.name,
            viewer=viewer_html(contents),
            problems=contents.problems,
            lesions=lesions,
            niivue=niivue,
            script=viewer_script(),
        )
        return str(page)  # markup would escape what is done to it once more

    def _layers(self) -> CaseLayers:
        if isinstance(self.scans, Case):
            layers = read_layers(self.scans, [self.files] if self.files else [])
        else:
            layers = _array_layers(*self.scans)
        if self.found is not None:
            _add_found(layers, self.found)
        return layers


def view(case: Case | Segmented | str | Path, prediction: Segmented | str | Path | None = None) -> View:
    """Shows a case in a notebook: `mets3d.view("DATA/CASE")`, `mets3d.view("DATA/CASE", "RUN/predictions")`.

    case: a case, the folder of one, or what a Predictor returned. prediction: a label map, a folder of predictions, or
    what a Predictor returned. Raises FileNotFoundError for what is not there, and ValueError for a folder that is not
    one case's and a segmentation that does not know its scans. Files are read when the notebook shows the view.
    """
    if isinstance(case, Segmented):
        if case.scans is None or prediction is not None:
            raise ValueError("view: expected a segmentation that knows its scans, alone; name the case before it")
        return View(_name(case), case.scans, found=case)
    shown = _case(case)
    if prediction is None:
        return View(shown.name, shown)
    if isinstance(prediction, Segmented):
        return View(shown.name, shown, found=prediction)
    return View(shown.name, shown, files=_files(Path(prediction), shown.name))


# ---------------------------------------------------------------- arguments


def _case(case: Case | str | Path) -> Case:
    if isinstance(case, Case):
        return case
    cases = find_cases(Path(case))
    if len(cases) != 1:
        raise DataError(f"{case}: expected the folder of one case, found {len(cases)} cases")
    return cases[0]


def _name(found: Segmented) -> str:
    return found.case or "an array"


def _files(path: Path, case: str) -> PredictedFiles:
    """Returns the files of a prediction: a label map alone, or what a folder of predictions holds of the case."""
    folder = PredictionsDir(path)
    labels = folder.label_map(case) if path.is_dir() else path
    if not labels.is_file():
        raise FileNotFoundError(f"{labels}: no such file; name a label map, or a folder with one of {case}")
    if labels == path:
        return PredictedFiles("Prediction", labels)
    probabilities, uncertainty = folder.probability_map(case), folder.uncertainty_map(case)
    return PredictedFiles(
        "Prediction",
        labels,
        probabilities if probabilities.is_file() else None,
        uncertainty if uncertainty.is_file() else None,
    )


# ---------------------------------------------------------------- arrays


def _array_layers(images: Mapping[str, Num[np.ndarray, "X Y Z"]], spacing_mm: Spacing) -> CaseLayers:
    """Returns the layers of arrays, whose first voxel is taken as the origin."""
    from mets3d.data.brain import with_background
    from mets3d.data.nifti import Grid, ImageVolume
    from mets3d.reporting.pictures.case_volumes import shown

    affine = np.diag([*spacing_mm, 1.0])
    volumes = {}
    for name, image in images.items():
        x, y, z = image.shape
        volume = ImageVolume(image.astype(np.float32), spacing_mm, affine, Grid((x, y, z), affine, spacing_mm, {}))
        volumes[name] = shown(with_background(volume))
    return CaseLayers(affine, spacing_mm, volumes)


def _add_found(layers: CaseLayers, found: Segmented) -> None:
    """Lays what a Predictor found over the scans. Raises ValueError where it is of another grid."""
    shape = next(iter(layers.images.values())).shape
    if found.labels.shape != shape:
        raise ValueError(f"the scans have {shape} voxels, the segmentation has {found.labels.shape}")
    layers.predictions["Prediction"] = found.labels
    layers.soft.extend(region_maps("Prediction", list(found.probabilities.values()), list(found.probabilities)))
    layers.soft.append(SoftMap("Prediction", None, found.uncertainty))


@dataclass(frozen=True)
class FoundLesion:
    """A predicted lesion as the table beside the viewer shows it."""

    name: str
    volume: str
    peak: str
    mm: tuple[float, ...]

    @property
    def place(self) -> str:
        """Returns its coordinates in words."""
        return place_text(self.mm)

    @property
    def spoken_mm(self) -> str:
        """Returns its coordinates for the viewer."""
        return " ".join(f"{value:.3f}" for value in self.mm)


def _lesions(found: Segmented, layers: CaseLayers) -> Sequence[FoundLesion]:
    """Returns the predicted lesions, innermost region first, with the coordinates of a voxel of each in the scanner."""
    lesions = []
    for row in found.lesions:
        mm = tuple(float(value) for value in (layers.affine @ [row["i"], row["j"], row["k"], 1.0])[:3])
        name = f"{row['region']} {row['lesion']}"
        lesions.append(FoundLesion(name, number(row["volume_mm3"], 1), number(row["peak_probability"], 2), mm))
    order = ("ET", "TC", "WT", "RC")
    return sorted(lesions, key=lambda lesion: order.index(lesion.name.split()[0]))
