"""The names of a loss in metrics.jsonl, made and read in one place."""

from __future__ import annotations

import torch

from mets3d.log_names import BOUNDARY, BOUNDARY_WEIGHT, LOSS, boundary_name, loss_parts, part_name
from mets3d.losses.value import LossValue


def test_the_names_that_runs_have_in_their_logs() -> None:
    assert (LOSS, BOUNDARY, BOUNDARY_WEIGHT) == ("loss", "loss/boundary", "boundary_weight")
    assert (part_name("dice"), boundary_name("ET")) == ("loss/dice", "loss/boundary/ET")


def test_what_a_loss_writes_is_read_back() -> None:
    one = torch.ones(())
    base = {"dice": one, "cross_entropy": one}
    names = LossValue(one, base, boundary=one, by_label={"ET": one, "WT": one}, weight=one).named()
    assert loss_parts(["step", "lr", *names, *names]) == {
        "loss/dice": "dice",
        "loss/cross_entropy": "cross entropy",
        "loss/boundary": "boundary",
    }
    assert loss_parts(LossValue(one, base).named()) == {"loss/dice": "dice", "loss/cross_entropy": "cross entropy"}
    assert loss_parts(["step", "lr", "dice/mean", "boundary_weight", "loss", "losses/dice"]) == {}
