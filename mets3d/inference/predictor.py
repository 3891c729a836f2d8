"""A trained run in Python: arrays or files in; labels, probabilities, uncertainty and lesions out.

A predictor is made once, `mets3d.Predictor.from_pretrained("runs/brats_mets")`, and called with images [4, X, Y, Z] in
RAS+ and their spacing, or its `predict_files` with a case's folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import torch
from jaxtyping import Float32, Num, UInt8

from mets3d.config import Config, ConfigError, overridden
from mets3d.data import DataError
from mets3d.data.cases import Case, find_cases
from mets3d.data.check import check_headers
from mets3d.data.nifti import Grid, ImageVolume, read_image
from mets3d.data.preprocess import Prepared
from mets3d.inference.decoding import Decoded, Decoding, check_tuned_for, decode, decoding_for
from mets3d.inference.ensemble import Autocast, Channels, Ensemble, Member, load_members, member_weights
from mets3d.inference.outputs import forget_case, write_case
from mets3d.ops.voxels import Spacing
from mets3d.regions import Target

Word = TypeVar("Word", bound=str | Path)

Precision = Literal["no", "fp16", "bf16"]
# Sequences by their names now and before.
SUFFIX = r"((^|[-_])(t1n|t1c|t2w|t2f|t1ce|t1|t2|flair))?\.nii(\.gz)?$"
CHANGEABLE = ("predict", "precision")  # what can differ from the training
EXPORTED = ("config.yaml", "plan.json", "model.safetensors", "decoding.json")


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What is found in one case, on its own RAS grid.

    `probabilities` are by channel name: WT, TC, ET[, RC], or in label mode background first. `lesions` has one dict per
    predicted lesion: region, lesion, volume_mm3, x_mm, y_mm, z_mm (index times spacing), peak_probability,
    mean_probability, voxels. `uncertainty` is the binary entropy in bits, the largest over the regions.
    """

    labels: UInt8[np.ndarray, "X Y Z"]
    probabilities: dict[str, Float32[np.ndarray, "X Y Z"]]
    uncertainty: Float32[np.ndarray, "X Y Z"]
    lesions: list[dict[str, Any]]


class Predictor:
    """A run, or several averaged, ready for cases. The networks stay on the device."""

    def __init__(self, ensemble: Ensemble, decoding: Decoding):
        self.ensemble, self.decoding = ensemble, decoding

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
        """The predictor of a run directory, of a folder that `mets3d export` wrote, or of such a folder on the hub.

        A local folder is taken where there is one; else `organisation/name` is fetched with `huggingface_hub`, which
        keeps it in its cache. device: None is the first GPU, else the CPU. precision: `no`, `fp16`, `bf16`, or None for
        the run's own. `also`: more runs, averaged as probabilities; region_weights: `["ET=1,2"]`, one number a run.
        decoding: None is decoding.json of a single run if it has one, else one threshold; `"default"`; or a file.
        overrides: words like `--predict.overlap=0.75`. A single text is one run, one word.

        Raises FileNotFoundError for what is not there, and ValueError for runs and settings that do not go together.
        """
        if precision is not None and precision not in get_args(Precision):
            raise ValueError(f"precision: expected {', '.join(get_args(Precision))} or None, found {precision!r}")
        members = load_members([_folder(path) for path in (path_or_hub_id, *_listed(also))])
        config = settings_of(members[0], _listed(overrides))
        found, _ = chosen_decoding(members, config, decoding, _listed(overrides))
        weights = member_weights(_listed(region_weights), members)
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        autocast = _autocast(chosen, precision or config.precision)
        return cls(Ensemble(members, config.predict, weights, chosen, autocast), found)

    @property
    def sequences(self) -> tuple[str, ...]:
        """The order of the channels of an image array."""
        return self.ensemble.sequences

    @property
    def target(self) -> Target:
        """What the channels of the probabilities mean."""
        return self.ensemble.target

    def __call__(self, images: Any, spacing_mm: Any) -> Segmentation:
        """One case as numbers [C, X, Y, Z], an array or a tensor: RAS+, one channel a sequence in the order of
        `sequences`, intensities as in the files; and its spacing along X, Y, Z in mm.

        0 in all sequences is outside the brain. Raises ValueError for what is no such array or spacing, no brain, a
        sequence that is constant in it, NaN or infinity.
        """
        spacing, array = _spacing(spacing_mm), _image_array(images, self.sequences)
        volumes = {name: _volume(image, spacing) for name, image in zip(self.sequences, array, strict=True)}
        return self._segment(loaded(self.ensemble, volumes))[0]

    def predict_files(
        self,
        files: Mapping[str, str | Path] | str | Path,
        out: str | Path | None = None,
        *,
        probabilities: bool = False,
    ) -> Segmentation:
        """One case as files: `{"t1n": FILE, "t1c": ..., "t2w": ..., "t2f": ...}` or its folder. On its RAS grid.

        With `out` also writes OUT/CASE.nii.gz and what `mets3d predict` puts beside it, on the files' own grid, in
        place of what is there of the case, and without a record: `mets3d predict` will not take it for its own. CASE is
        the folder's name, or for a mapping the t1c file's name without sequence and suffix (`t1c.nii.gz`: its folder's
        name). Raises DataError for missing sequences and grids that differ, and as `__call__`.
        """
        case = _case(files)
        faults = [finding for finding in check_headers(case) if finding.severity == "error"]
        if faults:
            raise DataError("\n".join(str(fault) for fault in faults))
        found = read_case(self.ensemble, case)
        segmentation, channels = self._segment(found)
        if out is not None:
            decoded = Decoded(segmentation.labels, segmentation.uncertainty, segmentation.lesions)
            forget_case(Path(out), case.name)
            write_case(Path(out), case.name, channels, decoded, found.grid, self.target, probabilities=probabilities)
        return segmentation

    def _segment(self, case: Loaded) -> tuple[Segmentation, Channels]:
        channels = self.ensemble.probabilities(case.prepared)
        within, inside = channels.inside()
        decoded = decode(inside, self.target, self.decoding, case.spacing_mm, within=within)
        by_name = dict(zip(self.target.names, channels, strict=True))
        return Segmentation(decoded.labels, by_name, decoded.uncertainty, decoded.lesions), channels


# ---------------------------------------------------------------- shared with `mets3d predict`


@dataclass(frozen=True, eq=False)
class Loaded:
    """A case read and prepared, and the grid to write on."""

    prepared: list[Prepared]
    grid: Grid
    spacing_mm: Spacing


def read_case(ensemble: Ensemble, case: Case) -> Loaded:
    """Raises DataError for a file that cannot be read and a case that cannot be prepared."""
    return loaded(ensemble, {name: read_image(case.sequences[name]) for name in ensemble.sequences})


def loaded(ensemble: Ensemble, images: Mapping[str, ImageVolume]) -> Loaded:
    """The case with its images prepared, which are not kept."""
    first = images[ensemble.sequences[0]]
    return Loaded(ensemble.prepare(images), first.source, first.spacing_mm)


def settings_of(member: Member, overrides: Sequence[str]) -> Config:
    """The configuration that rules a prediction: the first run's, with overrides. Raises ValueError naming the keys."""
    try:
        return overridden(member.config, overrides, sections=CHANGEABLE)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def chosen_decoding(
    members: Sequence[Member], config: Config, asked: str | Path | None, overrides: Sequence[str]
) -> tuple[Decoding, Path | None]:
    """How to decode, and the file that says so, None for the default.

    Raises ValueError for a file that was tuned for other weights, or that overrules a threshold in `overrides`; and as
    `mets3d.inference.decoding.decoding_for`.
    """
    tuned = decoding_file(members, asked)
    if tuned is not None:
        thresholds = [word for word in overrides if word.partition("=")[0].strip() == "--predict.threshold"]
        if thresholds:
            raise ValueError(
                f"{thresholds[-1]}: {tuned} has the thresholds of this prediction, so this one would not count; change "
                "them there, or take --decoding default"
            )
        check_tuned_for(tuned, [member.weights_sha256 for member in members])
    return decoding_for(members[0].target, config.predict, tuned), tuned


def decoding_file(members: Sequence[Member], asked: str | Path | None) -> Path | None:
    """The file to decode with. A single run's own decoding.json counts unasked; for an average it was not tuned."""
    if asked == "default":
        return None
    if asked is not None:
        return Path(asked)
    own = Path(members[0].run.decoding)
    return own if len(members) == 1 and own.is_file() else None


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
        return Path(snapshot_download(str(path_or_hub_id), allow_patterns=list(EXPORTED)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FileNotFoundError(f"{path}: no such folder here, and none fetched from the hub: {reason}") from error


def _autocast(device: torch.device, precision: str | None) -> Autocast:
    if precision in (None, "no"):
        return nullcontext
    return lambda: torch.autocast(device.type, dtype=torch.float16 if precision == "fp16" else torch.bfloat16)


# ---------------------------------------------------------------- arguments


def _listed(words: Word | Sequence[Word]) -> Sequence[Word]:
    """A text or path alone is one of them, not its letters."""
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
    return ImageVolume(image.astype(np.float32), spacing_mm, affine, Grid((x, y, z), affine, spacing_mm, {}))


def _case(files: Mapping[str, str | Path] | str | Path) -> Case:
    if not isinstance(files, Mapping):
        cases = find_cases(Path(files))
        if len(cases) != 1:
            raise DataError(f"{files}: expected the folder of one case, found {len(cases)} cases")
        return cases[0]
    sequences = {name: Path(file) for name, file in files.items()}
    first = sequences.get("t1c") or next(iter(sequences.values()), Path("case"))
    name = re.sub(SUFFIX, "", first.name, flags=re.IGNORECASE) or first.resolve().parent.name
    return Case(name, first.parent, sequences, None)
