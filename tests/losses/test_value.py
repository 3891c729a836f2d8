"""The value of a loss: its names in the log, and the way through one flat row."""

import pytest
import torch

from mets3d.losses.value import BASE, LossValue, TermValue


def number(value: float) -> torch.Tensor:
    return torch.tensor(value)


def value(*terms: str, measured: bool = True) -> LossValue:
    """A loss with base 3, and of each term the values 6, 4 and 8 times its place."""
    base = {"dice": number(1.0), "deep": number(2.0)}
    sizes = {BASE: number(10.0)} if terms and measured else {}
    of_terms = {}
    for place, name in enumerate(terms, 1):
        of_labels = {"WT": number(4.0 * place), "ET": number(8.0 * place)}
        of_terms[name] = TermValue(number(6.0 * place), number(0.5), of_labels)
        sizes |= {name: number(5.0 * place)} if measured else {}
    return LossValue(torch.tensor(3.0, requires_grad=True) * 2, base, of_terms, sizes)


def test_names_are_those_of_the_log_in_its_order() -> None:
    names = ["loss", "loss/dice", "loss/deep"]
    assert list(value().named()) == names
    numbers = value("blob").named()
    labels = ["loss/boundary", "loss/boundary/WT", "loss/boundary/ET"]
    shares = ["boundary_weight", "boundary_share/value", "boundary_share/gradient"]
    assert list(numbers) == [*names, *labels, *shares]
    # Of the value 0.5 x 6 / 3, of the gradient 0.5 x 5 / 10.
    assert [number.item() for number in numbers.values()] == [6, 1, 2, 6, 4, 8, 0.5, 1, 0.25]
    assert not any(number.requires_grad for number in numbers.values())
    assert list(value("blob", measured=False).named()) == [*names, *labels, *shares[:2]], "before the backward pass"


def test_each_of_several_terms_has_its_names_below_those_of_one() -> None:
    one, numbers = value("blob").named(), value("blob", "cc_dice").named()
    of_terms = [name for name in one if "boundary" in name and not name.endswith("T")]
    assert set(numbers) == {
        *("loss", "loss/dice", "loss/deep"),
        *(f"{name}/{term}" for name in of_terms for term in ("blob", "cc_dice")),
        *(f"loss/boundary/{term}/{label}" for term in ("blob", "cc_dice") for label in ("WT", "ET")),
    }
    assert numbers["loss/boundary/cc_dice/ET"] == 16
    assert numbers["boundary_share/value/cc_dice"] == 2
    assert numbers["boundary_share/gradient/cc_dice"] == 0.5


@pytest.mark.parametrize("terms", [(), ("blob",), ("blob", "cc_dice")])
def test_a_flat_row_fills_a_value_of_the_same_parts(terms: tuple[str, ...]) -> None:
    one = value(*terms)
    row = one.as_row()
    assert not row.requires_grad
    again = one.with_numbers(row).named()
    assert {name: number.item() for name, number in again.items()} == {
        name: number.item() for name, number in one.named().items()
    }
    changed = one.with_numbers(row * torch.arange(1, len(row) + 1)).named()
    assert changed["loss/deep"] == 3 * 2
    if terms:
        assert changed["loss/boundary" if len(terms) == 1 else "loss/boundary/blob"] == 4 * 6


def test_sizes_of_gradients_in_a_row_are_those_of_the_loss_before_it_was_scaled() -> None:
    one = value("blob")
    assert one.as_row(torch.tensor(4.0))[-2:].tolist() == [10 / 4, 5 / 4]
    assert one.as_row(4.0)[:-2].tolist() == one.as_row()[:-2].tolist()
    assert value("blob", measured=False).as_row()[-2:].tolist() == [0, 0]
