"""The conditioned Hausdorff loss: against all pairs of voxels, by hand, and what it is derived from."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from mets3d.losses.hausdorff import hausdorff_distance_loss
from mets3d.losses.hausdorff_conditioned import hausdorff_conditioned_loss
from tests.losses.test_hausdorff import ball, random_case

Size = tuple[float, float, float]
MOST = 20.0  # The factor that one voxel may change the loss by.


def brute(p: np.ndarray, g: np.ndarray, size: Size, a: float, c: float, absent: float, f: float, v: float) -> float:
    """The formula on one volume, each distance from all pairs of voxels."""
    mask = p > 0.5
    at = np.argwhere(np.ones_like(g)).reshape(*g.shape, 3) * np.asarray(size)
    parts = []
    for wrong, other in ((g & ~mask, mask), (mask & ~g, g)):
        apart = cdist(at[wrong], at[other]).min(1) if other.any() else np.full(wrong.sum(), absent)
        weight = f + (1 - f) * (np.minimum(apart, c) / c) ** a
        parts.append(float((weight * (p[wrong] - g[wrong]) ** 2).sum()))
    missed, false = parts
    volume = g.sum() + v / math.prod(size)
    return float(missed / volume + false / (false + volume))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 5)] * 3),
    alpha=st.sampled_from([0.5, 1, 2, 2.7]),
    cap=st.floats(0.5, 30),
    densities=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_any_case_equals_all_pairs(
    seed: int, shape: tuple[int, int, int], spacing: Size, alpha: float, cap: float, densities: tuple[float, float]
) -> None:
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(1, 2, *shape, generator=generator, dtype=torch.float64)
    p = torch.where(torch.rand(p.shape, generator=generator) < densities[1], p, p * 0.4)
    g = torch.rand(1, 2, *shape, generator=generator) < densities[0]
    for absent in ("cap", "zero", 0.7 * cap):
        found = hausdorff_conditioned_loss(p, g, spacing, alpha=alpha, cap_mm=cap, absent=absent)
        assert found.dtype == torch.float64
        empty = {"cap": cap, "zero": 0.0}.get(absent, absent)  # type: ignore[call-overload]
        expected = [brute(p[0, r].numpy(), g[0, r].numpy(), spacing, alpha, cap, empty, 0.1, 40.0) for r in range(2)]
        assert found[0].tolist() == pytest.approx(expected, rel=2e-6, abs=1e-12)


def test_gradient_equals_finite_differences_and_is_nowhere_but_on_wrong_voxels() -> None:
    generator = torch.Generator().manual_seed(3)
    p = torch.rand(2, 2, 4, 3, 4, generator=generator, dtype=torch.float64)
    p = torch.where((p - 0.5).abs() < 0.05, 0.7, p)
    g = torch.rand(p.shape, generator=generator) > 0.7
    p[0, 1], g[1, 0] = p[0, 1] * 0.4, False
    p.requires_grad_()
    options: dict[str, Any]
    for options in ({}, {"alpha": 2}, {"alpha": 1.3, "cap_mm": 2}, {"absent": "skip"}, {"absent": 3}, {"floor": 0}):
        assert torch.autograd.gradcheck(
            lambda x, o=options: hausdorff_conditioned_loss(x, g, (1, 2, 0.5), **o),
            (p,),
            eps=1e-6,
        )
    (gradient,) = torch.autograd.grad(hausdorff_conditioned_loss(p, g).sum(), p)
    wrong = (p > 0.5) != g
    assert ((gradient != 0) == wrong).all()
    assert (torch.sign(gradient[wrong]) == torch.where(g, -1.0, 1.0)[wrong]).all(), "each step down is towards the mask"


def test_by_hand() -> None:
    g = torch.zeros(1, 1, 8, 1, 1, dtype=torch.bool)
    g[0, 0, :2] = True
    p = torch.tensor([0.9, 0.2, 0.1, 0.0, 0.0, 0.0, 0.8, 0.3], dtype=torch.float64).reshape(g.shape)
    # 2 mm a voxel of 2 mm3: the missed voxel is 2 mm from the predicted one, the false one 10 mm from the target.
    missed = (0.1 + 0.9 * 2 / 8) * 0.8**2
    false = 1.0 * 0.8**2
    volume = 2 + 10 / 2
    found = hausdorff_conditioned_loss(p, g, (2, 1, 1), cap_mm=8, reference_mm3=10)
    assert found.item() == pytest.approx(missed / volume + false / (false + volume), rel=1e-6)
    pure = hausdorff_conditioned_loss(p, g, (2, 1, 1), cap_mm=8, floor=0, alpha=2, reference_mm3=10)
    assert pure.item() == pytest.approx(0.8**2 / 16 / volume + false / (false + volume), rel=1e-6)


def test_absent_label_and_empty_prediction() -> None:
    nothing = torch.zeros(1, 1, 6, 6, 6, dtype=torch.bool)
    quiet = torch.full(nothing.shape, 0.3)
    assert hausdorff_conditioned_loss(quiet, nothing).item() == 0
    p = quiet.clone()
    p[..., 0, 0, :4] = 0.9
    # Four false voxels of 1 mm3, each of weight 1, beside 40 mm3.
    false = 4 * 0.9**2
    assert hausdorff_conditioned_loss(p, nothing).item() == pytest.approx(false / (false + 40))
    assert hausdorff_conditioned_loss(p, nothing, absent="skip").item() == 0
    low = 0.1 * false
    assert hausdorff_conditioned_loss(p, nothing, absent="zero").item() == pytest.approx(low / (low + 40))
    half = (0.1 + 0.9 * 0.5) * false
    assert hausdorff_conditioned_loss(p, nothing, absent=10).item() == pytest.approx(half / (half + 40))
    target = nothing.clone()
    target[..., 2:4, 2:4, 2:4] = True
    assert hausdorff_conditioned_loss(quiet, target).item() == pytest.approx(8 * 0.7**2 / 48)
    full = hausdorff_conditioned_loss(quiet, ~nothing).item()
    assert full == pytest.approx(216 * 0.7**2 / 256)


def test_gradient_of_an_empty_patch_is_on_its_false_ball() -> None:
    false = ball((48, 48, 48), (20, 24, 24), 3)[None, None]
    p = torch.where(false, 0.9, 0.03).requires_grad_()
    value = hausdorff_conditioned_loss(p, torch.zeros_like(false))
    (gradient,) = torch.autograd.grad(value.sum(), p)
    assert 0.5 < value.item() < 1
    assert (gradient[false] > 0).all()
    assert (gradient[~false] == 0).all()


def one_state(lesion: torch.Tensor, predicted: list[tuple[int, ...]], size: Size = (1.0, 1.0, 1.0)) -> float:
    p = torch.full((1, 1, *lesion.shape), 1e-3)
    for voxel in predicted:
        p[(0, 0, *voxel)] = 0.999
    return float(hausdorff_conditioned_loss(p, lesion[None, None], size))


def test_no_cliff_beside_a_missed_lesion() -> None:
    """The case that made the published form fall 842-fold: radius 3 in 96^3, nothing predicted, then one voxel."""
    lesion = ball((96, 96, 96), (48, 48, 48), 3)
    nothing = one_state(lesion, [])
    for voxel in ((56, 48, 48), (53, 48, 48), (48, 48, 48), (52, 48, 48), (51, 48, 48), (0, 0, 0)):
        state = one_state(lesion, [voxel])
        assert max(nothing / state, state / nothing) < 9, voxel
    p = torch.full((1, 1, 96, 96, 96), 1e-3)
    published = [hausdorff_distance_loss(p, lesion[None, None]).item()]
    p[0, 0, 56, 48, 48] = 0.999
    published.append(hausdorff_distance_loss(p, lesion[None, None]).item())
    assert published[0] / published[1] > 200, "what it is there for"


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    lesions=st.lists(st.tuples(*[st.integers(0, 13)] * 3, st.sampled_from([0, 1, 1.5, 2, 3])), max_size=3),
    spacing=st.sampled_from([(1.0, 1.0, 1.0), (0.5, 0.5, 0.5), (0.3, 0.3, 4.0), (4.0, 4.0, 4.0)]),
)
def test_no_voxel_that_comes_or_goes_changes_the_loss_more_than_20_fold(
    seed: int, lesions: list[tuple[int, int, int, float]], spacing: Size
) -> None:
    """Voxels appear one by one, in and out of the lesions, and may go again; small lesions are the hard case."""
    lesion = torch.zeros(14, 14, 14, dtype=torch.bool)
    for *centre, radius in lesions:
        lesion |= ball((14, 14, 14), tuple(centre), radius)  # type: ignore[arg-type]
    rng = np.random.default_rng(seed)
    inside = np.argwhere(lesion.numpy())
    mask = torch.zeros_like(lesion)
    before = float(hausdorff_conditioned_loss(mask.float()[None, None], lesion[None, None], spacing))
    for _ in range(12):
        pool = inside if len(inside) and rng.random() < 0.6 else rng.integers(0, 14, (1, 3))
        voxel = tuple(pool[rng.integers(len(pool))])
        wrong_before = mask != lesion
        mask[voxel] = ~mask[voxel]
        after = float(hausdorff_conditioned_loss(mask.float()[None, None], lesion[None, None], spacing))
        if (wrong_before & (mask != lesion)).any():  # a last error that goes, or a first one, has nothing to compare
            assert max(before / after, after / before) <= MOST * (1 + 1e-5)
        before = after


@pytest.mark.parametrize("size", [0.1, 0.5, 1.0, 4.0])
def test_no_first_voxel_of_a_small_lesion_changes_the_loss_more_than_20_fold(size: float) -> None:
    """The worst states, each by each: a lesion of 2 to 57 voxels, nothing of it predicted, then any one voxel of it."""
    pair = torch.zeros(9, 9, 9, dtype=torch.bool)
    pair[4, 4, 4:6] = True
    for lesion in (pair, *(ball((9, 9, 9), (4, 4, 4), radius) for radius in (1, 1.5, 2, 2.5))):
        voxels = lesion.nonzero()
        states = torch.zeros(len(voxels) + 1, 1, 9, 9, 9)
        for state, voxel in zip(states[1:], voxels, strict=True):
            state[(0, *voxel)] = 1.0
        losses = hausdorff_conditioned_loss(states, lesion.expand(states.shape), (size,) * 3)[:, 0]
        assert 1 < losses[0] / losses[1:].min() <= MOST * (1 + 1e-5)


def test_the_bound_is_reached_by_a_lesion_of_two_small_voxels_and_broken_without_the_floor() -> None:
    lesion = torch.zeros(1, 1, 6, 6, 6, dtype=torch.bool)
    lesion[..., 3, 3, 2:4] = True
    one = torch.zeros(lesion.shape)
    one[..., 3, 3, 2] = 1
    factors = {}
    for floor in (0.1, 0.0):
        losses = [hausdorff_conditioned_loss(p, lesion, (0.1, 0.1, 0.1), floor=floor) for p in (one * 0, one)]
        factors[floor] = float(losses[0] / losses[1])
    assert 18 < factors[0.1] < 20
    assert factors[0.0] > 300


def test_a_boundary_that_is_off_by_a_voxel_counts_beside_the_far_and_the_missed() -> None:
    shape = (64, 64, 64)
    found, shell = ball(shape, (20, 20, 20), 6), ball(shape, (20, 20, 20), 7) & ~ball(shape, (20, 20, 20), 6)
    missed, false = ball(shape, (20, 50, 20), 2), ball(shape, (54, 20, 20), 2)
    for background in (1e-2, 1e-4):
        p = torch.full(shape, background, dtype=torch.float64)
        for where, value in ((found, 0.95), (shell, 0.9), (missed, 0.05), (false, 0.9)):
            p[where] = value
        logits = p.logit()[None, None].requires_grad_()
        hausdorff_conditioned_loss(logits.sigmoid(), (found | missed)[None, None]).sum().backward()
        assert logits.grad is not None
        gradient = logits.grad[0, 0].abs() / logits.grad.abs().sum()
        assert all(gradient[part].sum() > 0.1 for part in (missed, false, shell))
        assert gradient[~(found | shell | missed | false)].sum() == 0


def test_value_is_of_order_one_and_depends_on_no_patch() -> None:
    _, g = random_case()
    everything = torch.ones(1, 1, 24, 24, 24)
    lesion = ball((24, 24, 24), (12, 12, 12), 3)[None, None]
    assert 0.95 < hausdorff_conditioned_loss(everything, lesion).item() < 1
    assert (hausdorff_conditioned_loss((~g).float(), g) < 2).all()
    generator = torch.Generator().manual_seed(1)
    p = torch.where(lesion, torch.rand(lesion.shape, generator=generator), 0.001)
    p[..., 4, 5, 6], p[..., 15, 12, 12] = 0.8, 0.7
    alone = hausdorff_conditioned_loss(p, lesion)
    wider = [torch.nn.functional.pad(x, [9, 3, 20, 0, 5, 11], value=0.001) for x in (p, lesion.float())]
    torch.testing.assert_close(hausdorff_conditioned_loss(*wider), alone, rtol=1e-6, atol=0)
    finer = [x.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4) for x in (p, lesion)]
    again = hausdorff_conditioned_loss(*finer, (0.5, 0.5, 0.5))
    torch.testing.assert_close(again, alone, rtol=0.15, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_raised_and_a_batch_is_its_elements(dtype: torch.dtype) -> None:
    p, g = random_case()
    g[0, 1], p[1, 2] = False, 0.1
    half = p.to(dtype)
    sizes = [(1, 2, 3), (0.5, 0.5, 30)]
    whole = hausdorff_conditioned_loss(half, g, sizes)
    assert whole.dtype == torch.float32
    assert torch.equal(whole, hausdorff_conditioned_loss(half.float(), g, sizes))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(hausdorff_conditioned_loss(half, g, sizes), whole)
    for b in range(2):
        for r in range(3):
            one = hausdorff_conditioned_loss(half[b : b + 1, r : r + 1], g[b : b + 1, r : r + 1], sizes[b])
            torch.testing.assert_close(one[0, 0], whole[b, r], rtol=1e-6, atol=0)
    leaf = half.clone().requires_grad_()
    hausdorff_conditioned_loss(leaf, g).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.dtype == dtype
    assert leaf.grad.isfinite().all()


def test_the_predicted_mask_can_be_given_and_nan_reaches_the_loss() -> None:
    p, g = random_case()
    argmax = torch.rand(p.shape, generator=torch.Generator().manual_seed(7)) > 0.8
    found = hausdorff_conditioned_loss(p.double(), g, predicted=argmax)
    error = (p.double() - g.double()).square()
    in_weight = hausdorff_conditioned_loss(p.double(), g, predicted=argmax, floor=1)
    missed, false = ((error * side).sum((2, 3, 4)) for side in (g & ~argmax, argmax & ~g))
    volume = g.sum((2, 3, 4)) + 40
    torch.testing.assert_close(in_weight, missed / volume + false / (false + volume))
    assert (found < in_weight).all()
    p[0, 0, 0, 0, 0] = math.nan
    value = hausdorff_conditioned_loss(p, g)
    assert value[0, 0].isnan()
    assert value[1].isfinite().all()


def test_bad_input_is_named() -> None:
    p, g = random_case()
    for arguments, message in [
        ({"alpha": 0}, "alpha: expected a number above 0, found 0"),
        ({"cap_mm": -1}, "cap_mm: expected a number above 0, found -1"),
        ({"cap_mm": math.inf}, "cap_mm: expected a number above 0, found inf"),
        ({"reference_mm3": 0}, "reference_mm3: expected a number above 0, found 0"),
        ({"floor": 1.5}, "floor: expected a number from 0 to 1, found 1.5"),
        ({"absent": 0}, "absent: expected a number above 0, found 0"),
        ({"predicted": g[:1]}, "predicted: expected bool"),
        ({"spacing_mm": (1, 1)}, "spacing_mm: expected"),
    ]:
        with pytest.raises(ValueError, match=message):
            hausdorff_conditioned_loss(p, g, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="target: expected the shape"):
        hausdorff_conditioned_loss(p, g[:1])
