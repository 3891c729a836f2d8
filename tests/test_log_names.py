"""The names of a loss in metrics.jsonl, made and read in one place."""

from __future__ import annotations

import re

import pytest
import torch

from mets3d.log_names import (
    BOUNDARY,
    BOUNDARY_WEIGHT,
    GRADIENT_SHARE,
    LOSS,
    VALUE_SHARE,
    boundary_name,
    fields_of_train,
    is_boundary,
    loss_parts,
    of_term,
    part_name,
    terms_below,
)
from mets3d.losses.value import BASE, LossValue, TermValue


def test_the_names_that_runs_have_in_their_logs() -> None:
    assert (LOSS, BOUNDARY, BOUNDARY_WEIGHT) == ("loss", "loss/boundary", "boundary_weight")
    assert (VALUE_SHARE, GRADIENT_SHARE) == ("boundary_share/value", "boundary_share/gradient")
    assert (part_name("dice"), boundary_name("ET")) == ("loss/dice", "loss/boundary/ET")
    assert (of_term(BOUNDARY), of_term(BOUNDARY, "blob")) == ("loss/boundary", "loss/boundary/blob")
    assert boundary_name("ET", "blob") == "loss/boundary/blob/ET"


BASE_PARTS = {"loss/dice": "dice", "loss/cross_entropy": "cross entropy"}


def names_of(*terms: str) -> dict[str, torch.Tensor]:
    one = torch.ones(())
    of_terms = {name: TermValue(one, one, {"ET": one, "WT": one}) for name in terms}
    return LossValue(one, {"dice": one, "cross_entropy": one}, of_terms, dict.fromkeys((BASE, *terms), one)).named()


def test_what_a_loss_writes_is_read_back() -> None:
    names = names_of("blob")
    assert loss_parts(["step", "lr", *names, *names]) == BASE_PARTS | {"loss/boundary": "boundary"}
    assert loss_parts(names_of()) == BASE_PARTS
    assert loss_parts(["step", "lr", "dice/mean", "boundary_weight", "loss", "losses/dice"]) == {}


def test_each_of_several_terms_is_a_part() -> None:
    names = names_of("blob", "signed_distance")
    assert loss_parts(names) == BASE_PARTS | {
        "loss/boundary/blob": "boundary: blob",
        "loss/boundary/signed_distance": "boundary: signed distance",
    }
    assert [name for name in loss_parts(names) if not is_boundary(name)] == list(BASE_PARTS)


@pytest.mark.parametrize("constant", [BOUNDARY_WEIGHT, VALUE_SHARE, GRADIENT_SHARE])
def test_a_number_of_every_term_is_found(constant: str) -> None:
    assert terms_below(constant, [*names_of("blob"), f"{constant}s"]) == [constant]
    assert terms_below(constant, names_of("blob", "top_k")) == [f"{constant}/blob", f"{constant}/top_k"]
    assert terms_below(constant, names_of()) == []


@pytest.mark.parametrize("terms", [(), ("blob",), ("blob", "top_k")])
def test_every_number_of_a_loss_is_declared(terms: tuple[str, ...]) -> None:
    declared = [field.name for field in fields_of_train()]
    for name in names_of(*terms):
        general = name
        for stand_in, own in (("PART", "dice"), ("PART", "cross_entropy"), ("LABEL", "ET"), ("LABEL", "WT")):
            general = re.sub(rf"/{own}$", f"/{stand_in}", general)
        for term in terms:
            general = general.replace(term, "TERM")
        assert general in declared, name
