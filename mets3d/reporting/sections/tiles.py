"""Makes the page's tiles: a mean with its interval and number of cases, and in a comparison the difference.

What stands in one tile is measured the same way on the same cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mets3d.evaluation.scores import score_of
from mets3d.regions import Region
from mets3d.reporting.html_table import spanned
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sections.threshold import DIGITS, threshold_comparison, threshold_region, threshold_sequence
from mets3d.reporting.sentences import amount, means_beside, number, percent, shortened
from mets3d.reporting.verdict import digits_of_difference
from mets3d.statistics.answer import LEVEL_SCORE
from mets3d.statistics.cohort import Summary, summarise
from mets3d.statistics.lesion_counts import lesion_counts
from mets3d.statistics.study_table import StudyTable
from mets3d.wording import agreed, counted

LONGEST = 24  # characters of an arm's name


@dataclass(frozen=True)
class Tile:
    """A title, the number that is read first, and lines beneath it."""

    title: str
    number: str
    lines: Sequence[str]
    colour: str = ""


def tiles_of_run(record: RunRecord) -> list[Tile]:
    """Returns a tile per region with a lesion-wise Dice, and one for the best threshold on the same cases."""
    tiles = [tile for region in record.regions if (tile := _of_region(record, region))]
    return [*tiles, *filter(None, [_of_threshold(record)])]


def tiles_of_pair(reference: RunRecord, run: RunRecord, study: StudyTable) -> list[Tile]:
    """Returns a tile per region: the difference in lesion-wise Dice, and the mean of either side."""
    return [tile for region in reference.regions if (tile := _of_difference(run.label, region, study))]


def _of_region(record: RunRecord, region: Region) -> Tile | None:
    dice = summarise(record.values(region.name, LEVEL_SCORE), record.patients)
    if dice is None:
        return None
    hd95 = summarise(record.values(region.name, "lesion_wise_hd95"), record.patients)
    counts = lesion_counts(record.score_rows(region.name))
    lines = ["lesion-wise Dice, mean", *_interval(dice, 3), f"n = {counted(dice.n, 'case')}"]
    if hd95:
        inside = f" ({spanned(hd95.interval, 1)})" if hd95.interval else ""
        lines.append(f"lesion-wise HD95 {number(hd95.mean, 1)} mm{inside}")
    if counts.lesions:
        share = percent(counts.recall).replace(" ", "\u00a0")
        found = (
            f"{amount(counts.found or 0)} of {amount(counts.lesions)} "
            f"{agreed(counts.lesions, 'lesion', 'lesions')} found ({share})"
        )
        lines.append(f"{found}, {amount(counts.false or 0)} false")
    return Tile(region.name, number(dice.mean, 3), lines, region.colour)


def _of_threshold(record: RunRecord) -> Tile | None:
    found = threshold_comparison(record)
    if found is None:
        return None
    alone, network = means_beside(found.reference_mean, found.method_mean, found.difference, DIGITS)
    lines = [
        f"whole-volume {threshold_region(record)} Dice, network − threshold",
        *([f"95 % interval {spanned(found.interval, DIGITS, sign=True)}"] if found.interval else []),
        f"n = {counted(found.n, 'case')}",
        f"network {network}, threshold {alone}",
    ]
    title = f"Best threshold on {threshold_sequence(record)}"
    return Tile(title, number(found.difference, DIGITS, sign=True), lines)


def _of_difference(label: str, region: Region, study: StudyTable) -> Tile | None:
    test, score = study.difference(label, region.name, LEVEL_SCORE), score_of(LEVEL_SCORE)
    if test is None or score is None:
        return None
    digits = digits_of_difference(score)
    lines = ["difference in lesion-wise Dice"]
    if test.found.interval:
        lines.append(f"95 % interval {spanned(test.found.interval, digits, sign=True)}")
    lines.append(f"n = {counted(test.found.n, 'case')}")
    arms = [own for arm in (study.reference, label) if (own := study.score(arm, region.name, LEVEL_SCORE))]
    means = [number(own.mean, digits) for own in arms]
    if [own.summary.n for own in arms] == [test.found.n] * 2:
        means = [*means_beside(arms[0].mean, arms[1].mean, test.found.difference, digits)]
    for own, mean in zip(arms, means, strict=True):
        inside = f" ({spanned(own.summary.interval, digits)})" if own.summary.interval else ""
        other = f", n = {own.summary.n}" if own.summary.n != test.found.n else ""
        lines.append(f"{shortened(own.arm, LONGEST)} {mean}{inside}{other}")
    return Tile(region.name, number(test.found.difference, digits, sign=True), lines, region.colour)


def _interval(found: Summary, digits: int) -> list[str]:
    return [f"95 % interval {spanned(found.interval, digits)}"] if found.interval else []
