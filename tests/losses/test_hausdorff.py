"""The Hausdorff losses: against MONAI and SciPy, by hand, and what they are for."""

import gc
import math
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import HausdorffDTLoss, LogHausdorffDTLoss
from scipy import ndimage

from mets3d.losses.hausdorff import (
    hausdorff_convolution_loss,
    hausdorff_distance_loss,
    hausdorff_erosion_loss,
    hausdorff_log_loss,
)
from mets3d.losses.signed_distance import signed_distance_loss

EVERY = [
    hausdorff_distance_loss,
    hausdorff_log_loss,
    hausdorff_erosion_loss,
    hausdorff_convolution_loss,
    signed_distance_loss,
]


def ball(shape: tuple[int, int, int], centre: tuple[int, int, int], radius: float) -> torch.Tensor:
    axes = torch.meshgrid(*[torch.arange(n) for n in shape], indexing="ij")
    return sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)) <= radius**2


def random_case(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    probability = torch.rand(2, 3, 9, 8, 11, generator=generator)
    target = torch.rand(2, 3, 9, 8, 11, generator=generator) > 0.9
    return probability, target


def scipy_field(mask: torch.Tensor, spacing: tuple[float, float, float]) -> np.ndarray:
    """Distance to the other class of one volume, 0 where there is none."""
    own = mask.numpy()
    if own.all() or not own.any():
        return np.zeros(own.shape)
    inside, outside = (ndimage.distance_transform_edt(side, sampling=spacing) for side in (own, ~own))
    return np.asarray(inside + outside)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    shape=st.tuples(*[st.integers(1, 7)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 5)] * 3),
    alpha=st.floats(0.5, 3),
    density=st.floats(0, 1),
)
def test_any_case_equals_the_formula(
    seed: int, shape: tuple[int, int, int], spacing: tuple[float, float, float], alpha: float, density: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(1, 2, *shape, generator=generator, dtype=torch.float64)
    g = torch.rand(1, 2, *shape, generator=generator) < density
    d0 = math.hypot(*(n * size for n, size in zip(shape, spacing, strict=True)))
    weights: dict[str, list[float]] = {"both": [], "target": [], "directed": []}
    for channel in range(2):
        truth, mask = g[0, channel], p[0, channel] > 0.5
        d_g, d_p = scipy_field(truth, spacing), scipy_field(mask, spacing)
        if truth.all() or not truth.any():
            d_g[:] = d0
        if mask.all() or not mask.any():
            d_p[truth.numpy()] = d0
        d_g, d_p = (d_g / d0) ** alpha, (d_p / d0) ** alpha
        square = (p[0, channel] - truth.double()).square().numpy()
        for sides, weight in (("both", d_g + d_p), ("target", d_g), ("directed", np.where(truth, d_p, d_g))):
            if not truth.any() and not mask.all():
                # The voxels that are not predicted share the weight of those that are.
                weight[~mask.numpy()] = min(1.0, float(mask.sum().clamp(min=1) / (~mask).sum()))
            weights[sides].append(float((square * weight).mean()))
    for sides, expected in weights.items():
        found = hausdorff_distance_loss(p, g, spacing, alpha=alpha, sides=sides)  # type: ignore[arg-type]
        assert found.dtype == torch.float64
        assert found[0].tolist() == pytest.approx(expected, rel=2e-6)


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


def test_log_form_equals_monais() -> None:
    probability, target = random_case()
    monai = LogHausdorffDTLoss(include_background=True, reduction="none")(probability, target.float())
    found = hausdorff_log_loss(probability, target, parity="monai")
    torch.testing.assert_close(found, monai.reshape(2, 3), rtol=1e-6, atol=0)
    in_mm = hausdorff_distance_loss(probability, target, (2, 2, 2), normalise=False)
    torch.testing.assert_close(hausdorff_log_loss(probability, target, (2, 2, 2)), (1 + in_mm).log())


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


@pytest.mark.parametrize("size", [32, 64])
def test_absent_label_puts_the_gradient_on_the_false_blob(size: int) -> None:
    blob = ball((size,) * 3, (size // 2,) * 3, 3)[None, None]

    def share_on_blob(**options: Any) -> float:
        probability = torch.where(blob, 0.9, 0.01).requires_grad_()
        hausdorff_distance_loss(probability, torch.zeros_like(blob), **options).sum().backward()
        assert probability.grad is not None
        gradient = probability.grad.abs()
        return (gradient[blob].sum() / gradient.sum()).item()

    assert share_on_blob() > 0.9
    assert share_on_blob(sides="target") > 0.9
    assert share_on_blob(sides="directed") > 0.9
    assert share_on_blob(cap_mm=5) > 0.9
    # The failures this is there for.
    assert share_on_blob(parity="monai") < 0.01
    assert share_on_blob(absent="zero") < 0.01


def test_absent_label_by_hand() -> None:
    p = torch.tensor([0.2, 0.3, 0.9, 0.4]).reshape(1, 1, 4, 1, 1)
    nothing = torch.zeros(p.shape, dtype=torch.bool)
    # One predicted voxel of depth 1: weight 10^2 + 1^2. The three others share one weight of 10^2.
    rest = (0.2**2 + 0.3**2 + 0.4**2) * 100 / 3
    value = hausdorff_distance_loss(p, nothing, normalise=False, absent=10)
    assert value.item() == pytest.approx((0.9**2 * 101 + rest) / 4)
    capped = hausdorff_distance_loss(p, nothing, normalise=False, absent=10, cap_mm=3)
    assert capped.item() == pytest.approx((0.9**2 * 10 + rest * 0.09) / 4)
    # Nothing predicted: all voxels are pushed down, with the weight of one.
    low = p * 0.5
    value = hausdorff_distance_loss(low, nothing, normalise=False, absent=10)
    assert value.item() == pytest.approx(100 * (low**2).mean().item() / 4)
    diagonal = math.sqrt(16 + 1 + 1)
    value = hausdorff_distance_loss(low, nothing, normalise=False)
    assert value.item() == pytest.approx(diagonal**2 * (low**2).mean().item() / 4)
    assert hausdorff_distance_loss(p, nothing, absent="skip").item() == 0
    assert hausdorff_distance_loss(1 - p, ~nothing, normalise=False, absent=10, sides="target").item() == pytest.approx(
        100 * (p**2).mean().item()
    )


def test_a_first_false_positive_on_an_absent_label_raises_the_loss() -> None:
    nothing = torch.zeros(1, 1, 16, 16, 16, dtype=torch.bool)
    values = []
    for wrong in (0, 1, 10, 100):
        p = torch.full(nothing.shape, 0.3)
        p.view(-1)[:wrong] = 0.6
        values.append(hausdorff_distance_loss(p, nothing).item())
    assert values == sorted(values)
    assert values[0] > 0


def test_cap_counts_what_is_farther_as_it() -> None:
    target = torch.zeros(1, 1, 6, 1, 1, dtype=torch.bool)
    target[0, 0, 0] = True
    probability = target.float()
    probability[0, 0, 4] = 0.8  # 4 away, and of depth 1
    value = hausdorff_distance_loss(probability, target, normalise=False, cap_mm=3)
    assert value.item() == pytest.approx(0.8**2 * (3**2 + 1) / 6)


def test_class_balanced_is_the_mean_of_two_means() -> None:
    p, g = random_case()
    per_voxel = hausdorff_distance_loss  # the same weights, taken from the gradient: 2 (p - g) w / N
    leaf = p.clone().requires_grad_()
    per_voxel(leaf, g).sum().backward()
    assert leaf.grad is not None
    error = p - g.float()
    terms = leaf.grad * error * error[0, 0].numel() / 2
    by_hand = torch.tensor(
        [[(terms[b, r][g[b, r]].mean() + terms[b, r][~g[b, r]].mean()) / 2 for r in range(3)] for b in range(2)]
    )
    torch.testing.assert_close(hausdorff_distance_loss(p, g, class_balanced=True), by_hand, rtol=1e-5, atol=0)


def test_one_sided_hardly_sees_a_missed_lesion_and_directed_does() -> None:
    shape = (64, 20, 20)
    found = ball(shape, (10, 10, 10), 3)[None, None]
    missed = ball(shape, (50, 10, 10), 3)[None, None]
    values = {
        sides: hausdorff_distance_loss(found.float(), found | missed, sides=sides).item()  # type: ignore[arg-type]
        for sides in ("both", "target", "directed")
    }
    assert values["target"] < 0.01 * values["both"]
    assert 0.93 < values["directed"] / values["both"] < 1


def test_missed_lesion_has_full_weight_when_nothing_is_predicted() -> None:
    target = ball((20, 20, 20), (10, 10, 10), 2)[None, None]
    value = hausdorff_distance_loss(torch.zeros(target.shape), target).item()
    inside = target.sum().item() / target.numel()
    assert value >= inside  # 1 per missed voxel, and its own depth on top
    assert value < 1.1 * inside


@pytest.mark.parametrize("loss", EVERY, ids=lambda loss: loss.__name__)
def test_permuting_labels_permutes_and_a_batch_is_its_elements(loss: Any) -> None:
    probability, target = random_case()
    target[0, 1], probability[1, 2] = False, 0.1
    whole = loss(probability, target, (1, 2, 3))
    assert whole.shape == (2, 3)
    order = [2, 0, 1]
    close = {"rtol": 1e-6, "atol": 1e-9} if loss is hausdorff_convolution_loss else {"rtol": 0, "atol": 0}
    torch.testing.assert_close(loss(probability[:, order], target[:, order], (1, 2, 3)), whole[:, order], **close)
    for item in range(2):
        alone = loss(probability[item : item + 1], target[item : item + 1], (1, 2, 3))
        torch.testing.assert_close(alone[0], whole[item], **close)
    # Items with a spacing each.
    apart = loss(probability, target, [(1, 2, 3), (2, 2, 2)])
    torch.testing.assert_close(apart[0], whole[0], **close)
    torch.testing.assert_close(apart[1], loss(probability, target, (2, 2, 2))[1], **close)


@pytest.mark.parametrize("loss", EVERY, ids=lambda loss: loss.__name__)
def test_what_is_right_costs_nothing_and_what_is_wrong_something(loss: Any) -> None:
    _, target = random_case()
    solid = torch.from_numpy(ndimage.binary_dilation(target.numpy(), iterations=1))
    assert loss(solid.float(), solid).abs().max() == 0
    assert (loss((~solid).float(), solid) > 0).all()


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


@pytest.mark.parametrize("loss", EVERY, ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_raised(loss: Any, dtype: torch.dtype) -> None:
    probability, target = random_case()
    half = probability.to(dtype)
    value = loss(half, target, (30, 30, 30), normalise=False)  # squares that overflow fp16
    assert value.dtype == torch.float32
    assert value.isfinite().all()
    assert torch.equal(value, loss(half.float(), target, (30, 30, 30), normalise=False))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss(half, target, (30, 30, 30), normalise=False), value)
    leaf = half.clone().requires_grad_()
    loss(leaf, target).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.dtype == dtype


@pytest.mark.parametrize("loss", EVERY, ids=lambda loss: loss.__name__)
def test_gradcheck_away_from_the_threshold(loss: Any) -> None:
    generator = torch.Generator().manual_seed(3)
    probability = torch.rand(1, 2, 4, 3, 4, generator=generator, dtype=torch.float64)
    probability = torch.where((probability - 0.5).abs() < 0.05, 0.7, probability).requires_grad_()
    target = torch.rand(1, 2, 4, 3, 4, generator=generator) > 0.7
    value = loss(probability, target)
    assert value.dtype == torch.float64
    assert torch.autograd.gradcheck(lambda p: loss(p, target), (probability,))


def test_gradcheck_of_the_options() -> None:
    generator = torch.Generator().manual_seed(4)
    probability = torch.rand(1, 2, 4, 3, 4, generator=generator, dtype=torch.float64) * 0.45
    probability[0, 0, 1] += 0.5
    probability.requires_grad_()
    target = torch.rand(1, 2, 4, 3, 4, generator=generator) > 0.7
    target[0, 1] = False
    for options in ({"class_balanced": True}, {"sides": "directed"}, {"cap_mm": 2}, {"alpha": 1.3}, {"absent": 4}):
        assert torch.autograd.gradcheck(lambda p, o=options: hausdorff_distance_loss(p, target, **o), (probability,))


def test_no_overflow_with_large_voxels_and_exponents() -> None:
    p, g = random_case()
    for alpha in (0.5, 2, 8):
        assert hausdorff_distance_loss(p, g, (500, 500, 500), alpha=alpha).isfinite().all()


def one_erosion(values: np.ndarray) -> np.ndarray:
    cross = ndimage.generate_binary_structure(3, 1) / 7
    return np.maximum(ndimage.convolve(values, cross, mode="constant") - 0.5, 0)


@pytest.mark.parametrize("rescale", ["fixed", "peak"])
def test_erosion_equals_scipys_convolutions(rescale: str) -> None:
    p, g = (case[:1, :1].double() for case in random_case(5))
    solid = torch.from_numpy(ndimage.binary_dilation(g[0, 0].numpy(), iterations=2))[None, None]
    error = (p - solid.double()).square()[0, 0].numpy()
    expected = 0.0
    for k in (1, 2, 3):
        error = one_erosion(error)
        if rescale == "fixed":
            error = error * 2
        elif np.ptp(error):
            error = (error - error.min()) / np.ptp(error)
        expected += k**1.5 * error.mean()
    assert expected > 0
    found = hausdorff_erosion_loss(
        p,
        solid,
        alpha=1.5,
        erosions=3,
        normalise=False,
        rescale=rescale,  # type: ignore[arg-type]
    )
    assert found.item() == pytest.approx(expected, rel=1e-12)
    in_mm = hausdorff_erosion_loss(p, solid, (2, 4, 1), alpha=1.5, erosions=3, normalise=False, rescale=rescale)  # type: ignore[arg-type]
    assert in_mm.item() == pytest.approx(expected * 2**1.5, rel=1e-12)
    once = hausdorff_erosion_loss(p, solid, erosions=1, normalise=False, rescale="fixed")
    error = (p - solid.double()).square()[0, 0].numpy()
    assert once.item() == pytest.approx(2 * one_erosion(error).mean(), rel=1e-12)


def test_erosion_grades_thickness_and_not_distance() -> None:
    shape = (48, 24, 24)
    target = ball(shape, (10, 12, 12), 4)[None, None]

    def with_blob(centre: int, radius: float) -> float:
        wrong = (target | ball(shape, (centre, 12, 12), radius)[None, None]).float()
        return hausdorff_erosion_loss(wrong, target).item()

    assert with_blob(20, 2) == with_blob(36, 2) > 0
    assert with_blob(30, 4) > 5 * with_blob(30, 2)


def test_convolution_equals_direct_balls_in_mm() -> None:
    generator = torch.Generator().manual_seed(6)
    p = torch.rand(1, 1, 7, 6, 9, generator=generator, dtype=torch.float64)
    g = torch.rand(1, 1, 7, 6, 9, generator=generator) > 0.6
    spacing, alpha, radii = (1.0, 2.0, 0.5), 1.5, (2.0, 5.0, 30.0)
    q, t = p[0, 0].numpy(), g[0, 0].double().numpy()
    square = (q - t) ** 2
    expected = 0.0

    def soft(values: np.ndarray) -> np.ndarray:
        return np.maximum(values - 0.5, 0) * 2

    for radius in radii:
        axes = [np.arange(-int(radius / size), int(radius / size) + 1) * size for size in spacing]
        inside = sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")) <= radius**2
        of_g, of_q = (ndimage.convolve(v, inside / inside.sum(), mode="constant") for v in (t, q))
        terms = square * q * (soft(1 - of_g) + soft(of_q)) + square * t * (soft(of_g) + soft(1 - of_q))
        expected += radius**alpha * terms.mean()
    found = hausdorff_convolution_loss(p, g, spacing, alpha=alpha, radii_mm=radii, normalise=False)
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_convolution_sees_distance_up_to_its_largest_ball() -> None:
    shape = (96, 24, 24)
    target = ball(shape, (10, 12, 12), 4)[None, None]
    values = [
        hausdorff_convolution_loss((target | ball(shape, (x, 12, 12), 2)[None, None]).float(), target).item()
        for x in (18, 26, 44, 80)
    ]
    assert values[0] < values[1] < values[2]
    assert values[3] == pytest.approx(values[2], rel=0.02)


@pytest.mark.parametrize("loss", [hausdorff_distance_loss, hausdorff_erosion_loss, signed_distance_loss])
def test_normalised_value_does_not_depend_on_the_unit_of_length_in_any(loss: Any) -> None:
    probability, target = random_case()
    torch.testing.assert_close(loss(probability, target, (3, 6, 9)), loss(probability, target, (1, 2, 3)))


@pytest.mark.slow
def test_memory_is_flat_over_many_calls() -> None:
    probability, target = random_case()
    process = psutil.Process()
    sizes = []
    for call in range(1000):
        leaf = probability.clone().requires_grad_()
        hausdorff_distance_loss(leaf, target).sum().backward()
        if call in (200, 999):
            gc.collect()
            sizes.append(process.memory_info().rss)
    tensor = probability.numel() * 4
    assert sizes[1] - sizes[0] < 800 * tensor / 4, "a quarter of a tensor a call"


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
    for loss in EVERY[:4]:
        for alpha in (0, -1, math.nan, math.inf):
            with pytest.raises(ValueError, match=f"alpha: expected a number above 0, found {alpha}"):
                loss(probability, target, alpha=alpha)
    for loss in EVERY:
        with pytest.raises(ValueError, match="spacing_mm: expected"):
            loss(probability, target, (1, 1))
        with pytest.raises(ValueError, match="target: expected the shape"):
            loss(probability, target[..., :1])
    with pytest.raises(ValueError, match="cap_mm: expected a number above 0, found -1"):
        hausdorff_distance_loss(probability, target, cap_mm=-1)
    with pytest.raises(ValueError, match="absent: expected a number above 0, found 0"):
        hausdorff_distance_loss(probability, target, absent=0)
    with pytest.raises(ValueError, match="erosions: expected a whole number from 1, found 0"):
        hausdorff_erosion_loss(probability, target, erosions=0)
    with pytest.raises(ValueError, match="radii_mm: expected"):
        hausdorff_convolution_loss(probability, target, radii_mm=[])
    with pytest.raises(ValueError, match="radii_mm: expected at most 256 voxels, found 1000"):
        hausdorff_convolution_loss(probability, target, radii_mm=[3, 1000])
    for loss in EVERY:
        with pytest.raises(ValueError, match=r"target: expected bool, or float.*int64"):
            loss(probability, target.long())
        with pytest.raises(ValueError, match="probability: expected"):
            loss(probability[..., :0], target[..., :0])
    with pytest.raises(ValueError, match="predicted: expected bool"):
        hausdorff_distance_loss(probability, target, predicted=target[:1])
