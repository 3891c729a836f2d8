"""The presets are nnU-Net's list, the original's for BraTS regions, its movements, and nothing."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from mets3d import augment
from mets3d.config import Augment
from mets3d.data.loader import generator

# nnU-Net v2.8, `nnUNetTrainer.get_training_transforms` in 3D, and what it does not have.
NNUNET: dict[str, Any] = {
    "mirror": 0.5,
    "rotation": 0.2, "rotation_degrees": 30.0,
    "scaling": 0.2, "scale": (0.7, 1.4), "scale_per_axis": 0.0,
    "elastic": 0.0,
    "noise": 0.1, "noise_std": 0.1,
    "blur": 0.2, "blur_sigma": (0.5, 1.0),
    "brightness": 0.15, "brightness_range": (0.75, 1.25),
    "brightness_shift": 0.0,
    "contrast": 0.15, "contrast_range": (0.75, 1.25),
    "low_resolution": 0.25, "low_resolution_zoom": (0.5, 1.0),
    "gamma_inverted": 0.1, "gamma": 0.3, "gamma_range": (0.7, 1.5),
    "bias_field": 0.0, "copy_paste": 0.0, "sequence_dropout": 0.0,
}  # fmt: skip
# 3D-TransUNet's `setup_DA_params_BraTSRegions` with nnU-Net v1's `get_insaneDA_augmentation2`.
ORIGINAL = NNUNET | {
    "rotation": 0.3, "rotation_degrees": 90.0,
    "scaling": 0.3, "scale": (0.65, 1.6), "scale_per_axis": 0.3,
    "elastic": 0.3, "elastic_scale": (0.0, 0.25),
    "noise": 0.15,
    "blur_sigma": (0.5, 1.5),
    "brightness_range": (0.7, 1.3),
    "brightness_shift": 0.3, "brightness_shift_std": 0.2,
    "contrast_range": (0.65, 1.5),
    "gamma_inverted": 0.15, "gamma_range": (0.5, 1.6),
}  # fmt: skip
INTENSITIES = (
    "noise", "blur", "brightness", "brightness_shift", "contrast", "low_resolution", "gamma_inverted", "gamma",
    "bias_field", "sequence_dropout",
)  # fmt: skip
PRESETS = {
    "default": NNUNET,
    "brats_regions": ORIGINAL,
    "spatial": NNUNET | dict.fromkeys(INTENSITIES, 0.0),
    "none": NNUNET | dict.fromkeys((*INTENSITIES, "mirror", "rotation", "scaling", "elastic"), 0.0),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_has_the_values_of_its_source(preset: str) -> None:
    settings = Augment(preset=preset)  # type: ignore[arg-type]
    assert {name: getattr(settings, name) for name in PRESETS[preset]} == PRESETS[preset]
    single = Augment(preset=preset, gamma=0.7, scale=(0.9, 1.1))  # type: ignore[arg-type]
    expected = PRESETS[preset] | {"gamma": 0.7, "scale": (0.9, 1.1)}
    assert {name: getattr(single, name) for name in expected} == expected


@pytest.mark.parametrize("preset", PRESETS)
def test_changes_are_drawn_as_often_as_the_preset_says(preset: str) -> None:
    draw, count = augment.build(Augment(preset=preset), sequences=2), 600  # type: ignore[arg-type]
    names: list[str] = []
    for step in range(count):
        drawn = draw(partial(generator, 1, step, 0))
        names += [type(change).__name__ for change in (*drawn.spatial, *drawn.intensity)]
    values = PRESETS[preset]
    expected = {name: values[name.lower()] for name in ("Rotation", "Scaling", "Elastic", "Noise", "Contrast")}
    expected["Mirror"] = 1 - (1 - values["mirror"]) ** 3
    for name, probability in expected.items():
        assert names.count(name) / count == pytest.approx(probability, abs=0.06), name
    if preset == "none":
        assert not names
