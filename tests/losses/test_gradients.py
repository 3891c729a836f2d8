"""The share that each loss has of the gradient at the logits, measured by the one backward pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mets3d.losses.boundary import BoundaryTerm, BoundaryWeight
from mets3d.losses.gradients import measured
from mets3d.losses.queries import query_loss
from mets3d.losses.total import TotalLoss, base_loss
from mets3d.losses.value import BASE, LossValue, StepContext
from mets3d.regions import Target
from mets3d.shapes import PixelEmbedding, QueryOutput, SegOutput
from tests.losses.test_total import SIZES, built, network, target_masks, term_of

SUMMED = {"boundary": "hausdorff_distance+blob", "boundary_schedule": "gradient", "boundary_ramp": (0.0, 0.0)}
RATIO = torch.tensor([3.0, 0.25], dtype=torch.float64)


def size(gradients: Any) -> Tensor:
    """The sum of |dL/dz|, by hand."""
    return torch.stack([gradient.abs().sum() for gradient in gradients if gradient is not None]).sum()


def context(step: int = 50, **numbers: Any) -> StepContext:
    return StepContext(step, **{"ratio": RATIO, "spacing_mm": SIZES, **numbers})


def terms_of(loss: Any, output: SegOutput, target: Tensor) -> dict[str, Tensor]:
    """The terms on an output that nothing watches."""
    return {name: term(output, target, SIZES)[0] for name, term in loss.terms.items()}


@pytest.mark.parametrize("kind", ["regions", "labels"])
def test_of_a_cnn_it_is_the_gradient_at_the_full_resolution_logits(kind: Any) -> None:
    kinds = Target(kind)
    labels = torch.randint(4, (2, 16, 16, 16), generator=torch.Generator().manual_seed(3))
    target = torch.stack(kinds.masks(labels), 1)
    random = torch.Generator().manual_seed(2)
    logits = torch.randn(target.shape, generator=random, dtype=torch.float64, requires_grad=True)
    deep = torch.randn(*target.shape[:2], 8, 8, 8, generator=random, dtype=torch.float64, requires_grad=True)
    output = SegOutput("sigmoid" if kind == "regions" else "softmax", logits=logits, deep=(deep,))
    loss = built(kinds, **SUMMED)
    value = loss(output, target, context())
    value.total.backward()
    by_hand = replace(output, logits=logits)
    base = sum(base_loss(by_hand, target).values())
    of_base = torch.autograd.grad(base, (logits, deep), retain_graph=True)
    torch.testing.assert_close(value.sizes[BASE], size(of_base[:1]))
    expected = of_base[0]
    weights = {"hausdorff_distance": 0.05 * 3, "blob": 0.05 * 0.25}  # 0.1, half of it each, times the ratios
    for name, term in terms_of(loss, by_hand, target).items():
        (gradient,) = torch.autograd.grad(term, logits, retain_graph=True)
        torch.testing.assert_close(value.sizes[name], size([gradient]))
        assert value.terms[name].weight == pytest.approx(weights[name])
        expected = expected + weights[name] * gradient
        share = value.named()[f"boundary_share/gradient/{name}"]
        torch.testing.assert_close(share, weights[name] * size([gradient]) / size(of_base[:1]))
    torch.testing.assert_close(logits.grad, expected)
    torch.testing.assert_close(deep.grad, of_base[1])


def test_with_queries_it_is_the_gradient_at_mask_and_class_logits_of_the_final_prediction() -> None:
    target, random = target_masks(), torch.Generator().manual_seed(2)
    masks = torch.randn(2, 5, 16, 16, 16, generator=random, dtype=torch.float64, requires_grad=True)
    classes = torch.randn(2, 5, 4, generator=random, dtype=torch.float64, requires_grad=True)
    # Mask logits that are the features themselves: those of every query, matched or not.
    pixels = PixelEmbedding(masks, torch.eye(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64))
    final = QueryOutput(classes, torch.eye(5, dtype=torch.float64).expand(2, 5, 5))
    output = SegOutput("sigmoid", queries=(final,), pixels=pixels)
    loss = built(queries=True, **SUMMED)
    value = loss(output, target, context(masks=torch.tensor(6.0)))
    value.total.backward()
    of_base = torch.autograd.grad(query_loss(output, target, masks=6, pairing="correct"), (masks, classes))
    torch.testing.assert_close(value.sizes[BASE], size(of_base))
    expected = list(of_base)
    for name, term in terms_of(loss, replace(output, _mask_logits={}), target).items():
        gradients = torch.autograd.grad(term, (masks, classes), retain_graph=True)
        torch.testing.assert_close(value.sizes[name], size(gradients))
        weight = value.terms[name].weight
        expected = [one + weight * other for one, other in zip(expected, gradients, strict=True)]
    torch.testing.assert_close(masks.grad, expected[0])
    torch.testing.assert_close(classes.grad, expected[1])


def test_of_several_predictions_only_the_final_one_counts() -> None:
    """Its share of the query loss is a half; the earlier ones make no probabilities."""
    target = target_masks()
    image = torch.randn(2, 4, 16, 16, 16, generator=torch.Generator().manual_seed(2))
    output = network("decoder", decoder_layers=3, deep_supervision=False)(image)
    loss = built(queries=True, **SUMMED)
    value = loss(output, target, context(masks=torch.tensor(6.0), ratio=RATIO.float()))
    value.total.backward()
    alone = replace(output, queries=output.queries[-1:], _mask_logits={})
    final = loss(alone, target, context(masks=torch.tensor(6.0), ratio=RATIO.float()))
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        final.total.backward()
    torch.testing.assert_close(value.sizes[BASE], final.sizes[BASE] / 2)
    torch.testing.assert_close(value.sizes["blob"], final.sizes["blob"])


@pytest.mark.parametrize("mode", ["cnn", "decoder"])
def test_the_gradient_of_every_parameter_is_that_of_the_sum(mode: str) -> None:
    net, target = network(mode), target_masks()
    image = torch.randn(2, 4, 16, 16, 16, generator=torch.Generator().manual_seed(2))
    loss = built(queries=net.has_queries, **SUMMED)
    value = loss(net(image), target, context(masks=torch.tensor(6.0), ratio=RATIO.float()))
    value.total.backward()
    found = [parameter.grad.clone() for parameter in net.parameters() if parameter.requires_grad]
    net.zero_grad()
    output = net(image)
    total = sum(base_loss(output, target, StepContext(50, masks=torch.tensor(6.0))).values())
    for name, term in terms_of(loss, output, target).items():
        total = total + value.terms[name].weight * term
    torch.testing.assert_close(value.total, total)
    total.backward()
    expected = [parameter.grad for parameter in net.parameters() if parameter.requires_grad]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_a_term_of_weight_0_is_measured_and_changes_nothing() -> None:
    logits = torch.randn(2, 3, 16, 16, 16, generator=torch.Generator().manual_seed(2), requires_grad=True)
    output, target = SegOutput("sigmoid", logits=logits), target_masks()
    value = built(**SUMMED)(output, target, context(ratio=torch.zeros(2)))
    value.total.backward()
    assert value.sizes["hausdorff_distance"] > 0
    assert value.named()["boundary_share/gradient/hausdorff_distance"] == 0
    (alone,) = torch.autograd.grad(sum(base_loss(output, target).values()), logits)
    assert torch.equal(logits.grad, alone)


def tiny(probability: Tensor, target: Tensor, *_: Any) -> Tensor:
    """A loss whose gradient is far below what fp16 holds."""
    return 1e-12 * (probability - target.to(probability.dtype)).square().mean((2, 3, 4))


def test_no_gradient_is_lost_in_fp16_before_it_is_weighed() -> None:
    logits = torch.randn(2, 3, 16, 16, 16, generator=torch.Generator().manual_seed(2)).half().requires_grad_()
    target = target_masks()
    loss = TotalLoss(
        base=lambda output, masks, _: {"none": 0 * output.logits.sum() + 0 * masks.sum()},
        terms={"tiny": BoundaryTerm(tiny, ("WT", "TC", "ET"))},
        weight=BoundaryWeight(1e14, 100),
        needs_mask_count=False,
        needs_dice_sums=False,
    )
    value = loss(SegOutput("sigmoid", logits=logits), target, context())
    value.total.backward()
    exact = logits.detach().double().requires_grad_()
    term = BoundaryTerm(tiny, ("WT", "TC", "ET"))(SegOutput("sigmoid", logits=exact), target, SIZES)[0]
    (gradient,) = torch.autograd.grad(term, exact)
    torch.testing.assert_close(value.sizes["tiny"].double(), size([gradient]), rtol=1e-4, atol=0)
    torch.testing.assert_close(logits.grad.double(), 1e14 * gradient, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("mode", ["cnn", "decoder"])
def test_sizes_of_parts_of_a_batch_average_to_those_of_the_whole(mode: str) -> None:
    net, target = network(mode).double(), target_masks()
    target[1, 1:] = False
    image = torch.randn(2, 4, 16, 16, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    loss = built(queries=net.has_queries, batch_dice=mode == "cnn", **SUMMED)
    masks = torch.tensor(4.0, dtype=torch.float64)
    dice = loss.dice_sums(net(image), target).detach() if mode == "cnn" else None

    def value_of(samples: slice, parts: int) -> LossValue:
        numbers = {"masks": masks / parts, "dice": dice, "parts": parts, "spacing_mm": SIZES[samples]}
        value = loss(net(image[samples]), target[samples], context(**numbers))
        (value.total * 8 / parts).backward()  # as a scaler of 8 and so many micro-batches do
        return value

    whole = value_of(slice(0, 2), 1).as_row(8.0)
    halves = [value_of(slice(sample, sample + 1), 2).as_row(8.0 / 2) for sample in range(2)]
    torch.testing.assert_close(torch.stack(halves).mean(0)[-3:], whole[-3:], rtol=1e-5, atol=0)


def test_a_large_gradient_is_summed_exactly() -> None:
    """One long sum of a million small numbers in fp32 would be off by per cents."""
    logits = torch.zeros(1, 1, 128, 128, 128, requires_grad=True)
    sizes: dict[str, Tensor] = {}
    (measured(logits, sizes, "a") * 1e-7).sum().backward()
    assert float(sizes["a"]) == pytest.approx(1e-7 * 128**3, rel=1e-5)


def test_nothing_is_measured_where_nothing_learns() -> None:
    output, target = SegOutput("sigmoid", logits=torch.zeros(2, 3, 16, 16, 16)), target_masks()
    with torch.no_grad():
        value = built(**SUMMED)(output, target, context(ratio=RATIO.float()))
    assert value.sizes == {}
    assert "boundary_share/value/blob" in value.named()


def test_weights_and_shares_of_joined_terms_by_hand() -> None:
    output, target = SegOutput("sigmoid", logits=torch.zeros(2, 3, 16, 16, 16)), target_masks()
    loss = built(
        boundary="hausdorff_distance+blob", boundary_shares=(3, 1), boundary_weight=2, boundary_schedule="ramp"
    )
    value = loss(output, target, StepContext(30, spacing_mm=SIZES))  # the middle of the ramp from 10 to 50
    weights = {name: float(term.weight) for name, term in value.terms.items()}
    assert weights == pytest.approx({"hausdorff_distance": 2 * 0.5 * 3 / 4, "blob": 2 * 0.5 / 4})
    blob, _ = term_of("blob")(output, target, SIZES)
    torch.testing.assert_close(value.terms["blob"].value, blob)
    base = sum(base_loss(output, target).values())
    torch.testing.assert_close(
        value.total, base + 0.75 * value.terms["hausdorff_distance"].value + 0.25 * value.terms["blob"].value
    )
    assert isinstance(loss, TotalLoss)
    assert loss.needs_lesions
    assert not built(boundary="hausdorff_distance+signed_distance").needs_lesions
