"""Writes rows of tables as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]  # column -> value


def csv_text(columns: Sequence[str], rows: Iterable[Row]) -> str:
    """Returns the rows under a header of `columns`; numbers in full precision, None and NaN as empty cells."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({column: value if _has_value(value) else "" for column, value in row.items()} for row in rows)
    return text.getvalue()


def _has_value(value: object) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))
