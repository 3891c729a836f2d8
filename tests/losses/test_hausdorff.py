"""The Hausdorff distance loss: against MONAI, by hand, and what it is for."""

import math

import pytest
import torch
from monai.losses import HausdorffDTLoss

from mets3d.losses.hausdorff import hausdorff_distance_loss


def ball(shape: tuple[int, int, int], centre: tuple[int, int, int], radius: float) -> torch.Tensor:
    axes = torch.meshgrid(*[torch.arange(n) for n in shape], indexing="ij")
    return sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)) <= radius**2


def random_case(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    probability = torch.rand(2, 3, 9, 8, 11, generator=generator)
    target = torch.rand(2, 3, 9, 8, 11, generator=generator) > 0.9
    return probability, target


@pytest.mark.parametrize("emptied", ["nothing", "target", "prediction", "both", "full"])
def test_parity_mode_equals_monai_in_value_and_gradient(emptied: str) -> None:
    probability, target = random_case()
    if emptied in ("target", "both"):
        target[0, 1] = False
    if emptied in ("prediction", "both"):
        probability[0, 1] *= 0.4
    if emptied == "full":
        target[1, 2] = True
    ours, theirs = probability.clone().requires_grad_(), probability.clone().requires_grad_()
    monai = HausdorffDTLoss(include_background=True, reduction="none")(theirs, target.float())
    per_item = hausdorff_distance_loss(ours, target, parity="monai")
    torch.testing.assert_close(per_item, monai.reshape(2, 3), rtol=1e-6, atol=0)
    per_item.sum().backward()
    monai.sum().backward()
    assert ours.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-12)


def test_one_wrong_voxel_by_hand() -> None:
    target = torch.zeros(1, 1, 6, 1, 1, dtype=torch.bool)
    target[0, 0, 0] = True
    probability = target.float()
    probability[0, 0, 3] = 0.8  # a false positive 3 voxels of 2 mm from the target, itself predicted
    # There: distance 6 mm to the target, 2 mm to its own outside; elsewhere p = target.
    expected = 0.8**2 * (6**2 + 2**2) / 6
    value = hausdorff_distance_loss(probability, target, (2, 1, 1), parity="monai")
    assert value.item() == pytest.approx(expected)
    diagonal_squared = 12**2 + 1 + 1
    normalised = hausdorff_distance_loss(probability, target, (2, 1, 1))
    assert normalised.item() == pytest.approx(expected / diagonal_squared)


def test_far_false_positive_costs_what_its_distance_says() -> None:
    shape = (96, 40, 40)
    target = ball(shape, (14, 20, 20), 6)[None, None]
    values = []
    for gap in (4, 38):
        blob = ball(shape, (14 + 6 + gap, 20, 20), 2)[None, None]
        values.append(hausdorff_distance_loss((target | blob).float(), target).item())
    assert values[1] / values[0] == pytest.approx(74, rel=0.02)


def test_absent_label_puts_the_gradient_on_the_false_blob() -> None:
    blob = ball((32, 32, 32), (16, 16, 16), 3)[None, None]
    probability = torch.where(blob, 0.9, 0.01).requires_grad_()
    hausdorff_distance_loss(probability, torch.zeros_like(blob)).sum().backward()
    assert probability.grad is not None
    gradient = probability.grad.abs()
    # 123 voxels at 0.9 against 32645 at 0.01 with the weight of the absent target, and the field of the prediction.
    assert gradient[blob].sum() / blob.sum() > 50 * gradient[~blob].sum() / (~blob).sum()
    monai = probability.detach().clone().requires_grad_()
    hausdorff_distance_loss(monai, torch.zeros_like(blob), parity="monai").sum().backward()
    assert monai.grad is not None
    assert monai.grad.abs()[blob].sum() / monai.grad.abs().sum() < 0.01, "the failure this is there for"


def test_missed_lesion_has_full_weight_when_nothing_is_predicted() -> None:
    target = ball((20, 20, 20), (10, 10, 10), 2)[None, None]
    value = hausdorff_distance_loss(torch.zeros(target.shape), target).item()
    inside = target.sum().item() / target.numel()
    assert value >= inside  # 1 per missed voxel, and its own depth on top
    assert value < 1.1 * inside


def test_permuting_labels_permutes_and_a_batch_is_its_elements() -> None:
    probability, target = random_case()
    whole = hausdorff_distance_loss(probability, target, (1, 2, 3))
    order = [2, 0, 1]
    assert torch.equal(hausdorff_distance_loss(probability[:, order], target[:, order], (1, 2, 3)), whole[:, order])
    for item in range(2):
        alone = hausdorff_distance_loss(probability[item : item + 1], target[item : item + 1], (1, 2, 3))
        assert torch.equal(alone[0], whole[item])


def test_normalised_value_does_not_depend_on_the_unit_of_length() -> None:
    probability, target = random_case()
    torch.testing.assert_close(
        hausdorff_distance_loss(probability, target, (3, 6, 9)), hausdorff_distance_loss(probability, target, (1, 2, 3))
    )


def test_alpha_one_takes_the_distance_itself() -> None:
    target = torch.zeros(1, 1, 5, 1, 1, dtype=torch.bool)
    target[0, 0, 0] = True
    probability = target.float()
    probability[0, 0, 4] = 0.4  # not predicted: only its distance to target and prediction, 4 each
    value = hausdorff_distance_loss(probability, target, parity="monai", alpha=1.0)
    assert value.item() == pytest.approx(0.4**2 * (4 + 4) / 5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_raised(dtype: torch.dtype) -> None:
    probability, target = random_case()
    half = probability.to(dtype)
    value = hausdorff_distance_loss(half, target, (30, 30, 30), parity="monai")  # squares that overflow fp16
    assert value.dtype == torch.float32
    assert torch.equal(value, hausdorff_distance_loss(half.float(), target, (30, 30, 30), parity="monai"))


def test_gradcheck_away_from_the_threshold() -> None:
    generator = torch.Generator().manual_seed(3)
    probability = torch.rand(1, 2, 4, 3, 4, generator=generator, dtype=torch.float64)
    probability = torch.where((probability - 0.5).abs() < 0.05, 0.7, probability).requires_grad_()
    target = torch.rand(1, 2, 4, 3, 4, generator=generator) > 0.7
    assert torch.autograd.gradcheck(lambda p: hausdorff_distance_loss(p, target), (probability,))


def test_nan_reaches_the_loss() -> None:
    probability, target = random_case()
    probability[0, 0, 0, 0, 0] = math.nan
    value = hausdorff_distance_loss(probability, target)
    assert value[0, 0].isnan()
    assert value[1].isfinite().all()


def test_float_target_is_thresholded() -> None:
    probability, target = random_case()
    soft = torch.where(target, 0.51, 0.5)
    assert torch.equal(hausdorff_distance_loss(probability, soft), hausdorff_distance_loss(probability, target))


def test_bad_input_is_named() -> None:
    probability, target = random_case()
    for arguments, message in [
        ((probability[0], target[0]), r"probability: expected \[B, R, X, Y, Z\]"),
        ((probability, target[:1]), "target: expected the shape"),
        ((probability + 1, target), r"probability: expected values in \[0, 1\]"),
        ((probability, target, (1, -1, 1)), "spacing_mm: expected three positive"),
    ]:
        with pytest.raises(ValueError, match=message):
            hausdorff_distance_loss(*arguments)
    with pytest.raises(ValueError, match="alpha: expected a number above 0, found 0"):
        hausdorff_distance_loss(probability, target, alpha=0)
