"""Dice and cross-entropy against loops written from the formulas."""

import math

import pytest
import torch
import torch.nn.functional as F
from monai.losses import DiceLoss

from mets3d.losses.region import (
    batch_dice_loss,
    cross_entropy,
    dice_sums,
    downsampled,
    maximum,
    region_loss,
    soft_dice_loss,
)
from mets3d.regions import Target


def case(channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, channels, 4, 5, 3, generator=generator), torch.rand(2, channels, 4, 5, 3) > 0.7


def one_hot(channels: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(channels, (2, 4, 5, 3), generator=generator)
    logits = torch.randn(2, channels, 4, 5, 3, generator=generator)
    return logits, torch.stack([labels == label for label in range(channels)], 1)


def test_dice_equals_monai_with_the_same_smoothing() -> None:
    logits, target = case()
    expected = DiceLoss(sigmoid=True, smooth_nr=1.0, smooth_dr=1.0)(logits, target.float())
    torch.testing.assert_close(soft_dice_loss(logits.sigmoid(), target), expected)


def test_batch_dice_equals_monai_over_the_batch() -> None:
    logits, target = case()
    expected = DiceLoss(sigmoid=True, batch=True, smooth_nr=1.0, smooth_dr=1.0)(logits, target.float())
    sums = dice_sums(logits, target, exclusive=False)
    torch.testing.assert_close(batch_dice_loss(sums), expected)
    torch.testing.assert_close(region_loss(logits, target, sums=sums)["dice"], expected)


def test_batch_dice_of_labels_leaves_the_background_out() -> None:
    logits, target = one_hot()
    expected = DiceLoss(softmax=True, include_background=False, batch=True, smooth_nr=1.0, smooth_dr=1.0)
    sums = dice_sums(logits, target, exclusive=True)
    torch.testing.assert_close(batch_dice_loss(sums), expected(logits, target.float()))


def test_dice_of_empty_masks_by_hand() -> None:
    probability = torch.zeros(1, 1, 2, 2, 2)
    empty = torch.zeros(1, 1, 2, 2, 2, dtype=torch.bool)
    assert soft_dice_loss(probability, empty).item() == 0
    assert soft_dice_loss(probability + 0.5, empty).item() == pytest.approx(1 - 1 / 5)  # 8 voxels of 0.5


def test_regions_bce_is_the_mean_over_channels_and_voxels() -> None:
    logits, target = case()
    probability = logits.sigmoid()
    by_hand = -torch.where(target, probability, 1 - probability).log().mean()
    torch.testing.assert_close(cross_entropy(logits, target, exclusive=False), by_hand)


def test_labels_ce_is_minus_the_log_of_the_right_channel() -> None:
    logits, target = one_hot()
    right = (logits.softmax(1) * target).sum(1)
    torch.testing.assert_close(cross_entropy(logits, target, exclusive=True), -right.log().mean())


def test_label_dice_leaves_the_background_out() -> None:
    logits, target = one_hot()
    parts = region_loss(logits, target, exclusive=True)
    assert set(parts) == {"dice", "ce"}
    torch.testing.assert_close(parts["dice"], soft_dice_loss(logits.softmax(1)[:, 1:], target[:, 1:]))


def test_parts_carry_their_weights() -> None:
    logits, target = case()
    plain, weighted = region_loss(logits, target), region_loss(logits, target, dice_weight=0.5, ce_weight=2.0)
    torch.testing.assert_close(weighted["dice"], 0.5 * plain["dice"])
    torch.testing.assert_close(weighted["bce"], 2 * plain["bce"])


def test_a_batch_is_the_mean_of_its_samples() -> None:
    logits, target = case()
    for name, value in region_loss(logits, target).items():
        alone = [region_loss(logits[i : i + 1], target[i : i + 1])[name] for i in range(2)]
        torch.testing.assert_close(value, sum(alone) / 2)


def test_half_logits_are_summed_in_fp32() -> None:
    logits = torch.full((1, 1, 64, 64, 32), 3.0, dtype=torch.float16)  # the sum of probabilities exceeds fp16's range
    parts = region_loss(logits, torch.ones(logits.shape, dtype=torch.bool))
    assert parts["dice"].item() == pytest.approx(
        1 - (2 * 131072 * torch.sigmoid(torch.tensor(3.0)).item() + 1) / (131072 * (1 + 1 / (1 + math.exp(-3))) + 1),
        rel=1e-5,
    )


def test_downsampling_keeps_the_masks_boolean_and_in_place() -> None:
    target = torch.zeros(1, 1, 8, 8, 8, dtype=torch.bool)
    target[..., 4:, :, :] = True
    small = downsampled(target, torch.Size((4, 4, 2)))
    assert small.dtype == torch.bool
    assert small[0, 0, :, 0, 0].tolist() == [False, False, True, True]


@pytest.mark.parametrize("shape", [(4, 6, 2), (2, 3, 8), (1, 1, 1)])
def test_the_maximum_of_masks_is_that_of_max_pooling(shape: tuple[int, int, int]) -> None:
    target = torch.rand(2, 3, 8, 12, 8, generator=torch.Generator().manual_seed(0)) > 0.95
    factors = tuple(n // m for n, m in zip(target.shape[2:], shape, strict=True))
    small = maximum(target, torch.Size(shape))
    assert small.dtype == torch.bool
    assert torch.equal(small, F.max_pool3d(target.float(), factors) > 0)


def test_a_lesion_of_one_voxel_is_in_every_deep_target_by_maximum_and_in_none_by_the_nearest() -> None:
    target = torch.zeros(1, 1, 16, 16, 16, dtype=torch.bool)
    target[0, 0, 6, 2, 12] = True
    for n in (8, 4, 2):
        assert maximum(target, torch.Size((n, n, n))).sum() == 1
        assert maximum(target, torch.Size((n, n, n)))[0, 0, 6 * n // 16, 2 * n // 16, 12 * n // 16]
        assert downsampled(target, torch.Size((n, n, n))).sum() == 0


@pytest.mark.parametrize("cavity", [False, True])
def test_the_maximum_of_labels_says_what_the_regions_say(cavity: bool) -> None:
    """One label a voxel, the innermost one: painted from the coarse masks of the nested regions, outermost first."""
    labels, regions = Target("labels", cavity), Target("regions", cavity)
    drawn = torch.rand(2, 8, 8, 4, generator=torch.Generator().manual_seed(0))
    scan = (drawn * 40).long() % 10 * (drawn * 40 % 10 < labels.channels)
    coarse = torch.Size((4, 4, 2))
    outside_in = [region.decoded_as for region in labels.regions]
    found = maximum(torch.stack(labels.masks(scan), 1), coarse, outside_in=outside_in)
    assert (found.sum(1) == 1).all()
    masks = maximum(torch.stack(regions.masks(scan), 1), coarse)
    for sample in range(2):
        assert torch.equal(found[sample].float().argmax(0), regions.decode(masks[sample].float()).long())
    assert found.transpose(0, 1).flatten(1).any(1).all(), "the case is only of use if every label wins somewhere"
