"""Says in one sentence what a comparison comes to, and how sure that is: plain text, not yet escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mets3d.evaluation.scores import Score
from mets3d.reporting.html_table import spanned
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import count, joined, number
from mets3d.reporting.verdict import NOTHING, change, digits_of_difference, too_few, what_changes
from mets3d.statistics.answer import LEVEL, Answer, answer
from mets3d.statistics.comparison_tables import p_text
from mets3d.statistics.family import PRIMARY, Difference
from mets3d.statistics.intervals import patient_numbers
from mets3d.statistics.lesion_counts import COUNTS

WORDS = {
    "nothing to compare": "Nothing to compare",
    "too few patients": "Cannot be concluded",
    "better": "Better",
    "worse": "Worse",
    "mixed": "Better and worse",
    "no difference shown": "No difference shown",
    "not tested": "Not tested",
}
ASKED = {
    "lesion_wise_dice": "Overlap (lesion-wise Dice)",
    "lesion_wise_hd95": "Boundaries (lesion-wise HD95)",
    "lesions_found": "Lesions found",
}
MOST_NAMED = 6  # arms in the sentence on several


@dataclass(frozen=True)
class Told:
    """An answer in words.

    kind: of the conclusion, for its colour. lines: the parts of the answer, each with its name. quoted: the difference
    that the sentence gives.
    """

    kind: str
    word: str
    sentence: str
    sure: str = ""
    lines: Sequence[tuple[str, str]] = ()
    quoted: Difference | None = None


# ---------------------------------------------------------------- one arm against the reference


def told_of_pair(reference: RunRecord, run: RunRecord, cases: Sequence[str], differences: Sequence[Difference]) -> Told:
    """Answers whether a run is better than the reference, by the tests after Holm's correction alone."""
    patients = patient_numbers(cases, run.patients)[1] if cases else 0
    found = answer(run.label, differences)
    word = WORDS[found.conclusion]
    if found.quoted is None:
        return Told("nothing", word, NOTHING)
    on = on_cases(cases, patients, reference, run, scored=found.quoted.found.n)
    said = f"{what_changes(reference, run)}, {_changes(found.quoted, found, on)}"
    if found.conclusion == "too few patients":
        return Told(
            "unclear", word, f"{too_few(found.quoted, len(cases))} {said[0].upper()}{said[1:]}", quoted=found.quoted
        )
    lines = [(ASKED[column], text) for column in PRIMARY if (text := _by_region(differences, run.label, column))]
    kind = found.conclusion if found.conclusion in ("better", "worse") else "unclear"
    return Told(kind, word, f"{said[0].upper()}{said[1:]}", _how_sure(found, reference, run), lines, found.quoted)


def _changes(quoted: Difference, found: Answer, on: str) -> str:
    """Writes what is quoted, as in `lesion-wise Dice of ET changes by +0.012 (95 % interval −0.004 to +0.028, ...)`."""
    digits, score = digits_of_difference(quoted.score), quoted.score
    unit = f" {score.unit}".rstrip()
    inside = []
    if quoted.found.interval:
        better = "; lower is better" if score.better == "lower" else ""
        inside.append(f"95 % interval {spanned(quoted.found.interval, digits, sign=True)}{unit}{better}")
    inside.append(on)
    if quoted.p_holm is not None:
        inside.append(f"p {p_text(quoted.p_holm)} after Holm over {count(found.family, 'test')}")
    told = f"{number(quoted.found.difference, digits, sign=True)}{unit}"
    also = _also(found, quoted)
    return f"{in_sentence(score)} of {quoted.region} changes by {told} ({', '.join(inside)}){also}."


def _also(found: Answer, quoted: Difference) -> str:
    """Names what is worse beside what is quoted as better; empty where the tests go one way."""
    if not (found.better and found.worse):
        return ""
    against = next((test for test in found.worse if test is not quoted), found.worse[0])
    return f"; worse is {in_sentence(against.score)} of {against.region}: {change(against, against.found.n)}"


def on_cases(cases: Sequence[str], patients: int, *records: RunRecord, scored: int | None = None) -> str:
    """Says on how many cases, and how often each side was trained; `scored`: those of them that have the number."""
    of = f" of {count(patients, 'patient')}" if patients != len(cases) else ""
    some = f"{scored} of " if scored not in (None, len(cases)) else ""
    return f"{some}{count(len(cases), 'case')}{of}, {trainings(*records)}"


def trainings(*records: RunRecord) -> str:
    """Says how often each arm was trained: one training each, 5 seeds, or 5 and 3 seeds."""
    if not any(record.runs for record in records):
        return "one training" + " each" * (len(records) > 1)
    seeds = list(dict.fromkeys(len({seed for seed, _ in record.members}) for record in records))
    folds = max(len({fold for _, fold in record.members}) for record in records)
    said = count(seeds[0], "seed") if len(seeds) == 1 else f"{joined([str(amount) for amount in seeds])} seeds"
    return said + (f", {count(folds, 'fold')}" if folds > 1 else "")


def _how_sure(found: Answer, reference: RunRecord, run: RunRecord) -> str:
    """Says what the answer rests on, and what it leaves open."""
    low = [*found.better, *found.worse]
    if low:
        named = ", ".join(f"{in_sentence(test.score)} of {test.region} (p {p_text(test.p_holm)})" for test in low)
        said = (
            f"p is below {LEVEL:g} after Holm's correction in {len(low)} of {count(len(found.own), 'test')}: {named}."
        )
    elif found.own:
        reach = _reach(found.quoted)
        said = (
            f"None of {count(len(found.own), 'test')} has p below {LEVEL:g} after Holm's correction (smallest "
            f"{p_text(found.own[0].p_holm)}). That is no proof of equality"
        ) + (f": the interval reaches from {reach}." if reach else ".")
    elif found.conclusion == "not tested":
        said = "No score of the primary family is in all tables, so nothing was tested."
    else:
        said = "Nothing is left to test: the primary scores differ in no case."
    return f"{said} {_chance(found.quoted, reference, run)}"


def _reach(quoted: Difference | None) -> str:
    """Says how far a difference may go to either side, as in `0.004 worse to 0.028 better`."""
    if quoted is None or quoted.found.interval is None:
        return ""
    low, high = quoted.found.interval
    gains = (low, high) if quoted.score.better == "higher" else (-high, -low)
    unit = f" {quoted.score.unit}".rstrip()
    digits = digits_of_difference(quoted.score)
    return " to ".join(f"{number(abs(gain), digits)}{unit} {'worse' if gain < 0 else 'better'}" for gain in gains)


def _chance(quoted: Difference | None, reference: RunRecord, run: RunRecord) -> str:
    if not (reference.runs or run.runs):
        return "Each run is one training: the chance in training is not covered, and other seeds may differ by as much."
    if quoted is None or quoted.seed_sd is None:
        return "The spread over seeds is unknown: no two seeds are in both arms."
    spread = number(quoted.seed_sd, digits_of_difference(quoted.score))
    return f"Over seeds this difference has a standard deviation of {spread}{f' {quoted.score.unit}'.rstrip()}."


def _by_region(differences: Sequence[Difference], method: str, column: str) -> str:
    """Says region by region what the tests of a score allow, as in `better in ET (p 0.012)`."""
    kinds: dict[str, list[str]] = {}
    for own in differences:
        if (own.method, own.score.column) != (method, column) or own.family == "exploratory":
            continue
        if own.p_holm is None:
            kinds.setdefault(own.not_tested, []).append(own.region)
            continue
        low = own.p_holm < LEVEL
        kind = "no difference shown" if not low else "better" if own.found.effect > 0 else "worse"
        kinds.setdefault(kind, []).append(own.region + f" (p {p_text(own.p_holm)})" * low)
    order = sorted(kinds.items(), key=lambda item: item[0] not in ("better", "worse"))
    return "; ".join(
        f"{kind} in {joined(regions)}" if not kind.startswith("repeats") else f"{joined(regions)} {kind}"
        for kind, regions in order
    )


# ---------------------------------------------------------------- several arms against the reference


def told_of_several(
    reference: RunRecord, others: Sequence[RunRecord], told: Sequence[Told], cases: Sequence[str]
) -> Told:
    """Sums up the answers on several arms, which are `told` in the order of `others`."""
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
        word = f"{next(iter(by_word))} for any of {count(len(others), 'arm')}"
    else:
        word = f"{better or 'None'} of {count(len(others), 'arm')} better"
    return Told("better" if better else "unclear", word, said, _sure_of_several(others, told))


def _sure_of_several(others: Sequence[RunRecord], told: Sequence[Told]) -> str:
    """Gives the numbers of the arm that is shown best to be better; else says what was looked for."""
    shown = [
        (own.quoted.p_holm, run.label, own.quoted)
        for run, own in zip(others, told, strict=True)
        if own.word == WORDS["better"] and own.quoted and own.quoted.p_holm is not None
    ]
    if not shown:
        return f"an arm is better where p is below {LEVEL:g} after Holm's correction over the tests of all arms."
    p, label, quoted = min(shown, key=lambda own: own[0])
    return (
        f"{label} changes {in_sentence(quoted.score)} of {quoted.region} by {change(quoted, quoted.found.n)}, "
        f"p {p_text(p)} after Holm's correction over the tests of all arms."
    )


def _some(labels: Sequence[str]) -> str:
    if len(labels) <= MOST_NAMED:
        return ", ".join(labels)
    return f"{', '.join(labels[:MOST_NAMED])} and {count(len(labels) - MOST_NAMED, 'other')}"


# ---------------------------------------------------------------- words


def in_sentence(score: Score) -> str:
    """Names a score inside a sentence; of a count its mean per case."""
    name = (
        score.name if score.name[1:2].isupper() or score.name[1:2].isdigit() else score.name[0].lower() + score.name[1:]
    )
    return f"{name} per case" if score in COUNTS else name
