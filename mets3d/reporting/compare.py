"""Compares several runs: the one that the others are compared with, their shared cases, and how they differ."""

from __future__ import annotations

from collections.abc import Sequence

from mets3d.config import differing_keys
from mets3d.reporting.run_record import Note, RunRecord
from mets3d.statistics.against_reference import Difference, against_reference, compared_scores
from mets3d.statistics.pooled_runs import MethodTables
from mets3d.statistics.shared_cases import shared_cases

NO_DIFFERENCE = ("name", "output", "track", "resume")  # settings that say nothing about the network


def reference_first(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Puts the run to compare with in front: the first without a boundary term, else the first."""
    plain = [record for record in records if record.config.loss.boundary == "none"]
    first = plain[0] if plain else records[0]
    return [first, *(record for record in records if record is not first)]


def cases_in_all(records: Sequence[RunRecord]) -> list[str]:
    """Returns the cases held out and scored in every run that has scores; none where these are by several rule sets."""
    if len(_rule_sets(records)) > 1:
        return []
    return shared_cases(record.held_out for record in records if record.scores)


def differences_of(records: Sequence[RunRecord], cases: Sequence[str]) -> list[Difference]:
    """Compares every run with the first on `cases`, by every score of the page, in the regions of the first."""
    first, *others = records
    return against_reference(
        _tables(first, cases),
        {record.label: _tables(record, cases) for record in others},
        [region.name for region in first.regions],
        compared_scores(),
    )


def configuration_differences(records: Sequence[RunRecord]) -> list[str]:
    """Returns dotted keys in which any run differs from the first; names, output folders and tracking left out."""
    first, *others = (record.config for record in records)
    keys = [key for other in others for key in differing_keys(first, other, NO_DIFFERENCE)]
    return list(dict.fromkeys(keys))


def comparison_notes(records: Sequence[RunRecord]) -> list[Note]:
    """Says why the runs are hard to compare: other held-out cases, steps, seeds, rules or targets."""
    notes = []
    shared = cases_in_all(records)
    every = {case for record in records if record.scores for case in record.held_out}
    if len(rules := _rule_sets(records)) > 1:
        said = "; ".join(f"{label}: {name}" for name, labels in rules.items() for label in labels)
        text = f"The runs are scored by different rule sets ({said}), so no score is compared: evaluate them by one."
        notes.append(Note(text))
    elif len(shared) < len(every):
        notes.append(
            Note(
                f"The runs were not scored on the same held-out cases: {len(shared)} of {len(every)} are in all runs, "
                "and only these are compared."
            )
        )
    splits = {tuple(sorted(record.split["validation"])) for record in records if "validation" in record.split}
    if len(splits) > 1:
        notes.append(Note("The runs held out different cases, so they were not trained on the same ones."))
    return notes + _different_facts(records)


def _different_facts(records: Sequence[RunRecord]) -> list[Note]:
    facts: dict[str, list[str]] = {
        "numbers of training steps": [f"{record.config.train.steps:,}" for record in records],
        "seeds": [str(record.config.seed) for record in records],
        "targets": [record.config.data.target for record in records],
    }
    notes = []
    for name, values in facts.items():
        if len(set(values)) > 1:
            by_run = "; ".join(f"{record.label}: {value}" for record, value in zip(records, values, strict=True))
            notes.append(Note(f"The runs have different {name} ({by_run})."))
    return notes


def _rule_sets(records: Sequence[RunRecord]) -> dict[str, list[str]]:
    """Returns the runs that are scored by each rule set, by label."""
    found: dict[str, list[str]] = {}
    for record in records:
        if record.scores:
            found.setdefault(record.rules, []).append(record.label)
    return found


def _tables(record: RunRecord, cases: Sequence[str]) -> MethodTables:
    return MethodTables(record.score_rows(cases=cases), record.lesion_rows(cases=cases))
