"""Every oddity: what check says of it, all that it says, and what preprocess makes of it."""

from pathlib import Path

import pytest

from tests.builders.oddities import Oddity, all_rows
from tests.data.oddities import checked, preprocessed, told


@pytest.mark.parametrize("row", all_rows(), ids=lambda row: row.name)
def test_an_oddity_is_told_and_treated_alike(row: Oddity, tmp_path: Path) -> None:
    report = checked(row, tmp_path / "data")
    assert told(report) == sorted(row.says)
    assert bool(report.unusable) == (row.then == "refuses")
    assert preprocessed(row, tmp_path / "data", tmp_path / "store") == row.then
