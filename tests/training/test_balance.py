"""The running ratios that weigh the boundary terms."""

import math
from typing import Any

import pytest
import torch

from mets3d.config import Loss
from mets3d.losses.value import BASE, LossValue, TermValue
from mets3d.training.balance import DECAY, FLOOR, Balance, balance_of

CPU = torch.device("cpu")


def numbers(base: float, *terms: float, sizes: tuple[float, ...] = ()) -> LossValue:
    """A loss of this base and these terms, a, b, ..., and the sizes of their gradients, the base's first."""
    parts = {"dice": torch.tensor(base / 4), "deep": torch.tensor(base * 3 / 4)}
    of_label = {"WT": torch.tensor(5.0)}
    values = {
        name: TermValue(torch.tensor(v), torch.tensor(7.0), of_label) for name, v in zip("abc", terms, strict=False)
    }
    measured = {name: torch.tensor(size) for name, size in zip([BASE, *values], sizes, strict=False)}
    return LossValue(torch.tensor(9.0), parts, values, measured)


def test_ratio_by_hand() -> None:
    balance = Balance(CPU)
    assert balance.ratio() == 0
    balance.update(numbers(1.0))
    assert balance.ratio() == 0, "no term was seen yet"
    balance.update(numbers(2.0, 0.1))
    assert balance.ratio().item() == pytest.approx(20)
    balance.update(numbers(1.0, -0.4))  # a signed distance may be negative
    base = DECAY * 2.0 + 1.0
    boundary = DECAY * 0.1 + 0.4
    assert balance.ratio().item() == pytest.approx(base / boundary)


def test_each_term_has_a_ratio_of_its_own() -> None:
    balance = Balance(CPU, terms=2)
    balance.update(numbers(2.0, 0.1, 4.0))
    balance.update(numbers(1.0, 0.3, 8.0))
    base = DECAY * 2.0 + 1.0
    assert balance.ratio().tolist() == pytest.approx([base / (DECAY * 0.1 + 0.3), base / (DECAY * 4 + 8)])


def test_the_ratio_of_gradients_looks_at_no_value() -> None:
    balance = Balance(CPU, "gradients", terms=2)
    balance.update(numbers(2.0, 0.1, 4.0, sizes=(6.0, 3.0, 12.0)))
    assert balance.ratio().tolist() == pytest.approx([2, 0.5])


@pytest.mark.parametrize(("base", "boundary"), [(0.5, 1e-9), (1.0, 1e-30), (1e-9, 1.0), (3.0, 1e30)])
def test_no_unit_is_too_small_or_too_large(base: float, boundary: float) -> None:
    balance = Balance(CPU)
    balance.update(numbers(base, boundary))
    assert balance.ratio().item() == pytest.approx(base / boundary, rel=1e-5)


def test_a_step_that_says_nothing_of_a_term_is_left_out_for_it_alone() -> None:
    balance = Balance(CPU, terms=2)
    balance.update(numbers(2.0, 0.1, 4.0))
    for nothing in (numbers(math.nan, 0.1, 4.0), numbers(math.inf, 0.1, 4.0), numbers(5.0, math.inf, math.nan)):
        balance.update(nothing)
        assert balance.ratio().tolist() == pytest.approx([20, 0.5])
    for _ in range(2000):
        balance.update(numbers(1.0, 0.0, 4.0))
    assert balance.ratio().tolist() == pytest.approx([20, 0.25], rel=1e-4), "an exact 0, for ever so long"


def test_the_weight_of_a_term_that_collapses_grows_slowly_and_then_no_further() -> None:
    balance = Balance(CPU)
    for _ in range(500):
        balance.update(numbers(1.0, 0.1))
    before = float(balance.ratio())
    assert before == pytest.approx(10, rel=1e-4)
    balance.update(numbers(1.0, 0.1e-6))
    assert before < float(balance.ratio()) < 1.011 * before, "a millionfold collapse in one step"
    for _ in range(3000):
        balance.update(numbers(1.0, 0.1e-6))
    assert float(balance.ratio()) == pytest.approx(before / FLOOR, rel=0.01)
    balance.update(numbers(1.0, 0.1))
    assert float(balance.ratio()) < 100 * before * 1.01


def test_state_goes_round() -> None:
    one, two = Balance(CPU, terms=2), Balance(CPU, terms=2)
    one.update(numbers(2.0, 0.1, 3.0))
    one.update(numbers(2.0, 0.05, 6.0))
    listed = torch.tensor(one.averages.flatten().tolist())  # as the checkpoint has it
    two.load_state_dict({"averages": listed})
    assert torch.equal(one.averages, two.averages)
    assert torch.equal(one.ratio(), two.ratio())
    with pytest.raises(ValueError, match="expected 3 running averages of the loss, 3 for each boundary term, found 6"):
        Balance(CPU).load_state_dict(one.state_dict())


@pytest.mark.parametrize(
    ("loss", "of", "terms"),
    [
        ({"boundary": "blob", "boundary_schedule": "balanced"}, "values", 1),
        ({"boundary": "blob+signed_distance", "boundary_schedule": "gradient"}, "gradients", 2),
    ],
)
def test_the_settings_say_what_is_balanced(loss: dict[str, Any], of: str, terms: int) -> None:
    balance = balance_of(Loss(**loss), CPU)
    assert (balance.of, balance.averages.shape) == (of, (3, terms))
