"""Says how the cases of a score table were decoded: by default, or by a tuning, and whether that knew the cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mets3d.evaluation.tables import Row
from mets3d.inference.decoding_plan import FORCED, ON_THIS_CASE
from mets3d.rundir import DECODED_BY, PERHAPS_TUNED_ON, TUNED_BY
from mets3d.statistics.pooled_runs import AND
from mets3d.wording import counted, for_example

UNKNOWN = "unknown"  # of tables that do not say, as of other programs and earlier versions


def decodings(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Returns the cases of a table by how they were decoded, in the words of its column, the commonest first."""
    how: dict[str, str] = {}
    for row in rows:
        how[row["case"]] = row.get(DECODED_BY) or how.get(row["case"], UNKNOWN)
    found: dict[str, list[str]] = {}
    for case, words in how.items():
        found.setdefault(words, []).append(case)
    return dict(sorted(found.items(), key=lambda entry: -len(entry[1])))


def decoding_in_words(rows: Sequence[Row]) -> str:
    """Returns how the cases of a table were decoded, and the rule set of a tuning; empty where no row says it."""
    found = decodings(rows)
    if set(found) <= {UNKNOWN}:
        return ""
    rules = ", ".join(_rules(rows))
    said = next(iter(found)) if len(found) == 1 else ", ".join(f"{how} ({len(cases)})" for how, cases in found.items())
    return said + (f" by {rules}" if rules else "")


def decoding_remarks(rows: Sequence[Row], *, named: bool = True) -> list[str]:
    """Returns what a reader of the scores has to know of the tuning of their decoding.

    That it knew the scored cases, was forced, or was by another rule set than that of the scores. named: with examples
    of the cases.
    """
    remarks = []
    for how, cases in decodings(rows).items():
        some = counted(len(cases), "case") + (f" ({for_example(cases)})" if named else "")
        of_runs = how.split(AND)
        if any(words.startswith(FORCED) for words in of_runs):
            remarks.append(f"the decoding of {some} was forced: cross-validation does not support it")
        if any(words.endswith(ON_THIS_CASE) for words in of_runs):
            remarks.append(f"the decoding of {some} was tuned on these very cases, so their scores are optimistic")
        if any(words.endswith(PERHAPS_TUNED_ON) for words in of_runs):
            remarks.append(f"the decoding of {some} may have been tuned on them; then their scores are optimistic")
    scored = sorted({str(row["rules"]) for row in rows if row.get("rules")})
    if others := [rules for rules in _rules(rows) if scored not in ([], [rules])]:
        remarks.append(
            f"the decoding was tuned by {', '.join(others)} and these are scores by {', '.join(scored)}, which it may "
            "lower; tune and score by one rule set"
        )
    return remarks


def different_decodings(tables: Mapping[str, Sequence[Row]]) -> list[str]:
    """Says how each table was decoded where they are not alike; nothing where they are, or none says it."""
    said = {name: decoding_in_words(rows) for name, rows in tables.items()}
    if len(set(said.values())) < 2:
        return []
    return [f"decoded differently ({'; '.join(f'{name}: {words or UNKNOWN}' for name, words in said.items())})"]


def _rules(rows: Iterable[Row]) -> list[str]:
    return sorted({rules for row in rows if row.get(TUNED_BY) for rules in str(row[TUNED_BY]).split(AND)})
