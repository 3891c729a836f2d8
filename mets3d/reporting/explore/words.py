"""Writes numbers, spreads and lists of names as they stand on the page about a data set: plain text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mets3d.data.describe_summary import Spread, share
from mets3d.reporting.sentences import MINUS

MOST_NAMES = 6  # of cases in a sentence


def short(value: float | None) -> str:
    """Writes a number with three significant digits and no power of ten; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if not value:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    text = f"{rounded:,.{max(digits, 0)}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", MINUS)


def spread_text(found: Spread | None) -> str:
    """Writes median and quartiles, as in `39.7 [8.9 to 204]`; the value alone where all are equal."""
    if found is None:
        return "–"
    if found.lowest == found.highest:
        return short(found.median)
    return f"{short(found.median)} [{short(found.q1)} to {short(found.q3)}]"


def thousands(value: float) -> str:
    """Writes a number on an axis: 10k for ten thousand, 1M for a million."""
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if value >= 1e4 else f"{value:,g}"


def share_text(part: float, whole: float) -> str:
    """Writes a share in percent; small ones keep a digit, so that few of many are not none."""
    percent = 100 * share(part, whole)
    if 0 < percent < 1:
        return "< 0.1 %" if percent < 0.1 else f"{percent:.1f} %"
    return f"{percent:.0f} %"


def names_text(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """Lists names, of many the first few and how many more there are."""
    rest = len(names) - most
    return ", ".join(names) if rest <= 0 else f"{', '.join(names[:most])} and {rest:,} more"


def millimetres_text(sides: Sequence[float]) -> str:
    """Writes a voxel's sides as in `0.859 × 0.859 × 1.5`."""
    return " × ".join(f"{side:.4g}" for side in sides)


def shape_text(shape: Sequence[int]) -> str:
    """Writes a number of voxels as in `240 × 240 × 155`."""
    return " × ".join(map(str, shape))
