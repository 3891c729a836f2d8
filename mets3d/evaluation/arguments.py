"""Checks the arguments of `lesion_scores`: each function returns one as it is used there, or raises ValueError."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import SupportsFloat

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from mets3d.evaluation.rules import RuleSet
from mets3d.ops.voxels import Spacing, Toward
from mets3d.regions import KNOWN_LABELS, Region

ORGANISERS = "organisers"

AnyLabels = Shaped[np.ndarray, "..."]
AnySpacing = Sequence[SupportsFloat] | Float[np.ndarray, "3"]


def checked_regions(rules: RuleSet, names: Sequence[str] | None) -> tuple[Region, ...]:
    """Returns the regions of these names in the order of the rule set, all of them for None."""
    known = {region.name: region for region in rules.regions}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ValueError(f"expected regions of {rules.name}: {', '.join(known)}; found {', '.join(unknown)}")
    return rules.regions if names is None else tuple(known[name] for name in known if name in names)


def checked_edges(edges_mm3: Sequence[float]) -> tuple[float, ...]:
    """Returns the volumes between size classes as floats."""
    edges = tuple(float(edge) for edge in edges_mm3)
    if any(not 0 < edge < math.inf for edge in edges) or list(edges) != sorted(set(edges)):
        raise ValueError(f"expected finite, ascending size edges above 0 mm3, found {list(edges)}")
    return edges


def checked_labels(
    prediction: AnyLabels, reference: AnyLabels, rules: RuleSet
) -> tuple[UInt8[np.ndarray, "X Y Z"], UInt8[np.ndarray, "X Y Z"]]:
    """Returns both label maps as uint8; labels of no region become background, or are refused by the rules."""
    if prediction.shape != reference.shape or reference.ndim != 3 or not reference.size:
        raise ValueError(
            f"expected two label volumes [X, Y, Z] of one shape, found {prediction.shape} for the prediction and "
            f"{reference.shape} for the reference; bring both onto the case's own grid"
        )
    return _known_labels("prediction", prediction, rules), _known_labels("reference", reference, rules)


def _known_labels(name: str, labels: AnyLabels, rules: RuleSet) -> UInt8[np.ndarray, "X Y Z"]:
    whole = labels.dtype.kind in "biu" or (labels.dtype.kind == "f" and bool((labels == np.rint(labels)).all()))
    if not whole:
        raise ValueError(
            f"expected whole numbers as labels, found others in the {name} ({labels.dtype}); "
            "hand in a label map, not probabilities"
        )
    if labels.min() >= 0 and labels.max() <= max(KNOWN_LABELS):
        return labels.astype(np.uint8, copy=False)
    unknown = sorted(set(np.unique(labels).tolist()) - set(KNOWN_LABELS))
    if rules.unknown_labels == "refused":
        raise ValueError(
            f"expected labels 0 to {max(KNOWN_LABELS)} under {rules.name}, found "
            f"{', '.join(f'{label:g}' for label in unknown)} in the {name}; "
            "these rules give such a case no scores"
        )
    return np.where(np.isin(labels, KNOWN_LABELS), labels, 0).astype(np.uint8, copy=False)


def checked_spacing(spacing_mm: AnySpacing) -> Spacing:
    """Returns the voxel size as three floats."""
    values = [float(value) for value in spacing_mm]
    if len(values) != 3 or not all(math.isfinite(value) and value > 0 for value in values):
        raise ValueError(f"expected three voxel sizes above 0 mm as spacing_mm, found {values}")
    return values[0], values[1], values[2]


def lesion_spacing(spacing_mm: Spacing, compat: str | None, rules: RuleSet) -> Spacing:
    """Returns the voxel size for distances of single lesions, which `compat` swaps as the organisers' program does."""
    if compat not in (None, ORGANISERS):
        raise ValueError(f"expected compat to be organisers or None, found {compat!r}")
    return spacing_mm[::-1] if compat and rules.organisers_swap_spacing else spacing_mm


def checked_orientation(orientation: str) -> Toward:
    """Returns the array axis and direction of right, anterior and superior. Raises ValueError for other letters."""
    axes = [max(orientation.find(near), orientation.find(far)) for near, far in ("LR", "PA", "IS")]
    if len(orientation) != 3 or sorted(axes) != [0, 1, 2]:
        raise ValueError(f"expected an orientation such as RAS or LPS, found {orientation!r}")
    return tuple((axis, 1 if orientation[axis] in "RAS" else -1) for axis in axes)
