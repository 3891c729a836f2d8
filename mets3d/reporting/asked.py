"""Answers part by part what a comparison asks, with the numbers of both sides: plain text, not yet escaped."""

from __future__ import annotations

from collections.abc import Sequence

from mets3d.evaluation.scores import Score
from mets3d.reporting.sentences import amount, number
from mets3d.statistics.answer import LEVEL
from mets3d.statistics.comparison_tables import p_text
from mets3d.statistics.family import TOO_FEW, Difference
from mets3d.statistics.lesion_counts import COUNTS
from mets3d.wording import agreed, joined

# What the question asks first; false lesions are the price of found ones, and no score of the primary family.
ASKED = {
    "lesion_wise_hd95": "Boundaries (lesion-wise HD95)",
    "lesions_found": "Lesions found",
    "lesions_false": "False lesions",
    "lesion_wise_dice": "Overlap (lesion-wise Dice)",
}
ALIKE = ("not tested", "no difference", "no difference shown", TOO_FEW)  # said once where it is so everywhere
ARROW = "\u00a0→\u00a0"
LEADING = ("lesion_wise_hd95", "lesions_found", "lesion_wise_dice")  # of the sentence


def asked_lines(differences: Sequence[Difference], method: str, cases: int) -> list[tuple[str, str]]:
    """Lists (what, text): what the tests of a score allow region by region, then its numbers in both arms.

    cases: of the comparison; where fewer have a value, their number stands there.
    """
    lines = []
    for column, name in ASKED.items():
        own = [found for found in differences if (found.method, found.score.column) == (method, column)]
        if own:
            numbers = "; ".join(f"{found.region}\u00a0{both_sides(found, cases)}" for found in own)
            lines.append((name, f"{_by_region(own)}. {numbers}"))
    return lines


def beside(quoted: Difference, differences: Sequence[Difference], cases: int) -> str:
    """Writes what else was asked in the region of a difference, as in `In ET, lesions found 29 → 22.`."""
    others = [
        found
        for column in LEADING
        for found in differences
        if (found.method, found.region, found.score.column) == (quoted.method, quoted.region, column)
        and found.score != quoted.score
    ]
    if not others:
        return ""
    said = [f"{_name(found.score)} {both_sides(found, cases)}" for found in others]
    return f"In {quoted.region}, {joined(said)}."


def both_sides(difference: Difference, cases: int) -> str:
    """Writes the numbers of reference and method, as in `9.1 → 8.4 mm (n = 8)`: means, and of counts sums."""
    found, score = difference.found, difference.score
    if score in COUNTS:
        sides = [amount(side) for side in difference.sums]
    else:
        sides = [number(side, score.digits) for side in (found.reference_mean, found.method_mean)]
    some = f" (n\u00a0=\u00a0{found.n})" if found.n != cases else ""
    return f"{ARROW.join(sides)}{f' {score.unit}'.rstrip()}{some}"


def in_sentence(score: Score) -> str:
    """Names a score inside a sentence; of a count its mean per case."""
    return f"{_name(score)} per case" if score in COUNTS else _name(score)


def _name(score: Score) -> str:
    """Returns the name of a score with a small first letter, but for abbreviations."""
    abbreviated = score.name[1:2].isupper() or score.name[1:2].isdigit()
    return score.name if abbreviated else score.name[0].lower() + score.name[1:]


def by_score(tests: Sequence[Difference]) -> str:
    """Names differences score by score, as in `lesion-wise Dice in WT and ET`."""
    regions: dict[str, list[str]] = {}
    for test in tests:
        regions.setdefault(in_sentence(test.score), []).append(test.region)
    return joined([f"{score} in {joined(names)}" for score, names in regions.items()])


def _by_region(own: Sequence[Difference]) -> str:
    """Says region by region what the tests of a score allow, as in `better in ET (p 0.012)`."""
    kinds: dict[str, list[str]] = {}
    repeating: dict[str, list[str]] = {}  # what is repeated, and the regions in which it is
    for test in own:
        if test.p_holm is not None:
            low = test.p_holm < LEVEL
            kind = "no difference shown" if not low else "better" if test.found.effect > 0 else "worse"
            kinds.setdefault(kind, []).append(test.region + f" (p {p_text(test.p_holm)})" * low)
        elif test.not_tested and test.not_tested.why == "repeats":
            repeating.setdefault(test.not_tested.repeated, []).append(test.region)
        else:
            kinds.setdefault(str(test.not_tested or "not tested"), []).append(test.region)
    if len(kinds) == 1 and not repeating and (kind := next(iter(kinds))) in ALIKE:
        return kind
    order = sorted(kinds.items(), key=lambda item: item[0] not in ("better", "worse"))
    said = [f"{kind} in {joined(regions)}" for kind, regions in order]
    said += [f"{joined(names)} {agreed(len(names), 'repeats', 'repeat')} {what}" for what, names in repeating.items()]
    return "; ".join(said)
