"""Puts into words why a plan is as it is: a reason for every setting, and the head of its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mets3d.data.spacing import Wanted
from mets3d.planning import spacing
from mets3d.planning.fingerprint import Fingerprint
from mets3d.planning.fit import Fit
from mets3d.planning.memory import CONTEXT_BYTES, GB, Need
from mets3d.planning.nnunet import NnunetPlan
from mets3d.planning.spacing import Candidate
from mets3d.planning.topology import START_VOXELS
from mets3d.wording import agreed, counted

NNUNET = (32, 320)  # channels of the first stage, and at most
SHOWN = 5  # cases named in the head of a file


@dataclass(frozen=True)
class Case:
    """Everything that a plan rests on."""

    fingerprint: Fingerprint
    memory_bytes: float
    chosen: Candidate
    compared: Sequence[Candidate]
    region: str
    brain: tuple[float, ...]
    fit: Fit

    @property
    def memory(self) -> str:
        """Returns the memory in words."""
        return f"{self.memory_bytes / GB:g} GB"

    @property
    def median_brain(self) -> str:
        """Returns the median brain in words."""
        return f"median brain {'x'.join(str(round(size)) for size in self.brain)} at {_of(self.chosen.wanted)}"


def of_network(case: Case, nnunet: NnunetPlan | None) -> dict[str, str]:
    """Returns the reasons of patch, network, batch and what saves memory, by dotted key."""
    fit, model = case.fit, case.fit.config.model
    given = None if nnunet is None else f"of {nnunet.file}"
    width = min(model.features * 2 ** len(model.strides), model.max_features)
    bottleneck = _times(fit.topology.bottleneck)
    own = "of the base, which are nnU-Net's" if (model.features, model.max_features) == NNUNET else "of the base"
    channels = f"{given if nnunet and nnunet.features else own}: doubled at each level"
    if nnunet is not None and not nnunet.features:
        channels += f"; {nnunet.file}: {nnunet.remarks[0]}"
    return {
        "data.patch": _patch(case, given),
        "model.strides": f"{given or _halving()}; the bottleneck is {bottleneck} voxels of {width} channels",
        "model.kernels": given or _kernels(case),
        "model.features": channels,
        "model.max_features": f"{given if nnunet and nnunet.max_features else own}: the cap",
        **_of_training(case),
    }


def of_precision(case: Case) -> str:
    """Returns why feature maps are in bf16."""
    return (
        f"as single_gpu launches: feature maps take half the memory; in fp32 the step would need "
        f"{_gb(case.fit.in_fp32)} in place of {_gb(case.fit.need)}"
    )


def of_spacing(case: Case) -> str:
    """Returns why the voxels have their size."""
    kept, lesions = case.chosen.above_2
    if not sum(case.chosen.lesions):
        known = "no lesion is known to choose it by"
    else:
        known = (
            f"{kept} of {counted(lesions, 'lesion')} of {case.region} above 2 mm3 "
            f"{agreed(kept, 'survives', 'survive')}, {case.chosen.voxels / 1e6:.2f} million "
            "voxels a case"
        )
    if case.chosen.name in (spacing.ONE_MM, spacing.MEDIAN, spacing.IN_PLANE, spacing.NNUNET):
        rule = f"; {spacing.RULE}" if sum(case.chosen.lesions) else ""
        return f"{case.chosen.name}: {known}{rule}"
    return f"{case.chosen.name}: {known}"


def commands(case: Case, name: str, file: str) -> list[str]:
    """Returns the commands that use the file, for its head."""
    return [
        f"  command   mets3d preprocess {case.fingerprint.folder} stores/{name} --config {file}",
        f"            mets3d train --config {file}",
    ]


def header(case: Case, nnunet: NnunetPlan | None) -> list[str]:
    """Returns the head of the file, which is the summary of the plan too."""
    lines = [
        f"Planned by `mets3d plan` for {case.memory}; every number has its reason beside it.",
        *_labelled("data", _data(case.fingerprint)),
        *_labelled("memory", _memory(case)),
        *_labelled("spacing", [f"lesions of {case.region} that survive, by their size, and voxels of the brain:"]),
        *(f"              {line}" for line in spacing.table(case.compared, case.chosen.name)),
    ]
    if nnunet is not None:
        lines += _labelled("nnU-Net", [f"{nnunet.file}: {'; '.join(nnunet.remarks) or 'all of it is taken'}"])
    left_out = case.fingerprint.left_out
    if left_out:
        named = [f"{name}: {reason}" for name, reason in list(left_out.items())[:SHOWN]]
        rest = [f"and {len(left_out) - SHOWN} more"] if len(left_out) > SHOWN else []
        lines += _labelled("left out", [f"{len(left_out)} that cannot be read:", *named, *rest])
    return lines


# ---------------------------------------------------------------- reasons


def _patch(case: Case, given: str | None) -> str:
    fit, batch = case.fit, case.fit.config.train.batch_size
    estimated = f"{_gb(fit.need)} of {case.memory} estimated"
    if given:
        return f"{given}; {estimated}; {case.median_brain}"
    if fit.topology != fit.wanted:
        return (
            f"largest that fits {case.memory} at batch {batch}: {_gb(fit.need)} estimated, the next one up does not; "
            f"{case.median_brain}"
        )
    divisor = _times(fit.topology.divisor)
    clipped = fit.topology.voxels < START_VOXELS / 2
    whole = "the median brain" if clipped else "256^3 voxels, as long in mm along every axis,"
    return f"{whole} to the nearest multiple of {divisor}: {estimated} at batch {batch}; {case.median_brain}"


def _halving() -> str:
    return "an axis is halved while it has 8 voxels and its spacing is within a factor 2 of the finest"


def _kernels(case: Case) -> str:
    if case.fit.topology.threes:
        return "3 along every axis: all spacings are within a factor 2 of the finest"
    return "1 along an axis until its spacing is within a factor 2 of the finest, then 3"


def _of_training(case: Case) -> dict[str, str]:
    fit, train = case.fit, case.fit.config.train
    if train.accumulation == 1:
        parts = "the whole batch at once fits"
    else:
        one = train.batch_size // train.accumulation
        parts = f"{counted(one, 'sample')} at a time; all at once would need {_gb(fit.at_once)} of {case.memory}"
    if train.recompute == 0:
        twice = "every feature map fits"
    else:
        twice = f"finest levels computed twice; without it the step would need {_gb(fit.kept)} of {case.memory}"
    return {
        "train.batch_size": f"of the base, at least 2; {case.memory} would hold {fit.largest_batch} at once",
        "train.accumulation": parts,
        "train.recompute": twice,
    }


# ---------------------------------------------------------------- head


def _data(fingerprint: Fingerprint) -> list[str]:
    own = fingerprint.spacings_mm
    count = len(fingerprint.cases)
    brains = np.median(fingerprint.brains_mm, axis=0)
    looked = f"by {counted(fingerprint.sampled, 'case')} looked at" if fingerprint.sampled else "as large as the volume"
    return [
        f"{counted(count, 'case')} ({fingerprint.layout}), {fingerprint.references} with a reference",
        f"voxels {_range(own)} mm, median {_range(np.median(own, axis=0)[None])} mm",
        f"median brain {'x'.join(str(round(side)) for side in brains)} mm, {looked}",
    ]


def _memory(case: Case) -> list[str]:
    need = case.fit.need
    parts = ", ".join(f"{name} {size / GB:.2f}" for name, size in need.parts.items())
    beside = need.peak - sum(need.parts.values())
    driver = f"{(need.device - need.peak) / GB:.2f} for the driver ({CONTEXT_BYTES / GB:g}) and what an allocator loses"
    return [
        f"{_gb(need)} of {case.memory} by the model of bytes (docs/planning.md), in one process:",
        f"{parts};",
        f"{beside / GB:.2f} more at the worst moment ({need.where});",
        driver,
    ]


def _labelled(label: str, lines: Sequence[str]) -> list[str]:
    return [f"  {label if index == 0 else '':10}{line}" for index, line in enumerate(lines)]


def _range(sizes: np.ndarray) -> str:
    """Returns the sides of voxels, each as a range where they differ."""
    sides = []
    for axis in sizes.T:
        low, high = f"{axis.min():.3g}", f"{axis.max():.3g}"
        sides.append(low if low == high else f"{low}..{high}")
    return " x ".join(sides)


def _gb(need: Need) -> str:
    return f"{need.device / GB:.1f} GB"


def _times(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _of(wanted: Wanted) -> str:
    if isinstance(wanted, str):
        return "voxels of its own in plane"
    return f"{wanted[0]:g} mm" if len(set(wanted)) == 1 else f"{_times_mm(wanted)} mm"


def _times_mm(sizes: Sequence[float]) -> str:
    return "x".join(f"{size:g}" for size in sizes)
