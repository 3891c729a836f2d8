"""Settings that have no effect under others are said, once each, with the reason, and only where they were changed."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch

from mets3d.config import Loss, load
from mets3d.config.keys import settings
from mets3d.losses import _boundary_losses
from mets3d.settings.effects import OF_TERMS, RULES, without_effect
from mets3d.settings.loss import BoundaryName
from mets3d.shipped import CONFIGS, names_in
from tests.builders.runs import train, write_config


def remarks(*words: str, held_out: int = 99) -> list[str]:
    return without_effect(load(words), held_out=held_out)


@pytest.mark.parametrize(
    ("words", "remark"),
    [
        (
            ["--model.mode=cnn", "--model.no_object_prior=0.9", "--loss.query_points=64"],
            "model.no_object_prior and loss.query_points have no effect in mode cnn, which has no query decoder",
        ),
        (
            ["--model.mode=decoder", "--model.vit_depth=2"],
            "model.vit_depth has no effect in mode decoder, which has no",
        ),
        (["--model.mode=cnn", "--optim.layer_decay=0.8"], "optim.layer_decay has no effect in mode cnn, which has nei"),
        (["--model.deep_supervision=false", "--model.deep_heads=1"], "model.deep_heads has no effect without model.de"),
        (["--model.deep_supervision=false", "--loss.deep_targets=max"], "loss.deep_targets has no effect without deep"),
        (
            ["--optim.step_every=100", "--optim.step_factor=0.5"],
            "optim.step_every and optim.step_factor have no effect under optim.schedule cosine, but under step alone",
        ),
        (["--optim.poly_power=2"], "optim.poly_power has no effect under optim.schedule cosine, but under poly alone"),
        (["--optim.schedule=constant", "--optim.min_lr=1e-5"], "optim.min_lr has no effect under optim.schedule const"),
        (["--optim.name=sgd", "--optim.betas=[0.8, 0.9]"], "optim.betas has no effect under optim.name sgd"),
        (["--optim.momentum=0.9"], "optim.momentum has no effect under optim.name adamw"),
        (["--data.split=s.json", "--data.folds=3"], "data.folds has no effect beside data.split"),
        (["--data.lesion_fraction=0", "--data.lesions_per_case=5"], "data.lesions_per_case has no effect where data.l"),
        (
            ["--loss.boundary=none", "--loss.boundary_weight=0.3", "--loss.boundary_top=0.2"],
            "loss.boundary_weight and loss.boundary_top have no effect where loss.boundary is none",
        ),
        (
            ["--loss.boundary=blob+cc_dice", "--loss.boundary_sides=target"],
            "loss.boundary_sides has no effect where loss.boundary is blob+cc_dice, but with hausdorff_distance and h",
        ),
        (
            ["--loss.boundary=top_k", "--loss.boundary_schedule=constant", "--loss.boundary_ramp=[0, 1]"],
            "loss.boundary_ramp has no effect under loss.boundary_schedule constant",
        ),
        (["--loss.boundary=blob", "--loss.boundary_shares=[2]"], "loss.boundary_shares has no effect where loss.boun"),
        (["--validate.all_every=100"], "validate.all_every has no effect without validate.cases, for every validation"),
        (["--train.debug_non_finite=true", "--train.max_skipped=9"], "train.max_skipped has no effect under train.deb"),
        (
            ["--augment.enabled=false", "--augment.preset=brats_regions", "--augment.noise=0.5"],
            "augment.preset and augment.noise have no effect where augment.enabled is false",
        ),
        (
            ["--augment.preset=spatial", "--augment.noise_std=0.3"],
            "augment.noise_std has no effect where augment.noise",
        ),
        (["--augment.scaling=0", "--augment.scale_per_axis=1"], "augment.scale_per_axis has no effect where augment.s"),
        (
            ["--augment.gamma=0", "--augment.gamma_inverted=0", "--augment.gamma_range=[0.9, 1.1]"],
            "augment.gamma_range has no effect where augment.gamma and augment.gamma_inverted are 0",
        ),
        (["--validate.cases=100"], "validate.cases is 100, and 99 cases are held out: all of them are scored"),
    ],
)
def test_a_setting_without_effect_is_said(words: list[str], remark: str) -> None:
    (said,) = remarks(*words)
    assert said.startswith(remark)


@pytest.mark.parametrize(
    "words",
    [
        ["--model.mode=cnn", "--model.no_object_prior=null", "--model.queries=20"],  # the defaults, said once more
        ["--model.mode=both", "--model.no_object_prior=0.9", "--model.vit_depth=2", "--optim.layer_decay=0.8"],
        ["--optim.schedule=step", "--optim.step_every=100", "--optim.step_factor=0.5"],
        ["--optim.schedule=poly", "--optim.poly_power=2", "--optim.min_lr=1e-5"],
        ["--optim.name=sgd", "--optim.momentum=0.9"],
        ["--loss.boundary=top_k+blob", "--loss.boundary_top=0.2", "--loss.boundary_shares=[2, 1]"],
        ["--loss.boundary=blob", "--loss.boundary_label_weights=[1, 2, 3]", "--loss.boundary_reduction=sum"],
        ["--augment.preset=brats_regions"],
        ["--augment.preset=none"],
        ["--augment.preset=none", "--augment.noise=0.1", "--augment.noise_std=0.3"],
        ["--augment.enabled=false"],
        ["--validate.cases=99", "--validate.all_every=100"],
    ],
)
def test_what_acts_or_was_not_changed_is_not_said(words: list[str]) -> None:
    assert remarks(*words) == []


@pytest.mark.parametrize("name", names_in(CONFIGS))
def test_nothing_in_a_configuration_that_comes_with_the_package_is_without_effect(name: str) -> None:
    assert remarks("--config", name) == []


def test_every_rule_is_about_settings_that_there_are() -> None:
    for rule in RULES:
        for key in rule.keys:
            assert [name for name in settings() if name == key or (key[-1] == "*" and name.startswith(key[:-1]))], key


NOT_ITS_DEFAULT = {
    "alpha": 3.0,
    "sides": "directed",
    "absent": "skip",
    "cap_mm": 7.0,
    "class_balanced": True,
    "erosions": 1,
    "rescale": "fixed",
    "radii_mm": (4.0,),
    "inside": "dice",
    "tversky": (0.5, 0.5),
    "focus": 2.0,
    "top": 0.5,
}


@pytest.mark.parametrize("term", get_args(BoundaryName))
def test_a_setting_of_a_term_has_an_effect_where_the_rules_say_so(term: str) -> None:
    probability = torch.rand(1, 3, 12, 10, 8, generator=torch.Generator().manual_seed(3))
    target = torch.zeros(1, 3, 12, 10, 8, dtype=torch.bool)
    target[:, 0, 2:8, 3:8, 2:6] = target[:, 1, 3:6, 4:6, 3:5] = True  # the third region is absent
    probability[:, 0, 3:8, 3:8, 2:7] = 0.01  # a thick error

    def value(**settings: object) -> list[float]:
        chosen = Loss.model_validate({"boundary": term} | {f"boundary_{key}": new for key, new in settings.items()})
        return _boundary_losses(chosen)[term](probability, target, (1.0, 1.0, 1.0), None, None)[0].tolist()

    acts = {name for name, new in NOT_ITS_DEFAULT.items() if value(**{name: new}) != value()}
    assert {*NOT_ITS_DEFAULT} == {name for names in OF_TERMS for name in names}
    assert acts == {name for names, terms in OF_TERMS.items() if term in terms for name in names}


def test_a_training_says_it_before_its_first_step_and_goes_on(
    tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, phantom_store, train={"steps": 1}, validate={"cases": 3, "every": 9})
    assert train(config, "--model.no_object_prior=0.9") == 0
    said, _, steps = capsys.readouterr().out.partition("step 1/1")
    assert "model.no_object_prior" in said
    assert "have no effect in mode cnn, which has no query decoder" in said
    assert "validate.cases is 3, and 2 cases are held out: all of them are scored" in said
    assert "no effect" not in steps
