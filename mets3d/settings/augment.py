"""Holds the settings of augmentation, and the presets from which single values may differ."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mets3d.settings.kinds import Factors, Section

Probability = Annotated[float, Field(ge=0, le=1)]
Size = Annotated[float, Field(ge=0, le=1)]  # of a deformation; beyond it a patch would read far more than its case
Sizes = tuple[Size, Size]
Zoom = Annotated[float, Field(gt=0, le=1)]

INTENSITIES = (
    "noise", "blur", "brightness", "brightness_shift", "contrast", "low_resolution", "gamma_inverted", "gamma",
    "bias_field",
)  # fmt: skip
MOVEMENTS = ("mirror", "rotation", "scaling", "elastic")

# What each preset says otherwise than the defaults, which are nnU-Net's list for 3D.
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "default": {},
        # The original 3D TransUNet's list for BraTS regions, nnU-Net v1's `insaneDA2`.
        "brats_regions": {
            "rotation": 0.3, "rotation_degrees": 90.0,
            "scaling": 0.3, "scale": (0.65, 1.6), "scale_per_axis": 0.3,
            "elastic": 0.3,
            "noise": 0.15,
            "blur_sigma": (0.5, 1.5),
            "brightness_range": (0.7, 1.3),
            "brightness_shift": 0.3,
            "contrast_range": (0.65, 1.5),
            "gamma_inverted": 0.15,
            "gamma_range": (0.5, 1.6),
        },
        "spatial": dict.fromkeys(INTENSITIES, 0.0),
        "none": dict.fromkeys((*MOVEMENTS, *INTENSITIES), 0.0),
    }
)  # fmt: skip


class Augment(Section):
    """Random changes of a sample: how probable and how strong they are. Values that are not given are the preset's."""

    preset: Literal["default", "brats_regions", "spatial", "none"] = Field(
        "default",
        description="list to start from: nnU-Net's, the original's, movements, nothing; files below add nothing",
    )
    enabled: bool = Field(True, description="off: the network sees the stored images as they are")
    copy_paste: Probability = Field(0.0, description="probability that a lesion of another case is pasted in")
    mirror: Probability = Field(0.5, description="probability of a mirror, per axis")
    rotation: Probability = Field(0.2, description="probability of a rotation")
    rotation_degrees: float = Field(30.0, ge=0, le=180, description="largest rotation about each axis")
    scaling: Probability = Field(0.2, description="probability of a scaling")
    scale: Factors = Field((0.7, 1.4), description="range of its factor on distances; as in nnU-Net, above 1 shrinks")
    scale_per_axis: Probability = Field(0.0, description="probability that a scaling has a factor for each axis")
    elastic: Probability = Field(0.0, description="probability of an elastic deformation")
    elastic_scale: Sizes = Field(
        (0.0, 0.25), description="range of its smoothness, and of its strength, in sides of the patch"
    )
    noise: Probability = Field(0.1, description="probability of Gaussian noise")
    noise_std: float = Field(
        0.1, ge=0, description="largest standard deviation of the noise, in brain standard deviations"
    )
    blur: Probability = Field(0.2, description="probability of a Gaussian blur; each sequence then has it at 0.5")
    blur_sigma: Factors = Field((0.5, 1.0), description="range of its standard deviation in voxels")
    brightness: Probability = Field(0.15, description="probability of a factor on the intensities, per sample")
    brightness_range: Factors = Field((0.75, 1.25), description="range of that factor, drawn per sequence")
    brightness_shift: Probability = Field(
        0.0, description="probability of a number added to the intensities; each sequence then has it at 0.5"
    )
    brightness_shift_std: float = Field(0.2, ge=0, description="standard deviation of that number")
    contrast: Probability = Field(0.15, description="probability of a contrast change that keeps the range")
    contrast_range: Factors = Field((0.75, 1.25), description="range of its factor, drawn per sequence")
    low_resolution: Probability = Field(
        0.25, description="probability of a lower resolution; each sequence then has it at 0.5"
    )
    low_resolution_zoom: tuple[Zoom, Zoom] = Field((0.5, 1.0), description="range of that resolution, 1: as it was")
    gamma_inverted: Probability = Field(0.1, description="probability of a gamma curve on the inverted image")
    gamma: Probability = Field(0.3, description="probability of a gamma curve that keeps mean and deviation")
    gamma_range: Factors = Field((0.7, 1.5), description="range of both exponents, drawn per sequence")
    bias_field: Probability = Field(0.0, description="probability of a smooth factor over space, as a coil's")
    bias_field_strength: float = Field(0.3, ge=0, le=3, description="largest logarithm of that factor, up or down")
    sequence_dropout: float = Field(
        0.0, ge=0, lt=1, description="probability that a sequence is zero, per sequence; at least one stays"
    )

    @model_validator(mode="before")
    @classmethod
    def _preset_fills(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        preset = values.get("preset", "default")
        return {**PRESETS.get(preset, {}), **values} if isinstance(preset, str) else values

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> Augment:
        for key, value in self:
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"{key} is {list(value)}; expected the smaller number first")
        return self
