"""Reading score tables back."""

from __future__ import annotations

from math import inf
from pathlib import Path

import numpy as np
import pytest

from mets3d.evaluation.scores import SCORES, Score
from mets3d.statistics.score_table import columns_of, finite, numbers, read_scores

HEAD = "case,region,rules,dice,hd95,f1\n"


def test_cells_that_hold_a_number() -> None:
    assert [finite(cell) for cell in ("0.5", 2, True, np.float64(0.25), np.int64(3))] == [0.5, 2.0, 1.0, 0.25, 3.0]
    assert [finite(cell) for cell in ("", "nan", "inf", "word", None, [], float("nan"), float("-inf"))] == [None] * 8
    assert numbers({"case": "A", "dice": "0.5", "hd95": "", None: ["surplus"]}) == {"dice": 0.5}


def test_rows_with_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text(HEAD + "007,WT,brats2023,0.5,,nan\nB,WT,brats2023,1,2.5,1\n")
    expected = [
        {"case": "007", "region": "WT", "rules": "brats2023", "dice": 0.5},
        {"case": "B", "region": "WT", "rules": "brats2023", "dice": 1.0, "hd95": 2.5, "f1": 1.0},
    ]
    assert read_scores(tmp_path) == read_scores(tmp_path / "scores.csv") == expected
    assert columns_of(expected) == ["case", "region", "rules", "dice", "hd95", "f1"]


def test_what_a_column_can_hold_is_declared() -> None:
    ends: dict[str, tuple[float, float]] = {"share": (0, 1), "count": (0, inf), "size": (0, inf), "change": (-inf, inf)}
    for score in SCORES:
        assert score.ends == ends[score.kind], score.column
    by_name = {score.column: score.ends for score in SCORES}
    assert by_name["dice"] == by_name["global_nsd"] == by_name["f1"] == (0, 1)
    assert by_name["hd95"] == by_name["lesions_found"] == by_name["smallest_spacing_mm"] == (0, inf)
    assert by_name["volume_error_mm3"] == (-inf, inf)
    three_digits = Score("made_up", "Made-up distance", better="lower", unit="mm")
    assert three_digits.ends == (-inf, inf), "a number with three decimals need not be a share"


def test_what_is_no_score_table(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    with pytest.raises(FileNotFoundError, match=r"table\.csv: no such table"):
        read_scores(file)
    with pytest.raises(FileNotFoundError, match=r"scores\.csv: no such table"):
        read_scores(tmp_path)
    for content, said in (
        ("case,dice\nA,1\n", "table.csv: expected the columns case, region, rules, found none called region, rules"),
        (HEAD, "expected a row per case and region, found none"),
        (HEAD + "A,WT,x,1,1,1\nA,WT,x,1,1,1\n", "found A WT twice"),
    ):
        file.write_text(content)
        with pytest.raises(ValueError, match=said):
            read_scores(file)
