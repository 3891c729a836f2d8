"""Predicts from Python: arrays or files in; labels, probabilities, uncertainty and lesions out.

A predictor is made once, `mets3d.Predictor.from_pretrained("runs/brats_mets")`, and called with images [4, X, Y, Z] in
RAS+ and their spacing, or its `predict_files` with a case's folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import torch
from jaxtyping import Float32, Num, UInt8

from mets3d.data import DataError
from mets3d.data.brain import with_background
from mets3d.data.cases import Case, Scan, find_cases
from mets3d.data.check import check_headers
from mets3d.data.nifti import Grid, ImageVolume
from mets3d.data.patients import patient_of
from mets3d.inference.channels import Channels
from mets3d.inference.colour_tables import write_colour_tables
from mets3d.inference.decoding import Decoded, decode
from mets3d.inference.decoding_plan import CaseDecoding, DecodingPlan
from mets3d.inference.decoding_settings import Decoding
from mets3d.inference.ensemble import Autocast, Ensemble, Loaded
from mets3d.inference.lesion_table import in_scanner_space
from mets3d.inference.outputs import forget_case, write_case
from mets3d.inference.setup import Choices, set_up
from mets3d.ops.voxels import Spacing
from mets3d.regions import RC, Target, scored_regions
from mets3d.rundir import DEFAULT_DECODING, ExportDir, PredictionsDir

Word = TypeVar("Word", bound=str | Path)

Precision = Literal["no", "fp16", "bf16"]
# Sequences by their names now and before.
SUFFIX = r"((^|[-_])(t1n|t1c|t2w|t2f|t1ce|t1|t2|flair))?\.(nii(\.gz)?|nrrd|nhdr|mgz|mgh|img)$"


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The findings in one case, on its own RAS grid.

    `probabilities` are by channel name: WT, TC, ET[, RC], or in label mode background first. `lesions` has one dict per
    predicted lesion: region, lesion, volume_mm3, x_mm, y_mm, z_mm (of files RAS mm in the scanner, of an array index
    times spacing), i, j, k (its voxel in `labels`), peak_probability, mean_probability, voxels. `uncertainty` is the
    binary entropy in bits, the largest over the regions.
    """

    labels: UInt8[np.ndarray, "X Y Z"]
    probabilities: dict[str, Float32[np.ndarray, "X Y Z"]]
    uncertainty: Float32[np.ndarray, "X Y Z"]
    lesions: list[dict[str, Any]]
    case: str | None = None  # None for an array
    decoding: str = DEFAULT_DECODING  # how the labels were decoded, as the column of that name in scores.csv
    # What was segmented, to be shown: the files, or the arrays by sequence and their spacing.
    scans: Case | tuple[Mapping[str, Num[np.ndarray, "X Y Z"]], Spacing] | None = None

    @property
    def volumes_mm3(self) -> dict[str, float]:
        """The volume of each region in the label map."""
        regions = [region.name for region in scored_regions(cavity=RC.name in self.probabilities)]
        return {
            name: sum(float(row["volume_mm3"]) for row in self.lesions if row["region"] == name) for name in regions
        }

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.labels.shape))
        volumes = ", ".join(f"{name} {volume / 1000:.3g} ml" for name, volume in self.volumes_mm3.items())
        return f"Segmentation({self.case or 'array'}, {shape}: {volumes})"

    def _repr_html_(self) -> str:
        """Shows the scans with what was found in a notebook."""
        import mets3d

        return str(mets3d.view(self)._repr_html_())


class Predictor:
    """A run, or several averaged, ready for cases. The networks stay on the device."""

    def __init__(self, ensemble: Ensemble, plan: DecodingPlan):
        self.ensemble, self.plan = ensemble, plan

    @classmethod
    def from_pretrained(
        cls,
        path_or_hub_id: str | Path,
        *,
        device: str | torch.device | None = None,
        precision: Precision | str | None = None,
        also: str | Path | Sequence[str | Path] = (),
        region_weights: str | Sequence[str] = (),
        decoding: str | Path | None = None,
        overrides: str | Sequence[str] = (),
    ) -> Predictor:
        """Loads a run directory, a folder that `mets3d export` wrote, or such a folder on the hub.

        A local folder is taken where there is one; else `organisation/name` is fetched with `huggingface_hub`, which
        keeps it in its cache. device: None is the first GPU, else the CPU. precision: `no`, `fp16`, `bf16`, or None for
        the run's own. `also`: more runs, averaged as probabilities; region_weights: `["ET=1,2"]`, one number per run.
        decoding: None is decoding.json of a single run if it has one, else one threshold; `"default"`; or a file. As in
        `mets3d predict` a case that the tuning knew is decoded with settings that were chosen without its patient.
        overrides: words like `--predict.overlap=0.75`. A single text is one run, one word.

        Raises FileNotFoundError for what is not there, and ValueError for runs and settings that do not go together.
        """
        if precision is not None and precision not in get_args(Precision):
            raise ValueError(f"precision: expected {', '.join(get_args(Precision))} or None, found {precision!r}")
        run, *others = (_folder(path) for path in (path_or_hub_id, *_listed(also)))
        setup = set_up(run, Choices(others, _listed(region_weights), decoding, _listed(overrides)))
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        autocast = _autocast(chosen, precision or setup.config.precision)
        ensemble = Ensemble(setup.members, setup.config.predict, setup.weights, chosen, autocast, reading=setup.reading)
        return cls(ensemble, setup.plan)

    def __repr__(self) -> str:
        runs = ", ".join(str(member.run.path) for member in self.ensemble.members)
        regions = " ".join(region.name for region in self.target.regions)
        return f"Predictor({runs}: {regions} on {self.ensemble.device})"

    @property
    def sequences(self) -> tuple[str, ...]:
        """The order of the channels of an image array."""
        return self.ensemble.sequences

    @property
    def target(self) -> Target:
        """What the channels of the probabilities mean."""
        return self.ensemble.target

    @property
    def decoding(self) -> Decoding:
        """The settings of new cases, by region."""
        return self.plan.new

    def __call__(self, images: Any, spacing_mm: Any, *, patient: str | None = None) -> Segmentation:
        """Segments one case of numbers [C, X, Y, Z], an array or a tensor, and its spacing along X, Y, Z in mm.

        The numbers are in RAS+, one channel per sequence in the order of `sequences`, intensities as in the files; 0 in
        all sequences, or the constant around the brain, is outside it (`mets3d.data.brain`). patient: whose case it is;
        one whom a tuning of the decoding knew is decoded with settings that were chosen without them. Raises ValueError
        for another kind of array or spacing, no brain, a sequence that is constant in it, NaN or infinity.
        """
        spacing, array = _spacing(spacing_mm), _image_array(images, self.sequences)
        volumes = {name: _volume(image, spacing) for name, image in zip(self.sequences, array, strict=True)}
        found, _ = self._segment(self.ensemble.load(volumes), None, self.plan.of(None, patient))
        return replace(found, scans=(dict(zip(self.sequences, array, strict=True)), spacing))

    def predict_files(
        self,
        files: Mapping[str, str | Path] | str | Path,
        out: str | Path | None = None,
        *,
        probabilities: bool = False,
    ) -> Segmentation:
        """Segments one case of files: `{"t1n": FILE, "t1c": ..., "t2w": ..., "t2f": ...}` or its folder.

        A run that was trained with `preprocess.brain: file` needs `"mask"` too. The result is on the case's RAS grid.
        With `out` also writes OUT/CASE.nii.gz and the files that `mets3d predict` puts beside it, on the t1c's grid,
        in place of those that are there of the case, and without a record: `mets3d predict` will not take them for its
        own. CASE is the folder's name, or for a mapping the t1c file's name without sequence and suffix (`t1c.nii.gz`:
        its folder's name). Raises DataError for missing sequences and grids that differ, and as `__call__`.
        """
        case = _case(files)
        faults = [finding for finding in check_headers(case, self.ensemble.reading) if finding.severity == "error"]
        if faults:
            raise DataError("\n".join(str(fault) for fault in faults))
        found = self.ensemble.read(case)
        segmentation, channels = self._segment(found, case.name, self.plan.of(case.name, case.patient))
        if out is not None:
            decoded = Decoded(segmentation.labels, segmentation.uncertainty, segmentation.lesions)
            folder = PredictionsDir(Path(out))
            forget_case(folder, case.name)
            place = found.grid, self.target, found.spacing_mm
            write_case(folder, case.name, channels, decoded, *place, probabilities=probabilities)
            write_colour_tables(folder, self.target)
        lesions = in_scanner_space(segmentation.lesions, found.spacing_mm, found.grid)
        return replace(segmentation, lesions=lesions, scans=case)

    def _segment(self, case: Loaded, name: str | None, own: CaseDecoding) -> tuple[Segmentation, Channels]:
        channels = self.ensemble.probabilities(case.prepared)
        within, inside = channels.inside()
        decoded = decode(inside, self.target, own.decoding, case.spacing_mm, within=within)
        by_name = dict(zip(self.target.names, channels, strict=True))
        found = Segmentation(decoded.labels, by_name, decoded.uncertainty, decoded.lesions, name, own.how)
        return found, channels


# ---------------------------------------------------------------- where from


def _folder(path_or_hub_id: str | Path) -> Path:
    path = Path(path_or_hub_id)
    if path.is_dir():
        return path
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(path_or_hub_id)):
        raise FileNotFoundError(f"{path}: no such folder; name a run directory, or organisation/name on the hub")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(path_or_hub_id), allow_patterns=ExportDir.needed_names()))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FileNotFoundError(f"{path}: no such folder here, and none fetched from the hub: {reason}") from error


def _autocast(device: torch.device, precision: str | None) -> Autocast:
    if precision in (None, "no"):
        return nullcontext
    return lambda: torch.autocast(device.type, dtype=torch.float16 if precision == "fp16" else torch.bfloat16)


# ---------------------------------------------------------------- arguments


def _listed(words: Word | Sequence[Word]) -> Sequence[Word]:
    """Returns a list of words; a text or path alone is one word, not its letters."""
    return [words] if isinstance(words, (str, Path)) else words


def _spacing(spacing_mm: Any) -> Spacing:
    try:
        sides = np.asarray(spacing_mm)
    except (TypeError, ValueError, RuntimeError):
        sides = np.zeros(0)
    if sides.shape != (3,) or sides.dtype.kind not in "iuf" or not (np.isfinite(sides) & (sides > 0)).all():
        raise ValueError(f"spacing_mm: expected three numbers above 0, in mm, along X, Y, Z; found {spacing_mm!r}")
    x_mm, y_mm, z_mm = map(float, sides)
    return x_mm, y_mm, z_mm


def _image_array(images: Any, sequences: Sequence[str]) -> Num[np.ndarray, "C X Y Z"]:
    wanted = f"images: expected an array of numbers [{len(sequences)}, X, Y, Z]"
    if isinstance(images, torch.Tensor):
        images = images.detach().cpu()
        images = images.float() if images.dtype == torch.bfloat16 else images  # which NumPy has not
    try:
        array = np.asarray(images)
    except (TypeError, ValueError, RuntimeError):  # rows of different lengths
        raise ValueError(f"{wanted}, found {type(images).__name__} that is none") from None
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{wanted}, found {array.dtype}")
    if array.ndim != 4 or not array.size:
        raise ValueError(f"{wanted}, found shape {array.shape}")
    if len(array) != len(sequences):
        raise ValueError(f"expected {len(sequences)} channels ({', '.join(sequences)}), found {len(array)}")
    return array


def _volume(image: Num[np.ndarray, "X Y Z"], spacing_mm: Spacing) -> ImageVolume:
    affine = np.diag([*spacing_mm, 1.0])
    x, y, z = image.shape
    grid = Grid((x, y, z), affine, spacing_mm, {})
    return with_background(ImageVolume(image.astype(np.float32), spacing_mm, affine, grid))


def _case(files: Mapping[str, str | Path] | str | Path) -> Case:
    if not isinstance(files, Mapping):
        cases = find_cases(Path(files))
        if len(cases) != 1:
            raise DataError(f"{files}: expected the folder of one case, found {len(cases)} cases")
        return cases[0]
    sequences = {name: Path(file) for name, file in files.items()}
    mask = sequences.pop("mask", None)
    first = sequences.get("t1c") or next(iter(sequences.values()), Path("case"))
    name = re.sub(SUFFIX, "", first.name, flags=re.IGNORECASE) or first.resolve().parent.name
    scans = {key: Scan(file) for key, file in sequences.items()}
    return Case(name, first.parent, scans, None, patient_of(name), mask=mask)
