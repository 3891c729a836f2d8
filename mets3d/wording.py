"""Puts amounts and lists of names into words: the one place where nouns and verbs agree with numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

EXAMPLES = 3


def counted(amount: int, noun: str, plural: str = "") -> str:
    """Returns an amount with its noun: "1 case", "1,296 cases", "2 entries"."""
    return f"{amount:,} {agreed(amount, noun, plural or noun + 's')}"


def agreed(amount: float, one: str, more: str) -> str:
    """Returns the word that agrees with an amount, as in `agreed(len(cases), "is", "are")`."""
    return one if amount == 1 else more


def joined(parts: Sequence[str]) -> str:
    """Joins parts of a sentence, as in "WT, TC and ET"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def for_example(names: Sequence[str]) -> str:
    """Returns up to three names and how many more there are."""
    more = len(names) - EXAMPLES
    return ", ".join(names[:EXAMPLES]) + (f" and {more:,} more" if more > 0 else "")


def most_first(groups: Mapping[str, Sequence[str]]) -> str:
    """Returns the groups with the number of their cases and some of their names, the largest three first."""
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    told = [f"{what} in {counted(len(names), 'case')} ({for_example(names)})" for what, names in ordered[:EXAMPLES]]
    more = len(ordered) - EXAMPLES
    return "; ".join([*told, f"{more:,} more"] if more > 0 else told)
