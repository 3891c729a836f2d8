"""Puts numbers and names of cases into words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WHOLE_SET = "all cases"  # in the place of a case's name where a finding is about the whole data set
EXAMPLES = 3


def counted(count: int, noun: str) -> str:
    """Returns a number and its noun: "1 case", "1,296 cases"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


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
