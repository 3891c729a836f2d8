"""Says what the answer of a comparison rests on, and what it leaves open: plain text, not yet escaped."""

from __future__ import annotations

from mets3d.reporting.asked import by_score, in_sentence
from mets3d.reporting.chosen_weights import chosen_on_scored
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import number
from mets3d.reporting.verdict import NARROW_BELOW, digits_of_difference
from mets3d.statistics.answer import LEVEL, Answer, contradicted
from mets3d.statistics.comparison_tables import p_text
from mets3d.statistics.family import Difference
from mets3d.wording import agreed, counted, joined


def how_sure(found: Answer, reference: RunRecord, run: RunRecord) -> str:
    """Says what the tests show, why intervals may seem to show more, and what no number here covers."""
    parts = [
        _tests(found),
        _contradiction(found),
        _chance(found.quoted, reference, run),
        chosen_on_scored([reference, run]),
    ]
    return " ".join(part for part in parts if part)


def _tests(found: Answer) -> str:
    low = [*found.better, *found.worse]
    if low:
        named = ", ".join(f"{in_sentence(test.score)} of {test.region} (p {p_text(test.p_holm)})" for test in low)
        return (
            f"p is below {LEVEL:g} after Holm's correction in {len(low)} of {counted(len(found.own), 'test')}: {named}."
        )
    if found.own:
        reach = _reach(found.quoted)
        return (
            f"None of {counted(len(found.own), 'test')} has p below {LEVEL:g} after Holm's correction (smallest "
            f"{p_text(found.own[0].p_holm)}). That is no proof of equality"
        ) + (f": the interval reaches from {reach}." if reach else ".")
    if found.conclusion == "not tested":
        return "No score of the primary family is in all tables, so nothing was tested."
    return "Nothing is left to test: the primary scores differ in no case."


def _reach(quoted: Difference | None) -> str:
    """Says how far a difference may go to either side, as in `0.004 worse to 0.028 better`; empty where to one."""
    if quoted is None or quoted.found.interval is None or contradicted([quoted]):
        return ""
    low, high = quoted.found.interval
    gains = (low, high) if quoted.score.better == "higher" else (-high, -low)
    unit = f" {quoted.score.unit}".rstrip()
    digits = digits_of_difference(quoted.score)
    return " to ".join(f"{number(abs(gain), digits)}{unit} {'worse' if gain < 0 else 'better'}" for gain in gains)


def _contradiction(found: Answer) -> str:
    """Says why nothing is shown though uncorrected intervals leave 0 out; empty where none does."""
    seeming = contradicted(found.own)
    if not seeming:
        return ""
    patients = min(test.found.patients for test in seeming)
    reasons = []
    if found.family > 1:
        reasons.append(f"with {found.family} tests one may do so by chance alone")
    if patients < NARROW_BELOW:
        reasons.append(f"intervals from {counted(patients, 'patient')} are too narrow")
    why = joined(reasons) or "the test weighs ranks and not means"
    whose = agreed(len(seeming), "interval", "intervals")
    leave = agreed(len(seeming), "leaves", "leave")
    return (
        f"The uncorrected {whose} of {by_score(seeming)} {leave} 0 out and yet show nothing: {why}, so the "
        "corrected test "
        "decides."
    )


def _chance(quoted: Difference | None, reference: RunRecord, run: RunRecord) -> str:
    if not (reference.runs or run.runs):
        return "Each run is one training: the chance in training is not covered, and other seeds may differ by as much."
    if quoted is None or quoted.seed_sd is None:
        return "The spread over seeds is unknown: no two seeds are in both arms."
    spread = number(quoted.seed_sd, digits_of_difference(quoted.score))
    return f"Over seeds this difference has a standard deviation of {spread}{f' {quoted.score.unit}'.rstrip()}."
