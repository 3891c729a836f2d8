"""What a term weighs beside the base loss, for every term there is: its unit, and its share of the gradient."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mets3d.config import Loss
from mets3d.losses.total import TotalLoss, base_loss
from mets3d.losses.value import StepContext
from mets3d.settings.loss import BoundaryName
from mets3d.shapes import SegOutput
from mets3d.training.balance import balance_of
from tests.losses.test_total import built

TERMS = get_args(BoundaryName)
SIZE, SPACING_MM = 14, (3.0, 3.0, 3.0)


def ball(shape: tuple[int, ...], spacing: tuple[float, ...], centre_mm: tuple[float, ...], radius_mm: float) -> Tensor:
    """A ball around a point that is given from the middle of the volume."""
    axes = [(torch.arange(n) - n / 2 + 0.5) * mm - at for n, mm, at in zip(shape, spacing, centre_mm, strict=True)]
    return (axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2).sqrt() < radius_mm


# ---------------------------------------------------------------- units


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 2.0), (4.0, 4.0, 4.0)])
@pytest.mark.parametrize("kind", TERMS)
def test_a_reference_error_is_of_order_one_in_every_patch(kind: str, spacing: tuple[float, float, float]) -> None:
    """A lesion of 5 mm radius is missed and another one false; their rims are 10 mm apart."""
    loss = built(boundary=kind, boundary_schedule="constant")
    assert isinstance(loss, TotalLoss)
    values = []
    for size_mm in (48, 96):
        shape = tuple(round(size_mm / mm) for mm in spacing)
        target, predicted = ball(shape, spacing, (-10, 0, 0), 5), ball(shape, spacing, (10, 0, 0), 5)
        logits = torch.where(predicted, 8.0, -12.0).expand(1, 3, *shape)
        output = SegOutput("sigmoid", logits=logits)
        values.append(float(loss.terms[kind](output, target.expand(1, 3, *shape), [spacing])[0]))
    assert all(0.02 < value < 50 for value in values), values
    # The mean over a share of all voxels falls with their number, for an error that is smaller than the share.
    assert kind == "top_k" or max(values) < 2 * min(values), "eight times the patch"


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize("kind", TERMS)
def test_all_labels_at_once_are_each_label_alone(kind: str) -> None:
    random = torch.Generator().manual_seed(5)
    target = torch.zeros(2, 3, 12, 12, 12, dtype=torch.bool)
    target[0, 0, 2:8, 3:9, 3:9] = target[0, 1, 3:6, 4:7, 4:7] = target[1, 0, 1:3, 1:3, 1:3] = True
    target[1, 2] = torch.rand(12, 12, 12, generator=random) > 0.9
    probability = torch.rand(2, 3, 12, 12, 12, generator=random, dtype=torch.float64).requires_grad_()
    term = built(boundary=kind).terms[kind].loss  # type: ignore[attr-defined]
    spacing = ((1.0, 1.0, 2.0), (0.9, 0.9, 1.0))
    together = term(probability, target, spacing, None, None)
    (gradient,) = torch.autograd.grad(together.sum(), probability)
    for label in range(3):
        own = probability.detach()[:, label : label + 1].requires_grad_()
        alone = term(own, target[:, label : label + 1], spacing, None, None)
        torch.testing.assert_close(alone[:, 0], together[:, label])
        (of_label,) = torch.autograd.grad(alone.sum(), own)
        torch.testing.assert_close(of_label[:, 0], gradient[:, label])


def numbers(probability: Tensor, *_: object) -> Tensor:
    """Two samples' losses of three labels: 2, 3 and 4 in the mean."""
    return torch.tensor([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]) + 0 * probability.sum()


@pytest.mark.parametrize(
    ("reduction", "weights", "expected"),
    [("mean", None, 3), ("sum", None, 9), ("mean", (1, 0, 3), 3.5), ("sum", (1, 0, 3), 14), ("mean", (0, 5, 0), 3)],
)
def test_labels_are_combined_by_hand(reduction: str, weights: tuple[float, ...] | None, expected: float) -> None:
    settings = {"boundary_reduction": reduction, "boundary_label_weights": weights}
    term = built(boundary="blob", **settings).terms["blob"]  # type: ignore[attr-defined]
    output = SegOutput("sigmoid", logits=torch.zeros(2, 3, 4, 4, 4))
    object.__setattr__(term, "loss", numbers)
    value, by_label = term(output, torch.zeros(2, 3, 4, 4, 4, dtype=torch.bool), [SPACING_MM] * 2)
    assert value == expected
    assert by_label == {"WT": 2, "TC": 3, "ET": 4}


# ---------------------------------------------------------------- shares on trained weights

Batches = list[tuple[Tensor, Tensor]]


def scenes(count: int) -> Batches:
    """Batches of two samples with lesions of three nested regions, and a noisy image of them.

    Of each sample one lesion is not in the image and another one is in the image alone, so that errors are thick.
    """
    random, batches = np.random.default_rng(3), []
    for _ in range(count):
        target, seen = torch.zeros(2, 2, 3, SIZE, SIZE, SIZE, dtype=torch.bool)
        for sample in range(2):
            for masks in ((target,), (seen,), (target, seen), (target, seen)):
                centre, radius = tuple(random.uniform(-12, 12, 3)), random.uniform(7, 10)
                for region, share in enumerate((1.0, 0.8, 0.7)):
                    for mask in masks:
                        mask[sample, region] |= ball((SIZE,) * 3, SPACING_MM, centre, share * radius)
        noise = torch.from_numpy(random.normal(size=target.shape)).float()
        batches.append((seen + 0.4 * noise, target))
    return batches


def trained(net: nn.Module, batches: Batches, steps: int, update: Callable[[int, SegOutput, Tensor], Tensor]) -> None:
    optimizer = torch.optim.Adam(net.parameters(), lr=0.003)
    for step in range(steps):
        image, target = batches[step % len(batches)]
        optimizer.zero_grad()
        update(step, SegOutput("sigmoid", logits=net(image)), target)
        optimizer.step()


@pytest.fixture(scope="module")
def started() -> tuple[nn.Module, Batches]:
    """A small network that the base loss has trained, and its batches."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv3d(6, 3, 3, padding=1))
    nn.init.constant_(net[2].bias, -4.6)
    batches = scenes(4)
    trained(net, batches, 80, lambda _, output, target: sum(base_loss(output, target).values()).backward())
    return net, batches


@pytest.mark.parametrize("kind", [*TERMS, "hausdorff_distance+blob"])
def test_by_gradient_every_term_has_a_tenth_of_the_pull_of_the_base_loss(
    started: tuple[nn.Module, Batches], kind: str
) -> None:
    net, batches = copy.deepcopy(started[0]), started[1]
    settings = Loss(boundary=kind, boundary_schedule="gradient", boundary_ramp=(0, 0))
    loss, balance = built(**settings.model_dump()), balance_of(settings, torch.device("cpu"))
    assert settings.boundary_weight == 0.1
    logged, weights = [], {}

    def update(step: int, output: SegOutput, target: Tensor) -> None:
        value = loss(output, target, StepContext(1 + step, ratio=balance.ratio(), spacing_mm=[SPACING_MM] * 2))
        value.total.backward()
        balance.update(value)
        logged.append(value.named())
        weights.update({name: float(term.weight) for name, term in value.terms.items()})

    trained(net, batches, 24, update)
    assert isinstance(loss, TotalLoss)
    for name, term in loss.terms.items():
        base = pull = 0.0
        for image, target in batches:
            logits = net(image).detach().requires_grad_()
            output = SegOutput("sigmoid", logits=logits)
            (of_base,) = torch.autograd.grad(sum(base_loss(output, target).values()), logits)
            value, _ = term(output, target, [SPACING_MM] * 2)
            (of_term,) = torch.autograd.grad(value, logits)
            base += float(of_base.abs().sum())
            pull += float(of_term.abs().sum())
            assert abs(value) < 1e2
        share = weights[name] * pull / base
        of_one = 0.1 / len(loss.terms)
        assert of_one / 2 < share < 2 * of_one
        names = [key for key in logged[-1] if key.startswith("boundary_share/gradient") and key.endswith(name)]
        key = names[0] if names else "boundary_share/gradient"
        assert of_one / 2 < float(torch.stack([row[key] for row in logged[-4:]]).mean()) < 2 * of_one
