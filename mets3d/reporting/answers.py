"""Says in one sentence what a comparison comes to, and how sure that is: plain text, not yet escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mets3d.regions import Region
from mets3d.reporting.asked import asked_lines, beside, in_sentence
from mets3d.reporting.chosen_weights import chosen_on_scored
from mets3d.reporting.how_sure import how_sure
from mets3d.reporting.html_table import spanned
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import number
from mets3d.reporting.verdict import NOTHING, change, digits_of_difference, too_few, what_changes
from mets3d.statistics.answer import (
    HARDLY_ANYTHING,
    LEVEL,
    Answer,
    answer,
    with_hardly_anything,
)
from mets3d.statistics.comparison_tables import p_text
from mets3d.statistics.family import Difference
from mets3d.statistics.intervals import patient_numbers
from mets3d.wording import counted, joined

WORDS = {
    "nothing to compare": "Nothing to compare",
    "too few patients": "Cannot be concluded",
    "better": "Better",
    "worse": "Worse",
    "mixed": "Better and worse",
    "no difference shown": "No difference shown",
    "not tested": "Not tested",
}
MOST_NAMED = 6  # arms in the sentence on several


@dataclass(frozen=True)
class Told:
    """An answer in words.

    kind: of the conclusion, for its colour. lines: the parts of the answer, each with its name. quoted: the difference
    that the sentence gives. level: that the numbers are near zero, where they are.
    """

    kind: str
    word: str
    sentence: str
    sure: str = ""
    lines: Sequence[tuple[str, str]] = ()
    quoted: Difference | None = None
    level: str = ""


# ---------------------------------------------------------------- one arm against the reference


def told_of_pair(reference: RunRecord, run: RunRecord, cases: Sequence[str], differences: Sequence[Difference]) -> Told:
    """Answers whether a run is better than the reference, by the tests after Holm's correction alone."""
    patients = patient_numbers(cases, run.patients)[1] if cases else 0
    found = answer(run.label, differences)
    word, quoted = WORDS[found.conclusion], found.quoted
    if quoted is None:
        return Told("nothing", word, NOTHING)
    on = on_cases(cases, patients, reference, run, scored=quoted.found.n)
    said = f"{what_changes(reference, run)}, {_changes(quoted, found, on)} {beside(quoted, differences, len(cases))}"
    said = f"{said[0].upper()}{said[1:]}".rstrip()
    level = near_zero(with_hardly_anything(run.label, differences), reference.regions, "Both arms")
    lines = asked_lines(differences, run.label, len(cases))
    if found.conclusion == "too few patients":
        return Told("unclear", word, f"{too_few(quoted, len(cases))} {said}", "", lines, quoted, level)
    kind = found.conclusion if found.conclusion in ("better", "worse") else "unclear"
    return Told(kind, word, said, how_sure(found, reference, run), lines, quoted, level)


def near_zero(low: Sequence[str], regions: Sequence[Region], arms: str = "") -> str:
    """Says that networks are near zero in the regions `low`, of `arms` or of a single run; empty without such."""
    if not low:
        return ""
    where = "every region" if len(low) == len(regions) else joined(low)
    who, what = f"{arms} are", "these are differences between networks that hardly segment anything"
    if not arms:
        who, what = "The network is", "it hardly segments anything there"
    return f"{who} near zero in {where} (mean lesion-wise Dice below {HARDLY_ANYTHING:g}): {what}."


def _changes(quoted: Difference, found: Answer, on: str) -> str:
    """Writes what is quoted, as in `lesion-wise Dice of ET changes by +0.012 (95 % interval −0.004 to +0.028, ...)`."""
    digits, score = digits_of_difference(quoted.score), quoted.score
    unit = f" {score.unit}".rstrip()
    inside = []
    if quoted.found.interval:
        inside.append(f"95 % interval {spanned(quoted.found.interval, digits, sign=True)}{unit}")
    inside.append(on)
    if quoted.p_holm is not None:
        inside.append(f"p {p_text(quoted.p_holm)} after Holm over {counted(found.family, 'test')}")
    told = f"{number(quoted.found.difference, digits, sign=True)}{unit}"
    less = ", of which less is better," if score.better == "lower" else ""
    also = _also(found, quoted)
    return f"{in_sentence(score)} of {quoted.region}{less} changes by {told} ({', '.join(inside)}){also}."


def _also(found: Answer, quoted: Difference) -> str:
    """Names what is worse beside what is quoted as better; empty where the tests go one way."""
    if not (found.better and found.worse):
        return ""
    against = next((test for test in found.worse if test is not quoted), found.worse[0])
    return f"; worse is {in_sentence(against.score)} of {against.region}: {change(against, against.found.n)}"


def on_cases(cases: Sequence[str], patients: int, *records: RunRecord, scored: int | None = None) -> str:
    """Says on how many cases, and how often each side was trained; `scored`: those of them that have the number."""
    of = f" of {counted(patients, 'patient')}" if patients != len(cases) else ""
    some = f"{scored} of " if scored not in (None, len(cases)) else ""
    return f"{some}{counted(len(cases), 'case')}{of}, {trainings(*records)}"


def trainings(*records: RunRecord) -> str:
    """Says how often each arm was trained: one training each, 5 seeds, or 5 and 3 seeds."""
    if not any(record.runs for record in records):
        return "one training" + " each" * (len(records) > 1)
    seeds = list(dict.fromkeys(len({seed for seed, _ in record.members}) for record in records))
    folds = max(len({fold for _, fold in record.members}) for record in records)
    said = counted(seeds[0], "seed") if len(seeds) == 1 else f"{joined([str(amount) for amount in seeds])} seeds"
    return said + (f", {counted(folds, 'fold')}" if folds > 1 else "")


# ---------------------------------------------------------------- several arms against the reference


def told_of_several(
    reference: RunRecord,
    others: Sequence[RunRecord],
    told: Sequence[Told],
    cases: Sequence[str],
    differences: Sequence[Difference],
) -> Told:
    """Sums up the answers on several arms, which are `told` in the order of `others`, with all their differences."""
    by_word: dict[str, list[str]] = {}
    for word in WORDS.values():
        if labels := [run.label for run, own in zip(others, told, strict=True) if own.word == word]:
            by_word[word] = labels
    better = len(by_word.get(WORDS["better"], []))
    if not cases:
        return Told("nothing", WORDS["nothing to compare"], NOTHING)
    patients = patient_numbers(cases, reference.patients)[1]
    parts = [f"{word}: {_some(labels)}" for word, labels in by_word.items()]
    said = f"Compared with {reference.label} on {on_cases(cases, patients, reference, *others)}. {'. '.join(parts)}."
    if len(by_word) == 1 and not better:
        word = f"{next(iter(by_word))} for any of {counted(len(others), 'arm')}"
    else:
        word = f"{better or 'None'} of {counted(len(others), 'arm')} better"
    low = [set(with_hardly_anything(run.label, differences)) for run in others]
    shared = [region.name for region in reference.regions if all(region.name in own for own in low)]
    level = near_zero(shared, reference.regions, "All arms")
    sure = " ".join(filter(None, [_sure_of_several(others, told), chosen_on_scored([reference, *others])]))
    return Told("better" if better else "unclear", word, said, sure, level=level)


def _sure_of_several(others: Sequence[RunRecord], told: Sequence[Told]) -> str:
    """Gives the numbers of the arm that is shown best to be better; else says what was looked for."""
    shown = [
        (own.quoted.p_holm, run.label, own.quoted)
        for run, own in zip(others, told, strict=True)
        if own.word == WORDS["better"] and own.quoted and own.quoted.p_holm is not None
    ]
    if not shown:
        return f"An arm is better where p is below {LEVEL:g} after Holm's correction over the tests of all arms."
    p, label, quoted = min(shown, key=lambda own: own[0])
    return (
        f"{label} changes {in_sentence(quoted.score)} of {quoted.region} by {change(quoted, quoted.found.n)}, "
        f"p {p_text(p)} after Holm's correction over the tests of all arms."
    )


def _some(labels: Sequence[str]) -> str:
    if len(labels) <= MOST_NAMED:
        return ", ".join(labels)
    return f"{', '.join(labels[:MOST_NAMED])} and {counted(len(labels) - MOST_NAMED, 'other')}"
