from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from mets3d.planning.nnunet import read_nnunet_plan

# Slices of 5 mm along Z, patch 24 x 256 x 320 (Z Y X) in nnU-Net's order.
NOW = {
    "transpose_forward": [0, 1, 2],
    "configurations": {
        "2d": {"patch_size": [256, 256]},
        "3d_fullres": {
            "batch_size": 3,
            "patch_size": [24, 256, 320],
            "spacing": [5.0, 0.5, 0.75],
            "architecture": {
                "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                "arch_kwargs": {
                    "n_stages": 4,
                    "features_per_stage": [24, 48, 96, 160],
                    "kernel_sizes": [[1, 3, 3], [1, 3, 3], [3, 3, 3], [3, 3, 3]],
                    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2], [1, 2, 2]],
                    "n_conv_per_stage": [2, 2, 2, 2],
                },
            },
        },
    },
}
OLDER = {
    "transpose_forward": [2, 0, 1],
    "configurations": {
        "3d_fullres": {
            "batch_size": 2,
            "patch_size": [24, 256, 320],
            "spacing": [5.0, 0.5, 0.75],
            "UNet_class_name": "PlainConvUNet",
            "UNet_base_num_features": 32,
            "n_conv_per_stage_encoder": [2, 2, 2],
            "conv_kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
            "pool_op_kernel_sizes": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
            "unet_max_num_features": 320,
        },
        "3d_cascade_fullres": {"inherits_from": "3d_fullres"},
    },
}


def written(folder: Path, content: Any) -> Path:
    path = folder / "nnUNetPlans.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_the_present_form_is_turned_to_x_y_z(tmp_path: Path) -> None:
    plan = read_nnunet_plan(written(tmp_path, NOW))
    assert plan.spacing_mm == (0.75, 0.5, 5.0)
    assert plan.topology.patch == (320, 256, 24)
    assert plan.topology.strides == ((2, 2, 1), (2, 2, 2), (2, 2, 1))
    assert plan.topology.kernels == ((3, 3, 1), (3, 3, 1), (3, 3, 3), (3, 3, 3))
    assert (plan.features, plan.max_features) == (24, 160)
    assert plan.remarks == ("its batch is 3",)


def test_the_older_form_and_its_transposed_axes(tmp_path: Path) -> None:
    # The first axis there is the array's third, X; then Z and Y.
    plan = read_nnunet_plan(written(tmp_path, OLDER))
    assert plan.spacing_mm == (5.0, 0.75, 0.5)
    assert plan.topology.patch == (24, 320, 256)
    assert plan.topology.strides == ((1, 2, 2), (2, 2, 2))
    assert plan.topology.kernels == ((1, 3, 3), (3, 3, 3), (3, 3, 3))
    assert (plan.features, plan.max_features) == (32, 320)


def changed(key: str, value: Any, content: Any = NOW) -> Any:
    """A copy with another value at a dotted key below 3d_fullres; `...` removes it."""
    one = copy.deepcopy(content)
    place = one["configurations"]["3d_fullres"]
    *sections, last = key.split(".")
    for section in sections:
        place = place[section]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return one


ARCHITECTURE = "architecture.arch_kwargs"


def test_channels_that_do_not_double_and_another_network_are_remarked(tmp_path: Path) -> None:
    content = changed(f"{ARCHITECTURE}.features_per_stage", [24, 60, 96, 160])
    content = changed("architecture.network_class_name", "x.ResidualEncoderUNet", content)
    content = changed(f"{ARCHITECTURE}.n_conv_per_stage", [1, 3, 4, 6], content)
    plan = read_nnunet_plan(written(tmp_path, content))
    assert plan.features is None
    for word in ("[24, 60, 96, 160]", "ResidualEncoderUNet", "[1, 3, 4, 6]"):
        assert any(word in remark for remark in plan.remarks)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([], "an object"),
        ({"configurations": {}}, "transpose_forward missing"),
        ({**NOW, "transpose_forward": [0, 1]}, "transpose_forward: expected an order of the axes"),
        ({**NOW, "configurations": {"2d": {}}}, "configurations.3d_fullres: expected a configuration of a 3-D network"),
        (
            changed("spacing", ...),
            "configurations.3d_fullres.spacing: expected three numbers above 0, found no such key",
        ),
        (changed("spacing", [5, 0, 1]), "spacing: expected three numbers above 0, found [5, 0, 1]"),
        (changed("spacing", [5, "1", 1]), "spacing: expected three numbers above 0"),
        (changed("patch_size", [24, 256]), "patch_size: expected three whole numbers"),
        (changed("patch_size", [25, 256, 320]), "patch_size: expected a multiple of 2 along Z, found 25"),
        (changed("patch_size", [2, 8, 8]), "expected more than one voxel at the bottleneck"),
        (changed(f"{ARCHITECTURE}.strides", [[1, 1, 1]]), "strides: expected a list of three whole numbers"),
        (changed(f"{ARCHITECTURE}.strides", [[2, 2, 2]] * 4), "strides: expected [1, 1, 1] and one entry"),
        (changed(f"{ARCHITECTURE}.kernel_sizes", [[2, 2, 2]] * 4), "kernel_sizes: expected odd sizes"),
        (changed(f"{ARCHITECTURE}.kernel_sizes", 3), "kernel_sizes: expected a list of three"),
        (changed(f"{ARCHITECTURE}.features_per_stage", [32, 64]), "features_per_stage: expected 4 numbers"),
        (changed(f"{ARCHITECTURE}.features_per_stage", "32"), "features_per_stage: expected a list of channels"),
        (changed("UNet_base_num_features", 0, OLDER), "UNet_base_num_features: expected a whole number from 1"),
        (changed("inherits_from", "3d_fullres"), "leads back"),
        (changed("inherits_from", "3d_lowres"), "configurations.3d_lowres: expected"),
    ],
)
def test_a_bad_file_is_refused_with_key_and_expectation(tmp_path: Path, content: Any, expected: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ValueError, match="nnUNetPlans") as refusal:
        read_nnunet_plan(path)
    assert expected in str(refusal.value)


def test_no_json_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "plans.pkl").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(ValueError, match="expected JSON"):
        read_nnunet_plan(tmp_path / "plans.pkl")
    with pytest.raises(FileNotFoundError):
        read_nnunet_plan(tmp_path / "none.json")
