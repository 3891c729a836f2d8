"""Finds settings that differ from their defaults and have no effect under others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from mets3d.settings import Augment, Config, Section
from mets3d.wording import agreed, counted, joined

SWITCH = "augment.enabled"

_OF_DISTANCE = "hausdorff_distance", "hausdorff_log"
# Settings `loss.boundary_...` that some terms alone look at.
OF_TERMS: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("sides", "class_balanced"): _OF_DISTANCE,
    ("cap_mm",): (*_OF_DISTANCE, "hausdorff_conditioned"),
    ("alpha",): (*_OF_DISTANCE, "hausdorff_erosion", "hausdorff_convolution", "hausdorff_conditioned"),
    ("absent",): (
        *(*_OF_DISTANCE, "hausdorff_conditioned", "signed_distance"),
        *("generalized_surface", "region_wise"),
    ),
    ("erosions", "rescale"): ("hausdorff_erosion",),
    ("radii_mm",): ("hausdorff_convolution",),
    ("inside",): ("blob", "cc_dice"),
    ("tversky", "focus"): ("focal_tversky",),
    ("top",): ("top_k",),
}


class Rule(NamedTuple):
    """Settings that act under a condition alone, and why they do not where it is not met.

    keys: dotted; one that ends in `*` stands for all that begin so. why: may name settings in braces.
    """

    keys: tuple[str, ...]
    act: Callable[[Config], bool]
    why: str


def _drawn(*names: str) -> Callable[[Config], bool]:
    """Returns whether one of some changes of a sample has a probability above 0."""
    return lambda config: any(getattr(config.augment, name) for name in names)


def _joined(least: int) -> Callable[[Config], bool]:
    """Returns whether the loss has so many boundary terms or more."""
    return lambda config: len(config.loss.boundary_terms) >= least


def _has_term(*terms: str) -> Callable[[Config], bool]:
    """Returns whether the loss has one of some boundary terms."""
    return lambda config: not {*terms}.isdisjoint(config.loss.boundary_terms)


RULES = (
    Rule(
        (
            *("model.queries", "model.width", "model.decoder_*", "model.memory_*", "model.masked_attention"),
            *("model.position_encoding", "model.attention_fp32", "model.no_object_prior", "model.frozen_cnn_head"),
            *("loss.query_*", "loss.no_object_weight", "predict.query_classes"),
        ),
        lambda config: config.model.has_queries,
        "in mode {model.mode}, which has no query decoder",
    ),
    Rule(("model.vit_*",), lambda config: config.model.has_vit, "in mode {model.mode}, which has no ViT"),
    Rule(
        ("optim.layer_decay",),
        lambda config: config.model.has_vit or config.model.has_queries,
        "in mode {model.mode}, which has neither ViT nor query decoder",
    ),
    Rule(("model.deep_heads",), lambda config: config.model.deep_supervision, "without model.deep_supervision"),
    Rule(("loss.deep_targets",), lambda config: config.model.has_deep_heads, "without deep heads"),
    Rule(
        ("optim.step_every", "optim.step_factor"),
        lambda config: config.optim.schedule == "step",
        "under optim.schedule {optim.schedule}, but under step alone",
    ),
    Rule(
        ("optim.poly_power",),
        lambda config: config.optim.schedule == "poly",
        "under optim.schedule {optim.schedule}, but under poly alone",
    ),
    Rule(
        ("optim.min_lr",),
        lambda config: config.optim.schedule in ("cosine", "poly"),
        "under optim.schedule {optim.schedule}, but under cosine and poly alone",
    ),
    Rule(("optim.betas",), lambda config: config.optim.name != "sgd", "under optim.name sgd"),
    Rule(("optim.momentum",), lambda config: config.optim.name == "sgd", "under optim.name {optim.name}"),
    Rule(("data.folds",), lambda config: config.data.split is None, "beside data.split"),
    Rule(
        ("data.split_seed",),
        lambda config: config.data.split is None or config.data.inner_folds is not None,
        "beside data.split",
    ),
    Rule(
        ("data.lesions_per_case",),
        lambda config: config.data.lesion_fraction > 0,
        "where data.lesion_fraction is 0",
    ),
    Rule(
        ("validate.all_every",),
        lambda config: config.validate_.cases is not None,
        "without validate.cases, for every validation is of all held-out cases",
    ),
    Rule(("train.max_skipped",), lambda config: not config.train.debug_non_finite, "under train.debug_non_finite"),
    Rule(("loss.boundary_*",), _joined(1), "where loss.boundary is none"),
    Rule(("loss.boundary_shares",), _joined(2), "where loss.boundary is one term"),
    Rule(
        ("loss.boundary_ramp",),
        lambda config: config.loss.boundary_schedule != "constant",
        "under loss.boundary_schedule constant",
    ),
    *(
        Rule(
            tuple(f"loss.boundary_{name}" for name in names),
            _has_term(*terms),
            f"where loss.boundary is {{loss.boundary}}, but with {joined(terms)} alone",
        )
        for names, terms in OF_TERMS.items()
    ),
    Rule(("augment.*",), lambda config: config.augment.enabled, f"where {SWITCH} is false"),
    *(
        Rule(strengths, _drawn(*of), f"where {what} 0")
        for of, strengths, what in (
            (("rotation",), ("augment.rotation_degrees",), "augment.rotation is"),
            (("scaling",), ("augment.scale", "augment.scale_per_axis"), "augment.scaling is"),
            (("elastic",), ("augment.elastic_scale",), "augment.elastic is"),
            (("noise",), ("augment.noise_std",), "augment.noise is"),
            (("blur",), ("augment.blur_sigma",), "augment.blur is"),
            (("brightness",), ("augment.brightness_range",), "augment.brightness is"),
            (("brightness_shift",), ("augment.brightness_shift_std",), "augment.brightness_shift is"),
            (("contrast",), ("augment.contrast_range",), "augment.contrast is"),
            (("low_resolution",), ("augment.low_resolution_zoom",), "augment.low_resolution is"),
            (("gamma", "gamma_inverted"), ("augment.gamma_range",), "augment.gamma and augment.gamma_inverted are"),
            (("bias_field",), ("augment.bias_field_strength",), "augment.bias_field is"),
        )
    ),
)


def without_effect(config: Config, *, held_out: int) -> list[str]:
    """Returns a remark for each reason for which settings that are not at their defaults have no effect.

    They are no faults: the runs of a sweep over modes share a file. held_out: number of held-out cases.
    """
    changed = list(_changed(config))
    remarks, told = [], {SWITCH}
    for rule in RULES:
        idle = [key for key in changed if key not in told and any(_is_meant(key, name) for name in rule.keys)]
        if idle and not rule.act(config):
            told |= {*idle}
            remarks.append(
                f"{joined(idle)} {agreed(len(idle), 'has', 'have')} no effect {_filled_in(rule.why, config)}"
            )
    wanted = config.validate_.cases
    if wanted is not None and wanted > held_out:
        remarks.append(
            f"validate.cases is {wanted}, and {counted(held_out, 'case')} {agreed(held_out, 'is', 'are')} "
            "held out: all of them are scored"
        )
    return remarks


def _changed(config: Config) -> Iterator[str]:
    """Yields the dotted key of every setting of a section that has another value than by default, or by its preset."""
    for name, field in type(config).model_fields.items():
        section = getattr(config, name)
        if not isinstance(section, Section):
            continue
        plain = Augment(preset=section.preset) if isinstance(section, Augment) else type(section)()
        for key, value in section:
            default = type(section).model_fields[key].default if key == "preset" else getattr(plain, key)
            if value != default:
                yield f"{field.alias or name}.{key}"


def _is_meant(key: str, name: str) -> bool:
    return key.startswith(name[:-1]) if name.endswith("*") else key == name


def _filled_in(why: str, config: Config) -> str:
    values: dict[str, Any] = {name: getattr(config, name) for name in type(config).model_fields}
    return why.format(**values)
