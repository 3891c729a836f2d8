"""The running ratio that weighs the boundary term."""

import math

import pytest
import torch

from mets3d.losses.value import LossValue
from mets3d.training.balance import DECAY, HIGHEST, LOWEST, Balance


def numbers(base: float, boundary: float | None) -> LossValue:
    parts = {"dice": torch.tensor(base / 4), "deep": torch.tensor(base * 3 / 4)}
    if boundary is None:
        return LossValue(torch.tensor(9.0), parts)
    return LossValue(
        torch.tensor(9.0), parts, torch.tensor(boundary), {"WT": torch.tensor(5.0)}, weight=torch.tensor(7.0)
    )


def test_ratio_by_hand() -> None:
    balance = Balance(torch.device("cpu"))
    assert balance.ratio() == 0
    balance.update(numbers(1.0, None))
    assert balance.ratio() == 0, "no term was seen yet"
    balance.update(numbers(2.0, 0.1))
    assert balance.ratio().item() == pytest.approx(20)
    balance.update(numbers(1.0, -0.4))  # a signed distance may be negative
    base = DECAY * 2.0 + 1.0
    boundary = DECAY * 0.1 + 0.4
    assert balance.ratio().item() == pytest.approx(base / boundary)


def test_what_is_not_finite_is_left_out_and_the_ratio_is_clipped() -> None:
    balance = Balance(torch.device("cpu"))
    balance.update(numbers(2.0, 0.1))
    balance.update(numbers(math.nan, 0.1))
    balance.update(numbers(2.0, math.inf))
    assert balance.ratio().item() == pytest.approx(20)
    for base, boundary, expected in ((1.0, 1e-30, HIGHEST), (1e-9, 1.0, LOWEST)):
        fresh = Balance(torch.device("cpu"))
        fresh.update(numbers(base, boundary))
        assert fresh.ratio().item() == pytest.approx(expected)


def test_state_goes_round() -> None:
    one, two = Balance(torch.device("cpu")), Balance(torch.device("cpu"))
    one.update(numbers(2.0, 0.1))
    two.load_state_dict(one.state_dict())
    assert torch.equal(one.ratio(), two.ratio())
