"""The value of a loss: its names in the log, and the way through one flat row."""

import torch

from mets3d.losses.value import LossValue


def value(boundary: bool) -> LossValue:
    total = torch.tensor(3.0, requires_grad=True) * 2
    base = {"dice": torch.tensor(1.0), "deep": torch.tensor(2.0)}
    if not boundary:
        return LossValue(total, base)
    by_label = {"WT": torch.tensor(4.0), "ET": torch.tensor(8.0)}
    return LossValue(total, base, torch.tensor(6.0), by_label, torch.tensor(0.5))


def test_names_are_those_of_the_log_in_its_order() -> None:
    names = ["loss", "loss/dice", "loss/deep"]
    assert list(value(boundary=False).named()) == names
    numbers = value(boundary=True).named()
    assert list(numbers) == [*names, "loss/boundary", "loss/boundary/WT", "loss/boundary/ET", "boundary_weight"]
    assert [number.item() for number in numbers.values()] == [6, 1, 2, 6, 4, 8, 0.5]
    assert not any(number.requires_grad for number in numbers.values())


def test_a_flat_row_fills_a_value_of_the_same_parts() -> None:
    for boundary in (False, True):
        one = value(boundary)
        row = one.as_row()
        assert not row.requires_grad
        again = one.with_numbers(row * 2).named()
        assert {name: number.item() for name, number in again.items()} == {
            name: 2 * number.item() for name, number in one.named().items()
        }
