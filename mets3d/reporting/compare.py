"""Compares several runs or arms with the first: their shared cases, and how they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mets3d.config import differing_keys
from mets3d.reporting.arms import arm_tables
from mets3d.reporting.run_record import RunRecord
from mets3d.statistics.absent_regions import absent_regions
from mets3d.statistics.shared_cases import shared_cases
from mets3d.statistics.study_table import StudyTable, study_table

NO_DIFFERENCE = ("name", "output", "track", "resume")  # settings that say nothing about the network


def cases_in_all(records: Sequence[RunRecord]) -> list[str]:
    """Returns the cases held out and scored in every run that has scores; none where these are by several rule sets."""
    if len(rule_sets(records)) > 1:
        return []
    return shared_cases(record.held_out for record in records if record.scores)


def compared(records: Sequence[RunRecord], cases: Sequence[str]) -> StudyTable | None:
    """Compares the runs or arms that have scores on `cases` with the first; None where that one has none, or no case.

    By every score of the page, in the regions of the first but those of which no run has anything: these are no tests.
    """
    if not cases or not records[0].scores:
        return None
    reference, *others = records
    arms = {record.label: arm_tables(record, cases) for record in others if record.scores}
    first = reference.label if reference.label not in arms else f"{reference.label} (reference)"
    regions = [region.name for region in reference.regions]
    return study_table({first: arm_tables(reference, cases), **arms}, regions=regions)


def without_absent(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Returns the runs, each knowing the regions that none of them has anything of in its held-out cases."""
    absent = frozenset(absent_regions(row for record in records for row in record.score_rows()))
    return [replace(record, absent=absent) for record in records]


def configuration_differences(records: Sequence[RunRecord]) -> list[str]:
    """Returns dotted keys in which any run differs from the first; names, output folders and tracking left out."""
    first, *others = (record.config for record in records)
    keys = [key for other in others for key in differing_keys(first, other, NO_DIFFERENCE)]
    return list(dict.fromkeys(keys))


def rule_sets(records: Sequence[RunRecord]) -> dict[str, list[str]]:
    """Returns the runs that are scored by each rule set, by label."""
    found: dict[str, list[str]] = {}
    for record in records:
        if record.scores:
            found.setdefault(record.rules, []).append(record.label)
    return found
