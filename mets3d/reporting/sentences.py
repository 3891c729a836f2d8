"""Writes numbers, amounts, names and durations as they stand in sentences and tables: plain text, not yet escaped."""

from __future__ import annotations

from decimal import Decimal

from mets3d.evaluation.scores import score_of

UNKNOWN_DIGITS = 3  # of a column that the table does not have
MINUS = "\u2212"
MOST_DECIMALS_MORE = 4


def number(value: float | None, digits: int, *, sign: bool = False) -> str:
    """Writes a number with a fixed count of decimals and a true minus; a dash where there is none."""
    if value is None:
        return "–"
    rounded = round(value, digits) + 0.0  # + 0.0: there is no negative zero on the page
    text = f"{rounded:+.{digits}f}" if sign and rounded else f"{rounded:.{digits}f}"
    return text.replace("-", MINUS)


def score_number(column: str, value: float | None, *, sign: bool = False) -> str:
    """Writes a value of a column of scores.csv with the decimals of the table of scores."""
    score = score_of(column)
    return number(value, UNKNOWN_DIGITS if score is None else score.digits, sign=sign)


def amount(value: float) -> str:
    """Writes a count: whole as it is, a mean of counts with one decimal."""
    return number(value, 0 if abs(value - round(value)) < 1e-9 else 1)


def means_beside(before: float, after: float, difference: float, digits: int) -> tuple[str, str]:
    """Writes two means with so many decimals that a reader who subtracts them finds the rounded difference beside them.

    That is `digits`, or a few more: 0.9004 and 0.5078, not 0.900 and 0.508, beside +0.393.
    """
    for decimals in range(digits, digits + MOST_DECIMALS_MORE):
        low, high = (Decimal(f"{mean:.{decimals}f}") for mean in (before, after))
        if abs(high - low - Decimal(f"{difference:.{digits}f}")) <= Decimal(5).scaleb(-digits - 1):
            break
    return number(before, decimals), number(after, decimals)


def percent(share: float | None) -> str:
    """Writes a share in whole percent; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.0f} %"


def shortened(text: str, most: int) -> str:
    """Returns at most `most` characters; the middle is left out, because names of runs differ at their ends."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"


def duration(seconds: float) -> str:
    """Writes seconds as the two largest of days, hours, minutes and seconds."""
    parts = []
    rest = round(seconds)
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        amount, rest = divmod(rest, size)
        if amount:
            parts.append(f"{amount} {unit}")
    return " ".join(parts[:2]) or "0 s"


def size_class_name(name: str, between: str = " to < ") -> str:
    """Writes a size class as it is read: `2_to_27` as `2 to < 27`, `below_2` as `< 2`, `from_27` as `≥ 27`."""
    match name.split("_"):
        case ["below", edge]:
            return f"< {edge}"
        case ["from", edge]:
            return f"≥ {edge}"
        case [low, "to", high]:
            return f"{low}{between}{high}"
    return name
