"""Finds label integers that mean something else than ours, by where the labels lie and how bright they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from mets3d.data.case_summary import CaseSummary
from mets3d.data.cases import Finding, Severity
from mets3d.data.wording import WHOLE_SET
from mets3d.regions import BACKGROUND, ET_LABEL, LABEL_NAMES, NETC, RC_LABEL, SNFH
from mets3d.wording import agreed, counted

LEAST_VOXELS = 8  # of a label in a case, for its neighbours to be judged
LEAST_BRIGHT = 50  # of a label in a case, for its mean to be judged: of random values it strays by a seventh
CLEARLY_OUTSIDE = 0.2  # difference in the share of faces
CLEARLY_BRIGHTER = 0.5  # standard deviations of the brain
ENHANCING = 1.0  # above what core or oedema gains by another scale: at most 0.8 in three real cases, signs turned
MOSTLY_EMPTY = 0.25  # of the references; 28 of BraTS-METS' 1,296 are empty


def meaning_findings(summaries: Sequence[CaseSummary]) -> list[Finding]:
    """Returns the findings about what the labels mean, judged over all references, and about empty references."""
    references = [summary for summary in summaries if summary.label_voxels is not None]
    filled = [summary for summary in references if summary.label_voxels]
    findings = _emptiness(len(references), len(references) - len(filled))
    if not filled:
        return findings
    present = sorted({label for summary in filled for label in summary.label_voxels or ()})
    if ET_LABEL not in present:
        finding = _no_enhancing_tumour(filled, present)
    elif len(present) == 1:
        finding = _enhancing_tumour_alone(filled)
    else:
        finding = _another_order(filled)
        findings += _enhancing_cavities(filled)
    return findings + ([finding] if finding else [])


def _emptiness(references: int, empty: int) -> list[Finding]:
    if references < 4 or empty <= MOSTLY_EMPTY * references:
        return []
    detail = f"{empty:,} of {counted(references, 'reference')} {agreed(empty, 'has', 'have')} no label voxel"
    advice = "legal for single cases without visible disease; so many suggest that references were lost"
    return [Finding(WHOLE_SET, "warning", "many empty references", detail, advice)]


# ---------------------------------------------------------------- which labels there are


def _no_enhancing_tumour(filled: Sequence[CaseSummary], present: Sequence[int]) -> Finding | None:
    """Judges a set without ET: a mistake of the map, unless a map says that it is meant."""
    cases = Counter(label for summary in filled for label in summary.label_voxels or ())
    enhancing = [label for label in present if _brightness(filled, label) > ENHANCING]
    label = RC_LABEL if cases[RC_LABEL] > len(filled) / 2 else max(enhancing or present[:1])
    if _is_stated(filled, [label]):
        return None
    found = ", ".join(f"{one} in {cases[one]:,}" for one in present)
    detail = (
        f"no label {ET_LABEL}, the enhancing tumour, in any of {counted(len(filled), 'reference')}; found label {found}"
    )
    if len(present) == 1:
        detail += f"; learned as they are: {_regions_of(present[0])}"
    if label == RC_LABEL:
        detail += "; in BraTS up to 2021 label 4 was the enhancing tumour"
    what = "a single label" if len(present) == 1 else "no enhancing tumour"
    return Finding(WHOLE_SET, _certainty(len(filled)), what, detail, _write(filled, {label: ET_LABEL}))


def _enhancing_tumour_alone(filled: Sequence[CaseSummary]) -> Finding:
    detail = f"label {ET_LABEL} alone in {counted(len(filled), 'reference')}: {_regions_of(ET_LABEL)}"
    return Finding(WHOLE_SET, "note", "a single label", detail)


def _enhancing_cavities(filled: Sequence[CaseSummary]) -> list[Finding]:
    """Finds cases of an older edition among others: label 4, which takes up contrast, in the place of label 3."""
    findings = []
    for summary in filled:
        gain = uptake(summary, RC_LABEL)
        if gain is not None and gain > ENHANCING and not _voxels(summary, ET_LABEL):
            detail = f"label {RC_LABEL} is {gain:.1f} standard deviations brighter in t1c than in t1n, and no label 3"
            advice = "in BraTS up to 2021 label 4 was the enhancing tumour; keep such cases in a folder with a map"
            findings.append(Finding(summary.name, "warning", "cavity that enhances", detail, advice))
    return findings


def _regions_of(label: int) -> str:
    return {
        NETC: "WT and TC are one mask and ET is empty",
        SNFH: "WT alone has voxels, TC and ET are empty",
        ET_LABEL: "WT, TC and ET are one mask",
        RC_LABEL: "WT, TC and ET are empty",
    }.get(label, "no region has voxels")


# ---------------------------------------------------------------- which label lies where


def _another_order(filled: Sequence[CaseSummary]) -> Finding | None:
    """Judges whether oedema (2) lies outside, enhancing tumour (3) inside it and core (1) innermost."""
    outermost = _outermost(filled)
    if outermost == SNFH:
        return _another_takes_up_contrast(filled)
    inner = [label for label in (NETC, SNFH, ET_LABEL) if label != outermost]
    inner.sort(key=lambda label: (label == ET_LABEL, _share(filled, label, [BACKGROUND, outermost])))
    core, enhancing = inner
    if _enhances_more(filled, core, enhancing):
        core, enhancing = enhancing, core
    order = {outermost: SNFH, enhancing: ET_LABEL, core: NETC}
    found = f"label {outermost} lies around the others as oedema does"
    return _reordered(filled, found, order, _compared(filled, outermost, *inner))


def _outermost(filled: Sequence[CaseSummary]) -> int:
    """Returns the label of 1, 2, 3 that touches the background clearly more than label 2, else label 2."""
    shares = {label: _share(filled, label, [BACKGROUND]) for label in (NETC, SNFH, ET_LABEL)}
    label = max(shares, key=lambda one: shares[one])
    inner = SNFH if _compared(filled, label, SNFH) else ET_LABEL
    cases = [
        _share([summary], label, [BACKGROUND]) > _share([summary], inner, [BACKGROUND])
        for summary in filled
        if _voxels(summary, label) >= LEAST_VOXELS and _voxels(summary, inner) >= LEAST_VOXELS
    ]
    clear = bool(cases) and 3 * sum(cases) > 2 * len(cases) and shares[label] > shares[inner] + CLEARLY_OUTSIDE
    return label if label != inner and clear else SNFH


def _another_takes_up_contrast(filled: Sequence[CaseSummary]) -> Finding | None:
    """Judges whether label 1 or 2 is what takes up contrast: where they lie can be right all the same.

    Of the other two the one that lies further out is oedema.
    """
    for enhancing in (NETC, SNFH):
        others = [label for label in (NETC, SNFH, ET_LABEL) if label != enhancing]
        core, oedema = sorted(others, key=lambda label: _share(filled, label, [BACKGROUND]))
        inside = _share(filled, enhancing, [BACKGROUND]) < _share(filled, oedema, [BACKGROUND])
        if inside and all(_enhances_more(filled, enhancing, other) for other in others):
            found = f"label {enhancing} takes up contrast as enhancing tumour does, more than label {ET_LABEL}"
            compared = sum(uptake(summary, enhancing) is not None for summary in filled)
            return _reordered(filled, found, {enhancing: ET_LABEL, core: NETC, oedema: SNFH}, compared)
    return None


def _reordered(filled: Sequence[CaseSummary], found: str, order: Mapping[int, int], compared: int) -> Finding | None:
    present = {label for summary in filled for label in summary.label_voxels or ()}
    order = {label: order[label] for label in sorted(order) if label in present and order[label] != label}
    if _is_stated(filled, order):
        return None
    expected = ", ".join(f"{label} {LABEL_NAMES[label]}" for label in (NETC, SNFH, ET_LABEL))
    detail = f"{found} ({counted(compared, 'case')} compared); expected {expected}"
    return Finding(WHOLE_SET, _certainty(compared), "labels in another order", detail, _write(filled, order))


# ---------------------------------------------------------------- evidence


def _share(summaries: Iterable[CaseSummary], label: int, neighbours: Sequence[int]) -> float:
    """Returns the share of a label's faces towards other labels that are towards these; 0 where it has none."""
    to_these = to_all = 0
    for summary in summaries:
        for pair, faces in summary.faces.items():
            one, other = map(int, pair.split())
            if label in (one, other):
                to_all += faces
                to_these += faces * ((other if label == one else one) in neighbours)
    return to_these / to_all if to_all else 0.0


def _brightness(summaries: Iterable[CaseSummary], label: int) -> float:
    """Returns the median over cases of a label's `uptake`; NaN, which is above nothing, where it is unknown."""
    gains = [gain for summary in summaries if (gain := uptake(summary, label)) is not None]
    return median(gains) if gains else float("nan")


def _enhances_more(filled: Sequence[CaseSummary], one: int, other: int) -> bool:
    """Returns whether a label takes up contrast, and another one less or nobody knows how much."""
    own = _brightness(filled, one)
    return own > ENHANCING and not _brightness(filled, other) > own - CLEARLY_BRIGHTER


def uptake(summary: CaseSummary, label: int) -> float | None:
    """Returns how much brighter a label is in t1c than in t1n; as `gained`."""
    return gained(summary, label, "t1n", "t1c")


def gained(summary: CaseSummary, label: int, before: str, after: str) -> float | None:
    """Returns a label's brightness in one sequence less that in another, each in standard deviations of the brain.

    None where either is unknown or too few voxels have the label.
    """
    levels = {one: summary.scans[one].levels.get(label) for one in (before, after) if one in summary.scans}
    low, high = levels.get(before), levels.get(after)
    return None if low is None or high is None or _voxels(summary, label) < LEAST_BRIGHT else high - low


def _voxels(summary: CaseSummary, label: int) -> int:
    return (summary.label_voxels or {}).get(label, 0)


def _compared(filled: Sequence[CaseSummary], label: int, *others: int) -> int:
    """Counts the cases with enough voxels of a label and of another one to compare them."""
    enough = [
        any(_voxels(summary, other) >= LEAST_VOXELS for other in others if other != label)
        for summary in filled
        if _voxels(summary, label) >= LEAST_VOXELS
    ]
    return sum(enough)


# ---------------------------------------------------------------- telling


def _certainty(cases: int) -> Severity:
    """A single case may be odd; several that agree are a fault of the set."""
    return "error" if cases > 1 else "warning"


def _is_stated(filled: Sequence[CaseSummary], labels: Iterable[int]) -> bool:
    """Returns whether a map names these labels, so that somebody has said what they mean."""
    named = {label for summary in filled for label in summary.label_map.values()}
    return set(labels) <= named


def _write(filled: Sequence[CaseSummary], ours: Mapping[int, int]) -> str:
    """Returns the advice: the map to write, from the file's integers."""
    so_far = {theirs: label for summary in filled for theirs, label in summary.label_map.items()}
    chosen = {theirs: ours.get(label, label) for theirs, label in so_far.items()}
    chosen |= {label: to for label, to in ours.items() if label not in {*so_far, *so_far.values()}}
    written = ", ".join(f"{theirs}: {label}" for theirs, label in sorted(chosen.items()))
    as_it_is = ", ".join(f"{label}: {label}" for label in sorted(ours))
    return f"write data.labels: {{{written}}}, or {{{as_it_is}}} if they are right as they are"
