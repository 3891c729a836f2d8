"""The model of bytes against what the code holds: parameters to the last one, tensors kept for the backward pass."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch

from mets3d import losses, models
from mets3d.config import Config
from mets3d.losses.value import StepContext
from mets3d.models.transunet import DEFAULT_MEMORY_LEVELS
from mets3d.planning import loss_bytes, network_bytes
from mets3d.planning.memory import CONTEXT_BYTES, GB, Need, need
from mets3d.planning.stages import Stage, worst_moment
from mets3d.regions import Target
from mets3d.settings.loss import BoundaryName

SEQUENCES, TARGET = 4, Target()
SMALL = {
    "strides": [[2, 2, 2]] * 3,
    "features": 8,
    "max_features": 32,
    "vit_depth": 2,
    "vit_width": 48,
    "vit_mlp": 96,
    "vit_heads": 4,
    "queries": 6,
    "width": 48,
    "decoder_mlp": 64,
}
LARGE = {"strides": [[2, 2, 2]] * 5, "features": 32, "max_features": 320}
MODES = ("cnn", "encoder", "decoder", "both")


def configuration(mode: str = "decoder", precision: str = "no", **sections: dict[str, Any]) -> Config:
    return Config.model_validate(
        {
            "precision": precision,
            "data": {"patch": [32, 32, 32]} | sections.get("data", {}),
            "model": {"mode": mode, **SMALL, **sections.get("model", {})},
            "loss": {"boundary_schedule": "constant"} | sections.get("loss", {}),
            "train": {"batch_size": 2} | sections.get("train", {}),
            "optim": sections.get("optim", {}),
        }
    )


def needed(config: Config) -> Need:
    return need(config, sequences=SEQUENCES, channels=TARGET.channels)


def stages_of(config: Config) -> list[Stage]:
    sizes = network_bytes.Sizes(
        *(config.model, config.data.patch, config.train.batch_size, SEQUENCES, TARGET.channels),
        *(2 if config.precision == "bf16" else 4, config.train.recompute),
    )
    return [*network_bytes.network_stages(sizes), *loss_bytes.loss_stages(sizes, config.loss)]


def kept_bytes(config: Config) -> int:
    """The bytes of all tensors that forward pass and loss keep for the backward pass, parameters and image left out."""
    torch.manual_seed(0)
    network = models.build(config.model, in_channels=SEQUENCES, target=TARGET, patch=config.data.patch)
    network.recompute(config.train.recompute)
    loss = losses.build(config.loss, target=TARGET, steps=2, queries=config.model.has_queries)
    image = torch.randn(config.train.batch_size, SEQUENCES, *config.data.patch)
    target = torch.zeros(config.train.batch_size, TARGET.channels, *config.data.patch, dtype=torch.bool)
    target[..., 4:12, 4:12, 4:12] = True
    there = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), image, target)}
    found: dict[int, int] = {}
    held = []  # so that no address is used twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        held.append(storage)
        found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
            output = network(image)
        context = StepContext(1, masks=torch.tensor(6.0), ratio=torch.tensor(1.0), spacing_mm=[(1.0, 1.0, 1.0)] * 2)
        value = loss(output, target, context)
    assert torch.isfinite(value.total)
    return sum(size for address, size in found.items() if address not in there)


CASES: dict[str, dict[str, Any]] = {
    **{f"{mode} {kind}": {"mode": mode, "precision": kind} for mode in MODES for kind in ("no", "bf16")},
    "recompute 1": {"train": {"recompute": 1}},
    "recompute all": {"mode": "cnn", "train": {"recompute": 9}},
    "anisotropic": {
        "data": {"patch": [32, 32, 16]},
        "model": {"strides": [[2, 2, 1], [2, 2, 2], [2, 2, 2]], "kernels": [[3, 3, 1], *[[3, 3, 3]] * 3]},
    },
    "many queries": {"model": {"queries": 40, "memory_levels": [-2, -1]}},
    "no deep heads": {"mode": "both", "model": {"deep_supervision": False}},
    "final prediction": {
        "model": {"features": 4, "decoder_layers": 6, "deep_supervision": False},
        "loss": {"query_predictions": "final"},
    },
    "erosion": {"loss": {"boundary": "hausdorff_erosion"}},
    "erosion, cnn": {"mode": "cnn", "loss": {"boundary": "hausdorff_erosion", "boundary_erosions": 4}},
    "convolution": {"loss": {"boundary": "hausdorff_convolution", "boundary_radii_mm": [2, 4]}},
    "conditioned": {"mode": "cnn", "loss": {"boundary": "hausdorff_conditioned"}},
    "generalised": {"mode": "cnn", "loss": {"boundary": "generalized_surface"}},
    "region-wise": {"mode": "cnn", "loss": {"boundary": "region_wise"}},
    "signed": {"mode": "cnn", "loss": {"boundary": "signed_distance"}},
    "blob": {"loss": {"boundary": "blob"}},
    "cell": {"mode": "cnn", "loss": {"boundary": "cc_dice", "boundary_inside": "dice"}},
    "tversky": {"mode": "cnn", "loss": {"boundary": "focal_tversky"}},
    "top": {"mode": "cnn", "loss": {"boundary": "top_k"}},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_kept_is_as_counted(case: dict[str, Any]) -> None:
    config = configuration(**case)
    model = sum(stage.kept for stage in stages_of(config))
    assert model == pytest.approx(kept_bytes(config), rel=0.15)


@pytest.mark.parametrize(
    "different",
    [
        {},
        {"deep_supervision": False},
        {"deep_heads": 1, "features": 12, "head_bias": None},
        {"kernels": [[1, 3, 3], [3, 3, 3], [5, 3, 1], [3, 3, 3]], "strides": [[1, 2, 2], [2, 2, 2], [2, 2, 1]]},
        {"memory_fpn": 2},
        {"memory_levels": [-3], "decoder_layers": 2},
        {"decoder_layers": 1},
        {"vit_layer_scale": "correct", "decoder_layer_scale": "reference"},
        {"queries": 3, "width": 96, "decoder_mlp": None, "frozen_cnn_head": True},
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_every_parameter_is_counted(mode: str, different: dict[str, Any]) -> None:
    config = configuration(mode, model=different)
    network = models.build(config.model, in_channels=SEQUENCES, target=TARGET, patch=config.data.patch)
    trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    assert sum(stage.parameters for stage in stages_of(config)) == trained


def test_the_worst_moment_of_a_step_by_hand() -> None:
    stages = [
        Stage("one", kept=100, forward=30, backward=5, parameters=10),
        Stage("two", kept=10, lent=60, forward=20, backward=70, gradient=40),
        Stage("three", kept=20, forward=5, gradient=-10),
    ]
    # Forward 130, 190, 195; backward 130 (60 less, which was lent), then 130 - 20 - 10 + 70 = 170, then 135.
    assert worst_moment(stages, gradients_kept=False).bytes == 195
    assert worst_moment(stages, gradients_kept=False).where == "forward pass, three"
    slow = [*stages[:1], Stage("two", kept=10, backward=200)]
    assert worst_moment(slow, gradients_kept=False) == worst_moment(slow, gradients_kept=True)
    assert worst_moment(slow, gradients_kept=True).bytes == 310
    heavy = [Stage("one", kept=1, parameters=1000), Stage("two", kept=2)]
    assert worst_moment(heavy, gradients_kept=False).bytes == 4000
    assert worst_moment(heavy, gradients_kept=True).bytes == 3


def test_a_need_adds_up() -> None:
    config = configuration("cnn")
    network = models.build(config.model, in_channels=SEQUENCES, target=TARGET, patch=config.data.patch)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    found = needed(config)
    assert found.parts["weights and optimizer"] == 4 * 3 * parameters  # AdamW keeps two numbers for each
    assert found.parts["images and masks"] == 2 * 32**3 * (4 * 4 + 3)
    assert found.peak > sum(found.parts.values())
    assert found.device > found.peak + CONTEXT_BYTES
    for optim, fewer in (
        ({"name": "adam"}, 0),
        ({"name": "sgd"}, 1),
        ({"name": "sgd", "momentum": 0}, 2),
        ({"ema": 0.99}, -1),
        ({"name": "sgd", "ema": 0.99}, 0),
    ):
        assert found.peak - needed(configuration("cnn", optim=optim)).peak == 4 * parameters * fewer


def test_what_lowers_the_need_lowers_it() -> None:
    def peak(**sections: Any) -> float:
        sections["model"] = LARGE | sections.get("model", {})
        return needed(configuration(data={"patch": [128, 128, 128]}, **sections)).peak

    plain = peak()
    assert peak(precision="bf16") < 0.75 * plain
    assert peak(train={"accumulation": 2}) < 0.65 * plain
    assert peak(train={"recompute": 1}) < 0.85 * plain
    assert peak(train={"recompute": 2}) < peak(train={"recompute": 1})
    assert peak(mode="cnn") < plain
    assert peak(model={"features": 16}) < plain
    assert peak(loss={"boundary": "hausdorff_distance"}) > plain
    assert peak(loss={"boundary": "hausdorff_convolution"}) > peak(loss={"boundary": "hausdorff_distance"})


def test_the_step_that_was_measured_on_a_gpu() -> None:
    """docs/training.md: 5469 MiB beside weights, optimizer and old gradients, decoder, 2 x 4 x 128^3 in bf16."""
    config = Config.model_validate({"precision": "bf16"})
    found = needed(config)
    assert found.peak - found.parts["weights and optimizer"] == pytest.approx(5469 * 2**20, rel=0.05)
    assert 5 * GB < found.device < 9 * GB


def test_names_that_are_said_twice_agree() -> None:
    assert network_bytes.DEFAULT_MEMORY_LEVELS == DEFAULT_MEMORY_LEVELS
    assert {*get_args(BoundaryName)} == {*loss_bytes.BOUNDARY}
