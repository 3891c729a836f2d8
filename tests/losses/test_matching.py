"""Costs of the matching against the formulas written out, and how the work is cut."""

import pytest
import torch
import torch.nn.functional as F

from mets3d.losses import matching
from mets3d.losses.matching import start_matching
from mets3d.ops.mask_sums import AT_ONCE
from mets3d.shapes import PixelEmbedding, QueryOutput

SIZE = (4, 3, 5)


def made(scale: float = 1.0, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    pixels = PixelEmbedding(draw(2, 4, *SIZE), scale * draw(6, 4), draw(6))
    predictions = tuple(QueryOutput(draw(2, 5, 4), draw(2, 5, 6)) for _ in range(3))
    target = (draw(2, 3, *SIZE) > 0.5).to(dtype)
    target[0, 1] = 0
    return predictions, pixels, target


def written_out(prediction: QueryOutput, pixels: PixelEmbedding, target: torch.Tensor) -> torch.Tensor:
    logits, classes = pixels.product(prediction.mask_embedding), prediction.class_logits.softmax(-1)
    costs = torch.zeros(2, 5, 3, dtype=logits.dtype)
    for b in range(2):
        for q in range(5):
            for r in range(3):
                mask, probability = target[b, r], logits[b, q].sigmoid()
                bce = F.binary_cross_entropy_with_logits(logits[b, q], mask)
                dice = 1 - (2 * (probability * mask).sum() + 1) / (probability.sum() + mask.sum() + 1)
                costs[b, q, r] = 5 * bce + 3 * dice - 2 * classes[b, q, r]
    return costs


@pytest.mark.parametrize("at_once", [1, 60, 10**9])
@pytest.mark.parametrize("scale", [1.0, 40.0])  # with 40, logits of several hundred
def test_costs_as_written_out(monkeypatch: pytest.MonkeyPatch, at_once: int, scale: float) -> None:
    monkeypatch.setitem(AT_ONCE, "cpu", at_once)
    predictions, pixels, target = made(scale)
    costs = matching._costs(predictions, pixels, target, (2.0, 5.0, 3.0))
    expected = torch.stack([written_out(prediction, pixels, target) for prediction in predictions])
    assert scale == 1 or expected.max() > 500
    torch.testing.assert_close(costs, expected, atol=1e-9, rtol=1e-9)


def test_single_precision_is_close() -> None:
    exact = matching._costs(*made(), (2.0, 5.0, 5.0))
    single = matching._costs(*made(dtype=torch.float32), (2.0, 5.0, 5.0))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, atol=1e-4, rtol=1e-5)


def test_a_started_matching_keeps_its_result_whatever_happens_to_the_output() -> None:
    predictions, pixels, target = made()
    expected = start_matching(predictions, pixels, target).assigned()
    started = start_matching(predictions, pixels, target)
    pixels.features.zero_()
    assert all(torch.equal(one, other) for one, other in zip(started.assigned(), expected, strict=True))
    assert expected[0][0, 1] == -1
    assert (expected[0][1] >= 0).all()


def test_costs_that_are_not_finite_are_assigned_all_the_same() -> None:
    predictions, pixels, target = made()
    pixels.features[0, 0, 0, 0, 0] = torch.nan
    assigned = start_matching(predictions, pixels, target).assigned()
    assert sorted(assigned[0][1].tolist()) == sorted(set(assigned[0][1].tolist()))
