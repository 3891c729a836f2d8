"""Says in what runs differ beyond what is compared: only runs with the same samples and steps are arms of one study."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial

from mets3d.config import as_dict, flatten
from mets3d.reporting.arms import within_arm
from mets3d.reporting.compare import cases_in_all, rule_sets
from mets3d.reporting.run_record import Note, RunRecord
from mets3d.rundir import DECODED_BY, TUNED_BY
from mets3d.statistics.decodings import different_decodings
from mets3d.wording import agreed

# What makes the samples beside steps, batch and data: sections and settings of the configuration.
OF_SAMPLES = ("data", "augment", "preprocess")
NAMED_APART = ("data.target", "data.split")  # the target has its own note, and a split is what it holds out
DECODING = ("threshold", "overlap", "mirror", "query_classes", "decoding", "region_weights")  # of predict.json

Told = Callable[[RunRecord], str]  # what a run has, in words; empty where that is not known


def comparison_notes(records: Sequence[RunRecord]) -> list[Note]:
    """Says why runs or arms are hard to compare: each way in which they are no arms of one study, and scored cases."""
    scored = {record.label: record.score_rows() for record in records if record.scores}
    decoded = [Note(f"The runs are {remark}.", weighty=True) for remark in different_decodings(scored)]
    return [*_scored(records), *decoded, *study_differences(records)]


def study_differences(records: Sequence[RunRecord]) -> list[Note]:
    """Returns a note for each way in which runs or arms differ beyond what is compared; none: arms of one study.

    Arms of one study share data, folds, steps, samples a step, what makes the samples, seeds, rule set and decoding.
    What a run does not say, such as the digest of its data in runs of earlier versions, is not held against it.
    """
    notes = []
    if len({_held_out(record) for record in records if _held_out(record)}) > 1:
        notes.append(Note("The runs held out different cases, so they were not trained on the same ones."))
    for name, told in _facts().items():
        notes += _difference(name, [(record.label, told(record)) for record in records])
    settings = [flatten(as_dict(record.config)) for record in records]
    for key in filter(_makes_samples, settings[0]):
        told_by = [(record.label, str(own[key])) for record, own in zip(records, settings, strict=True)]
        notes += _difference(f"settings of {key}", told_by)
    return notes


def _facts() -> dict[str, Told]:
    return {
        "numbers of training steps": lambda record: f"{record.config.train.steps:,}",
        "samples a step": lambda record: str(record.config.train.batch_size),
        "seeds": lambda record: _numbers({seed for seed, _ in record.members}),
        "folds": lambda record: _numbers({fold for _, fold in record.members}),
        "data": _data,
        "targets": lambda record: record.config.data.target,
        "ways to choose the best weights": lambda record: record.config.validate_.best_by,
        **{f"decodings ({key})": partial(_decoding, key=key) for key in DECODING},
    }


def _difference(name: str, told: Sequence[tuple[str, str]]) -> list[Note]:
    """Returns a note where known values differ; equal ones are written once."""
    by_value: dict[str, list[str]] = {}
    for label, value in told:
        if value:
            by_value.setdefault(value, []).append(label)
    if len(by_value) < 2:
        return []
    said = "; ".join(f"{', '.join(labels)}: {value}" for value, labels in by_value.items())
    return [Note(f"The runs have different {name} ({said}).")]


# ---------------------------------------------------------------- facts of a run or an arm


def _scored(records: Sequence[RunRecord]) -> list[Note]:
    shared = cases_in_all(records)
    every = {case for record in records if record.scores for case in record.held_out}
    if len(rules := rule_sets(records)) > 1:
        said = "; ".join(f"{label}: {name}" for name, labels in rules.items() for label in labels)
        text = f"The runs are scored by different rule sets ({said}), so no score is compared: evaluate them by one."
        return [Note(text)]
    if len(shared) < len(every):
        text = (
            f"The runs were not scored on the same held-out cases: {len(shared)} of {len(every)} "
            f"{agreed(len(shared), 'is', 'are')} in all runs, "
            "and only these are compared."
        )
        return [Note(text)]
    return []


def _held_out(record: RunRecord) -> tuple[tuple[str, ...], ...]:
    """Returns the cases that the runs held out, each fold's once; empty where it is not recorded."""
    splits = (run.split for run in record.members.values())
    return tuple(sorted({tuple(sorted(split["validation"])) for split in splits if "validation" in split}))


def _data(record: RunRecord) -> str:
    return _of_members(record, lambda run: str(run.environment.get("store") or ""))


def _decoding(record: RunRecord, key: str) -> str:
    """Returns a setting by which predictions were made, from the note of their folder.

    Runs that are tuned alike have thresholds of their own, which are no difference between methods.
    """

    def told(run: RunRecord) -> str:
        tuned_by = run.predicted.get(TUNED_BY)
        if key == DECODED_BY and tuned_by:
            return f"tuned by {tuned_by}{', forced' * bool(run.predicted.get('decoding_forced'))}"
        return json.dumps(run.predicted[key]) if key in run.predicted else ""

    return _of_members(record, told)


def _of_members(record: RunRecord, told: Told) -> str:
    return " and ".join(sorted({told(run) for run in record.members.values()} - {""}))


def _makes_samples(key: str) -> bool:
    return key.split(".", maxsplit=1)[0] in OF_SAMPLES and key not in NAMED_APART and not within_arm(key)


def _numbers(found: set[int]) -> str:
    return ", ".join(map(str, sorted(found)))
