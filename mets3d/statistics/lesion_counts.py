"""Counts the lesions of all cases together: found, missed and false."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mets3d.evaluation.region_scores import KINDS
from mets3d.evaluation.scores import SCORES, Place, Score, shown_in
from mets3d.evaluation.tables import Row
from mets3d.statistics.box import share_of
from mets3d.statistics.score_table import values_of

COUNTS: tuple[Score, ...] = tuple(score for score in SCORES if score.column in {f"lesions_{kind}" for kind in KINDS})


@dataclass(frozen=True)
class LesionCounts:
    """Sums over cases; None where no case has the count."""

    found: float | None
    missed: float | None
    false: float | None

    @property
    def lesions(self) -> float | None:
        """Lesions of the reference."""
        return None if self.found is None or self.missed is None else self.found + self.missed

    @property
    def recall(self) -> float | None:
        """Share of the reference's lesions that were found; None where there are none."""
        return None if self.found is None or not self.lesions else self.found / self.lesions


def lesion_counts(rows: Sequence[Row]) -> LesionCounts:
    """Adds up the lesions in one region's rows of scores.csv."""
    return LesionCounts(*(total(rows, f"lesions_{kind}") for kind in KINDS))


def total(rows: Sequence[Row], column: str) -> float | None:
    """Adds up a column over the rows that have a value; None where none has."""
    values = values_of(rows, column)
    return sum(values.values()) if values else None


def share_with_penalty(rows: Sequence[Row]) -> float:
    """Returns the share of cases with a missed or a false lesion, whose lesion-wise distances hold a penalty."""
    missed, false = (values_of(rows, f"lesions_{kind}") for kind in ("missed", "false"))
    errors = [missed[case] + false[case] for case in missed.keys() & false.keys()]
    return 1 - share_of(errors, 0.0) if errors else 0.0


def means_shown_in(place: Place) -> list[Score]:
    """Returns the scores shown in a place of which the mean over cases is wanted: all but the lesion counts."""
    return [score for score in shown_in(place) if score not in COUNTS]
