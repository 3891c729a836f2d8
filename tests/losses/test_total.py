"""How the parts of the loss come together."""

from dataclasses import replace
from functools import partial
from typing import Literal, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mets3d import losses
from mets3d.config import Loss
from mets3d.losses import LossFunction, units
from mets3d.losses.blob import blob_loss
from mets3d.losses.boundary import BoundaryTerm, BoundaryWeight
from mets3d.losses.cc_dice import cc_dice_loss
from mets3d.losses.focal_tversky import focal_tversky_loss
from mets3d.losses.generalized_surface import generalized_surface_loss
from mets3d.losses.hausdorff import (
    hausdorff_convolution_loss,
    hausdorff_distance_loss,
    hausdorff_erosion_loss,
    hausdorff_log_loss,
)
from mets3d.losses.hausdorff_conditioned import hausdorff_conditioned_loss
from mets3d.losses.queries import query_loss
from mets3d.losses.region import dice_sums, downsampled, region_loss
from mets3d.losses.region_wise import region_wise_loss
from mets3d.losses.signed_distance import signed_distance_loss
from mets3d.losses.top_k import top_k_loss
from mets3d.losses.total import TotalLoss, base_loss
from mets3d.losses.units import unity
from mets3d.losses.value import StepContext
from mets3d.models.transunet import TransUNet
from mets3d.regions import Target
from mets3d.settings.loss import BoundaryName
from mets3d.shapes import PixelEmbedding, QueryOutput, SegOutput

SIZES = [(1.0, 1.0, 2.0)] * 2  # mm, of each sample
STRIDES = ((2, 2, 2), (2, 2, 2))
VIT = {"vit_depth": 1, "vit_width": 24, "vit_mlp": 24, "vit_heads": 2, "vit_dropout": 0.0}


def network(mode: str, **arguments: object) -> TransUNet:
    torch.manual_seed(0)
    small = {"features": 4, "strides": STRIDES, "patch": (16, 16, 16), "queries": 5, "width": 96, "decoder_layers": 1}
    return TransUNet(mode, **(small | arguments))  # type: ignore[arg-type]


def target_masks(channels: int = 3) -> torch.Tensor:
    return torch.rand(2, channels, 16, 16, 16, generator=torch.Generator().manual_seed(1)) > 0.8


def output_of(mode: str, **arguments: object) -> SegOutput:
    image = torch.randn(2, 4, 16, 16, 16, generator=torch.Generator().manual_seed(2))
    output = network(mode, **arguments)(image)
    assert isinstance(output, SegOutput)
    return output


def test_heads_weigh_one_half_quarter_over_their_sum() -> None:
    output, target = output_of("cnn", strides=((2, 2, 2),) * 3, deep_heads=2), target_masks()
    assert output.logits is not None
    assert len(output.deep) == 2
    heads = [region_loss(output.logits, target)] + [
        region_loss(logits, downsampled(target, logits.shape[2:])) for logits in output.deep
    ]
    by_hand = sum(weight * sum(head.values()) for weight, head in zip((4 / 7, 2 / 7, 1 / 7), heads, strict=True))
    torch.testing.assert_close(sum(base_loss(output, target).values()), by_hand)


@pytest.mark.parametrize("mode", ["decoder", "both"])
def test_beside_queries_deep_heads_weigh_half_of_dice_and_half_of_cross_entropy(mode: str) -> None:
    """The original's total: w0 L + sum w_i (0.5 CE_i + 0.5 Dice_i), with w = 4/7, 2/7, 1/7."""
    output, target = output_of(mode, strides=((2, 2, 2),) * 3, deep_heads=2, **VIT), target_masks()
    parts = base_loss(output, target)
    expected = 4 / 7 * query_loss(output, target, pairing="correct")
    for weight, logits in zip((2 / 7, 1 / 7), output.deep, strict=True):
        p, g = logits.sigmoid(), downsampled(target, logits.shape[2:]).float()
        entropy = -(g * p.log() + (1 - g) * (1 - p).log()).mean()
        overlap, sizes = (p * g).sum((2, 3, 4)), (p + g).sum((2, 3, 4))
        dice = (1 - (2 * overlap + 1) / (sizes + 1)).mean()
        expected = expected + weight * (0.5 * entropy + 0.5 * dice)
    torch.testing.assert_close(sum(parts.values()), expected)
    assert set(parts) == {"query_class", "query_bce", "query_dice", "deep"}


def test_the_final_prediction_alone_is_a_value_and_reaches_every_parameter() -> None:
    net, target = network("decoder", decoder_layers=3), target_masks()
    output = net(torch.randn(2, 4, 16, 16, 16, generator=torch.Generator().manual_seed(2)))
    loss = built(queries=True, query_predictions="final")
    masks = target.flatten(2).any(-1).sum().float()
    value = loss(output, target, StepContext(0, masks=masks))
    alone = replace(output, queries=output.queries[-1:], _mask_logits={})
    torch.testing.assert_close(value.total, query_loss(alone, target, pairing="correct"))
    every = built(queries=True)(output, target, StepContext(0, masks=masks))
    assert abs(every.total - value.total) > 1e-4
    value.total.backward()
    trained = {name: weight.grad for name, weight in net.named_parameters() if weight.requires_grad}
    assert [name for name, gradient in trained.items() if gradient is None] == []
    empty = loss(net(torch.zeros(2, 4, 16, 16, 16)), torch.zeros_like(target), StepContext(0, masks=masks))
    net.zero_grad(set_to_none=True)
    empty.total.backward()
    assert all(weight.grad is not None for weight in net.parameters() if weight.requires_grad)


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("kind", ["regions", "labels"])
def test_targets_of_deep_heads_by_maximum_are_a_value(kind: Literal["regions", "labels"], batch_dice: bool) -> None:
    target_kind = Target(kind)
    activation = "sigmoid" if kind == "regions" else "softmax"
    output = output_of(
        "cnn", strides=((2, 2, 2),) * 3, deep_heads=2, channels=target_kind.channels, activation=activation
    )
    labels = torch.randint(4, (2, 16, 16, 16), generator=torch.Generator().manual_seed(3))
    labels *= torch.rand(labels.shape, generator=torch.Generator().manual_seed(4)) > 0.95
    target = torch.stack(target_kind.masks(labels), 1)
    assert output.logits is not None
    expected = torch.zeros(())
    for share, logits in zip((4 / 7, 2 / 7, 1 / 7), (output.logits, *output.deep), strict=True):
        # Nested regions by max pooling; of labels, those decoded from them.
        pooled = F.max_pool3d(torch.stack(Target().masks(labels), 1).float(), 16 // logits.shape[-1])
        coarse = torch.stack([Target().decode(sample) for sample in pooled])
        masks = torch.stack(target_kind.masks(coarse), 1)
        sums = dice_sums(logits, masks, exclusive=kind == "labels") if batch_dice else None
        head = region_loss(logits, masks, exclusive=kind == "labels", sums=sums)
        expected = expected + share * sum(head.values())
    values = {}
    for how in ("max", "nearest"):
        loss = built(target_kind, batch_dice=batch_dice, deep_targets=how)
        dice = loss.dice_sums(output, target).detach() if batch_dice else None
        values[how] = loss(output, target, StepContext(0, dice=dice)).total
    torch.testing.assert_close(values["max"], expected)
    assert abs(values["nearest"] - expected) > 1e-3


def test_query_modes_have_the_query_loss_in_the_place_of_the_full_resolution_head() -> None:
    output, target = output_of("decoder", deep_supervision=False), target_masks()
    parts = base_loss(output, target)
    torch.testing.assert_close(sum(parts.values()), query_loss(output, target, pairing="correct"))
    reference = base_loss(output, target, query_pairing="reference")
    torch.testing.assert_close(sum(reference.values()), query_loss(output, target))
    assert set(parts) == {"query_class", "query_bce", "query_dice"}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_boundary_term_combines_labels_and_names_each(reduction: str) -> None:
    output, target = output_of("cnn"), target_masks()
    value, by_label = term_of("hausdorff_distance", reduction=reduction)(output, target, SIZES)
    per_label = hausdorff_distance_loss(output.probabilities, target, (1, 1, 2)).mean(0)
    torch.testing.assert_close(value, per_label.mean() if reduction == "mean" else per_label.sum())
    assert list(by_label) == ["WT", "TC", "ET"]
    torch.testing.assert_close(by_label["TC"], per_label[1])
    assert value.requires_grad
    assert not by_label["TC"].requires_grad


# As the settings have them by default.
BY_KIND = {
    "hausdorff_distance": hausdorff_distance_loss,
    "hausdorff_log": hausdorff_log_loss,
    "hausdorff_erosion": partial(hausdorff_erosion_loss, rescale="peak"),
    "hausdorff_convolution": hausdorff_convolution_loss,
    "hausdorff_conditioned": hausdorff_conditioned_loss,
    "signed_distance": signed_distance_loss,
    "generalized_surface": generalized_surface_loss,
    "region_wise": region_wise_loss,
    "blob": partial(blob_loss, inside="dice_ce"),
    "cc_dice": partial(cc_dice_loss, inside="dice_ce"),
    "focal_tversky": focal_tversky_loss,
    "top_k": top_k_loss,
}


def test_every_value_of_the_setting_is_known_here() -> None:
    assert set(get_args(BoundaryName)) == set(BY_KIND)


def built(target: Target | None = None, *, queries: bool = False, **settings: object) -> LossFunction:
    """The loss of these settings over 100 steps."""
    return losses.build(
        Loss(**settings),  # type: ignore[arg-type]
        target=target or Target(),
        steps=100,
        queries=queries,
    )


def term_of(kind: str, target: Target | None = None, **settings: object) -> BoundaryTerm:
    """The boundary term that is built for a value of the setting, without its unit."""
    loss = built(target, boundary=kind, **{f"boundary_{name}": value for name, value in settings.items()})
    assert isinstance(loss, TotalLoss)
    return replace(loss.terms[kind], unit=unity)


def in_unit(kind: str, value: torch.Tensor, **settings: object) -> torch.Tensor:
    """A value of the term in its unit, for the samples of these tests."""
    loss = built(boundary=kind, **{f"boundary_{name}": value for name, value in settings.items()})
    assert isinstance(loss, TotalLoss)
    (unit,) = loss.terms[kind].unit((16, 16, 16), np.array([[1.0, 1.0, 2.0]]))
    return value / unit


@pytest.mark.parametrize("kind", BY_KIND)
@pytest.mark.parametrize("weights", [None, (1.0, 0.0, 3.0)])
def test_each_kind_is_its_loss_weighted_over_labels(kind: str, weights: tuple[float, ...] | None) -> None:
    output, target = output_of("cnn"), target_masks()
    target[0, 2] = False
    per_label = BY_KIND[kind](output.probabilities, target, (1, 1, 2)).mean(0)
    factors = torch.tensor(weights or (1.0, 1.0, 1.0))
    mean, by_label = term_of(kind, label_weights=weights)(output, target, SIZES)
    torch.testing.assert_close(mean, (per_label * factors).sum() / factors.sum())
    torch.testing.assert_close(by_label["ET"], per_label[2])
    total, _ = term_of(kind, label_weights=weights, reduction="sum")(output, target, SIZES)
    torch.testing.assert_close(total, (per_label * factors).sum())


@pytest.mark.parametrize("kind", BY_KIND)
def test_samples_with_voxels_of_their_own_have_the_loss_of_each_alone(kind: str) -> None:
    output, target = output_of("cnn"), target_masks()
    probabilities = output.probabilities
    sizes = [(0.5, 0.5, 1.0), (0.86, 0.86, 0.75)]
    found, _ = term_of(kind)(output, target, sizes)
    alone = [
        BY_KIND[kind](probabilities[index : index + 1], target[index : index + 1], size).mean()
        for index, size in enumerate(sizes)
    ]
    torch.testing.assert_close(found, torch.stack(alone).mean())
    again, _ = term_of(kind)(output, target, sizes)
    assert torch.equal(found, again)
    alike, _ = term_of(kind)(output, target, SIZES)
    torch.testing.assert_close(alike, BY_KIND[kind](probabilities, target, (1, 1, 2)).mean())


def test_a_term_is_told_the_voxel_size_of_each_sample() -> None:
    output, target = output_of("cnn"), target_masks()
    settings = Loss(boundary="hausdorff_distance", boundary_schedule="constant")
    loss = losses.build(settings, target=Target(), steps=100, queries=False)
    with pytest.raises(ValueError, match="spacing_mm: expected the voxel size of each sample"):
        loss(output, target, StepContext(0))
    sizes = [(0.5, 0.5, 1.0), (1.0, 1.0, 2.0)]
    value = loss(output, target, StepContext(0, spacing_mm=sizes))
    # In lesions of 5 mm radius that are wrong at 10 mm from what is right.
    volumes, diagonals = torch.tensor([16**3 * 0.25, 16**3 * 2]), torch.tensor([384.0, 1536.0]).sqrt()
    unit = 4 / 3 * torch.pi * 5**3 / volumes * (10 / diagonals) ** 2
    expected = hausdorff_distance_loss(output.probabilities, target, torch.tensor(sizes)) / unit[:, None]
    torch.testing.assert_close(value.terms["hausdorff_distance"].value, expected.mean())


OPTIONS = [
    ("hausdorff_distance", {"alpha": 1.0, "sides": "directed", "cap_mm": 3.0, "class_balanced": True}, {}),
    ("hausdorff_distance", {"absent": "skip"}, {}),
    ("hausdorff_log", {"alpha": 1.5, "absent": 4.0}, {}),
    ("hausdorff_erosion", {"alpha": 1.0, "erosions": 2}, {}),
    ("hausdorff_erosion", {"rescale": "fixed"}, {}),
    ("hausdorff_convolution", {"alpha": 1.0, "radii_mm": (2.0, 4.0)}, {}),
    ("hausdorff_conditioned", {"alpha": 2.0, "cap_mm": 3.0}, {}),
    ("hausdorff_conditioned", {"absent": "skip"}, {}),
    ("hausdorff_conditioned", {"absent": "zero"}, {}),
    ("generalized_surface", {"absent": "skip"}, {}),
    ("region_wise", {"absent": "zero"}, {"absent": "skip"}),
    ("signed_distance", {"absent": 4.0}, {}),
    ("signed_distance", {"absent": "skip"}, {"absent": "zero"}),
    ("blob", {"inside": "dice"}, {}),
    ("cc_dice", {"inside": "dice"}, {}),
    ("focal_tversky", {"tversky": (0.6, 0.4), "focus": 2.0}, {"weights": (0.6, 0.4), "focus": 2.0}),
    ("top_k", {"top": 0.25}, {}),
]


@pytest.mark.parametrize(("kind", "options", "as_loss"), OPTIONS)
def test_options_reach_the_loss_from_the_settings(
    kind: str, options: dict[str, object], as_loss: dict[str, object]
) -> None:
    output, target = output_of("cnn"), target_masks()
    target[0, 2] = False
    named = {f"boundary_{name}": value for name, value in options.items()}
    loss = built(boundary=kind, boundary_schedule="constant", boundary_weight=2.0, **named)
    value = loss(output, target, StepContext(0, spacing_mm=SIZES))
    expected = BY_KIND[kind](output.probabilities, target, (1, 1, 2), **(as_loss or options)).mean()  # type: ignore[arg-type]
    torch.testing.assert_close(value.terms[kind].value, in_unit(kind, expected.detach(), **options))
    assert not torch.isclose(expected, BY_KIND[kind](output.probabilities, target, (1, 1, 2)).mean(), rtol=1e-4)
    base = sum(base_loss(output, target).values())
    torch.testing.assert_close(value.total, base + 2.0 * in_unit(kind, expected, **options))
    assert value.terms[kind].weight == 2


UNITS = [
    ("hausdorff_distance", {"alpha": 1.0}, partial(units.of_distances, alpha=1.0)),
    ("hausdorff_distance", {"class_balanced": True}, partial(units.of_distances, alpha=2.0, class_balanced=True)),
    ("hausdorff_log", {"class_balanced": True}, partial(units.of_log, alpha=2.0, class_balanced=True)),
    ("hausdorff_log", {"alpha": 1.5}, partial(units.of_log, alpha=1.5)),
    (
        "hausdorff_erosion",
        {"alpha": 1.0, "erosions": 3, "rescale": "fixed"},
        partial(units.of_depths, alpha=1.0, erosions=3, lasting=False),
    ),
    ("hausdorff_erosion", {"rescale": "peak"}, partial(units.of_depths, alpha=2.0, erosions=10, lasting=True)),
    (
        "hausdorff_convolution",
        {"alpha": 1.0, "radii_mm": (2.0, 4.0)},
        partial(units.of_balls, alpha=1.0, radii_mm=(2.0, 4.0)),
    ),
    ("signed_distance", {}, partial(units.of_distances, alpha=1.0)),
    ("generalized_surface", {}, units.of_volume),
    ("region_wise", {}, units.of_volume),
    *((kind, {}, unity) for kind in ("hausdorff_conditioned", "blob", "cc_dice", "focal_tversky", "top_k")),
]


@pytest.mark.parametrize(("kind", "options", "expected"), UNITS)
def test_each_term_has_its_unit_by_the_settings(kind: str, options: dict[str, object], expected: units.Unit) -> None:
    loss = built(boundary=kind, **{f"boundary_{name}": value for name, value in options.items()})
    assert isinstance(loss, TotalLoss)
    box = (16, 20, 12), np.array([[1.0, 1.0, 2.0], [0.7, 0.8, 0.9]])
    assert np.array_equal(loss.terms[kind].unit(*box), expected(*box))


OF_QUERIES = {"query_class": 3.0, "query_bce": 0.5, "query_dice": 9.0, "no_object_weight": 0.2, "query_points": 40}
BASE_SETTINGS: dict[str, dict[str, object]] = {
    "cnn": {"dice_weight": 0.7, "ce_weight": 0.2},
    "decoder": {**OF_QUERIES, "query_pairing": "reference", "query_predictions": "final"},
}


@pytest.mark.parametrize("mode", BASE_SETTINGS)
def test_settings_of_the_base_loss_reach_it(mode: str) -> None:
    output, target, settings = output_of(mode), target_masks(), BASE_SETTINGS[mode]
    context = StepContext(0, masks=torch.tensor(6.0), keys=torch.tensor([3, 4]))

    def total(**chosen: object) -> torch.Tensor:
        return torch.stack(list(base_loss(output, target, context, **chosen).values())).sum()  # type: ignore[arg-type]

    torch.testing.assert_close(
        built(queries=mode == "decoder", **settings)(output, target, context).total, total(**settings)
    )
    for name in settings:  # each of them matters here
        others = {other: value for other, value in settings.items() if other != name}
        assert not torch.isclose(total(**others), total(**settings)), name


BY_PREDICTED_MASK = ["hausdorff_distance", "hausdorff_log", "hausdorff_conditioned"]


@pytest.mark.parametrize("kind", sorted(BY_KIND.keys() - set(BY_PREDICTED_MASK)))
def test_label_mode_leaves_the_background_out_of_each(kind: str) -> None:
    output = output_of("cnn", channels=4, activation="softmax")
    labels = torch.randint(4, (2, 16, 16, 16), generator=torch.Generator().manual_seed(3))
    target = torch.stack(Target("labels").masks(labels), 1)
    value, _ = term_of(kind, Target("labels"))(output, target, SIZES)
    expected = BY_KIND[kind](output.probabilities[:, 1:], target[:, 1:], (1, 1, 2))
    torch.testing.assert_close(value, expected.mean())


def test_label_mode_leaves_the_background_out_and_predicts_by_argmax() -> None:
    output = output_of("cnn", channels=4, activation="softmax")
    labels = torch.randint(4, (2, 16, 16, 16), generator=torch.Generator().manual_seed(3))
    target = torch.stack(Target("labels").masks(labels), 1)
    value, by_label = term_of("hausdorff_distance", Target("labels"))(output, target, SIZES)
    winner = output.probabilities.argmax(1)
    predicted = torch.stack([winner == label for label in (1, 2, 3)], 1)
    expected = hausdorff_distance_loss(output.probabilities[:, 1:], target[:, 1:], (1, 1, 2), predicted=predicted)
    torch.testing.assert_close(value, expected.mean())
    assert list(by_label) == ["NETC", "SNFH", "ET"]


@pytest.mark.parametrize("kind", BY_PREDICTED_MASK)
def test_the_predicted_label_is_that_of_the_scores(kind: str) -> None:
    """Background 1.10, NETC 1.05 and ET 1.80: the predicted mask is ET, which a clamp at 1 or p > 0.5 would hide."""
    scores = torch.zeros(1, 4, 8, 8, 8)
    scores[:, 0], scores[:, 1], scores[:, 3, 2:5] = 1.10, 1.05, 1.80
    certain = torch.full((1, 8, 5), -40.0)
    certain[0, torch.arange(8), torch.arange(8) // 2] = 0.0
    logits = (scores / 2).repeat_interleave(2, 1).logit(1e-9)
    pixels = PixelEmbedding(logits, torch.eye(8), torch.zeros(8))
    output = SegOutput("softmax", queries=(QueryOutput(certain, torch.eye(8)[None]),), pixels=pixels)
    labels = torch.zeros(1, 8, 8, 8, dtype=torch.long)
    labels[:, 2:4] = 3
    target = torch.stack(Target("labels").masks(labels), 1)
    value, _ = term_of(kind, Target("labels"))(output, target, SIZES)
    predicted = torch.zeros(1, 3, 8, 8, 8, dtype=torch.bool)
    predicted[:, 2, 2:5] = True
    bounded = scores / scores.sum(1, keepdim=True).clamp(min=1)
    expected = BY_KIND[kind](bounded[:, 1:], target[:, 1:], (1, 1, 2), predicted=predicted)
    torch.testing.assert_close(value, expected.mean())
    nothing = BY_KIND[kind](bounded[:, 1:], target[:, 1:], (1, 1, 2), predicted=torch.zeros_like(predicted))
    assert abs(nothing.mean() - value) > 1e-4


def test_ramp_by_hand() -> None:
    ramp = BoundaryWeight(peak=7.0, steps=10, ramp=(0.2, 0.6))
    assert [ramp.share(step) for step in (0, 2, 3, 4, 6, 9)] == pytest.approx([0, 0, 0.25, 0.5, 1, 1])
    at_once = BoundaryWeight(peak=7.0, steps=10, ramp=(0.0, 0.0))
    assert [at_once.share(step) for step in (0, 1)] == [0, 1]
    assert BoundaryWeight(peak=7.0, steps=10).share(0) == 1


@pytest.mark.parametrize("mode", ["cnn", "encoder", "decoder", "both"])
def test_built_loss_adds_the_ramped_term_and_reaches_every_parameter(mode: str) -> None:
    net = network(mode, vit_depth=1, vit_width=24, vit_mlp=24, vit_heads=2)
    image, target = torch.randn(2, 4, 16, 16, 16), target_masks()
    term = {"boundary": "hausdorff_distance", "boundary_weight": 3.0, "boundary_ramp": (0.0, 0.5)}
    loss = built(boundary_schedule="ramp", **term)
    output = net(image)
    value = loss(output, target, StepContext(25, spacing_mm=SIZES))
    base, boundary = sum(value.base.values()), value.terms["hausdorff_distance"].value
    torch.testing.assert_close(value.total.detach(), base + 3.0 * 0.5 * boundary)
    value.total.backward()
    without = [name for name, parameter in net.named_parameters() if parameter.requires_grad and parameter.grad is None]
    assert not without
    balanced = built(boundary_schedule="balanced", **term)
    weighed = balanced(output, target, StepContext(25, ratio=torch.tensor([7.0]), spacing_mm=SIZES))
    torch.testing.assert_close(weighed.total.detach(), base + 3.0 * 0.5 * 7.0 * boundary)
    with pytest.raises(ValueError, match="ratio: expected"):
        balanced(output, target, StepContext(25, spacing_mm=SIZES))
    early = loss(net(image), target, StepContext(0))
    assert early.terms == {}
    torch.testing.assert_close(early.total.detach(), torch.stack(list(early.base.values())).sum())


@pytest.mark.parametrize("mode", ["cnn", "decoder"])
def test_a_loss_says_what_it_needs(mode: str) -> None:
    queries = network(mode).has_queries
    assert built(queries=queries).needs_mask_count is queries
    for schedule, boundary, needed in (
        ("balanced", "blob", True),
        ("balanced", "none", False),
        ("ramp", "blob", False),
        ("constant", "blob", False),
    ):
        assert built(boundary=boundary, boundary_schedule=schedule).needs_ratio is needed


def test_the_normaliser_reaches_the_query_loss() -> None:
    output, target = output_of("decoder", deep_supervision=False), target_masks()
    loss = built(queries=True)
    value = loss(output, target, StepContext(0, masks=torch.tensor(12.0)))
    expected = query_loss(output, target, masks=12.0, pairing="correct")
    torch.testing.assert_close(value.total, expected)
    assert not torch.isclose(expected, query_loss(output, target, pairing="correct"))
    with pytest.raises(ValueError, match="masks: expected the mask count of the global batch"):
        loss(output, target, StepContext(0))


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("mode", ["cnn", "encoder", "decoder", "both"])
def test_batch_dice_of_parts_has_the_loss_and_gradient_of_the_whole(mode: str, channels: int) -> None:
    """Two parts of one sample each, the second without foreground, as two processes would see them."""
    target_kind = Target() if channels == 3 else Target("labels")
    net = network(
        mode,
        strides=((2, 2, 2),) * 3,
        channels=channels,
        activation="sigmoid" if channels == 3 else "softmax",
        **VIT,
    ).double()
    image = torch.randn(2, 4, 16, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    labels = torch.randint(4, (2, 16, 16, 16), generator=torch.Generator().manual_seed(3))
    labels[1] = 0
    target = torch.stack(target_kind.masks(labels), 1)
    loss = built(target_kind, queries=net.has_queries, batch_dice=True)
    assert loss.needs_dice_sums
    masks = (target.flatten(2).any(-1)).sum().double()
    whole = loss(net(image), target, StepContext(0, masks=masks, dice=loss.dice_sums(net(image), target).detach()))
    whole.total.backward()
    expected = [parameter.grad.clone() for parameter in net.parameters() if parameter.grad is not None]
    net.zero_grad()
    outputs = [net(image[:1]), net(image[1:])]
    parts = [target[:1], target[1:]]
    sums = torch.stack([loss.dice_sums(output, part) for output, part in zip(outputs, parts, strict=True)]).sum(0)
    context = StepContext(0, masks=masks / 2, dice=sums.detach(), parts=2)
    values = [loss(output, part, context) for output, part in zip(outputs, parts, strict=True)]
    torch.testing.assert_close(torch.stack([value.total for value in values]).mean(), whole.total, rtol=1e-12, atol=0)
    for value in values:
        (value.total / 2).backward()
    found = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-14)
    with pytest.raises(ValueError, match="dice: expected the sums over the global batch"):
        loss(outputs[0], parts[0], StepContext(0, masks=masks))


def test_batch_dice_is_another_loss_on_every_head() -> None:
    output, target = output_of("cnn", strides=((2, 2, 2),) * 3, deep_heads=2), target_masks()
    target[0] = False
    whole, each = base_loss(output, target, batch_dice=True), base_loss(output, target)
    assert whole["bce"] == each["bce"]
    assert abs(whole["dice"] - each["dice"]) > 1e-3
    assert abs(whole["deep"] - each["deep"]) > 1e-3
    assert output.logits is not None
    heads = [output.logits, *output.deep]
    expected = torch.zeros(())
    for share, logits in zip((4 / 7, 2 / 7, 1 / 7), heads, strict=True):
        p, g = logits.sigmoid(), downsampled(target, logits.shape[2:])
        for channel in range(3):
            overlap, sizes = (p * g)[:, channel].sum(), p[:, channel].sum() + g[:, channel].sum()
            expected = expected + share * (1 - (2 * overlap + 1) / (sizes + 1)) / 3
    entropy = base_loss(output, target, batch_dice=True, dice_weight=0.0)
    torch.testing.assert_close(sum(whole.values()) - sum(entropy.values()), expected)
