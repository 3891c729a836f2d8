"""The five numbers of a box plot, against matplotlib's, and shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.cbook import boxplot_stats

from mets3d.statistics.box import box, share_of


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30))
def test_the_box_is_matplotlibs(values: list[float]) -> None:
    found, (theirs,) = box(values), boxplot_stats(np.array(values))
    expected = [theirs[name] for name in ("whislo", "q1", "med", "q3", "whishi")]
    assert [found.low, found.q1, found.median, found.q3, found.high] == pytest.approx(expected)


def test_a_far_value_is_beyond_the_whisker() -> None:
    found = box([1, 2, 3, 4, 5, 6, 7, 8, 50])
    assert (found.low, found.q1, found.median, found.q3, found.high) == (1, 3, 5, 7, 8)


def test_shares() -> None:
    assert share_of([0.0, 0.5, 0.0, 1.0], 0.0) == 0.5
    assert share_of([374.0, 1.0], 374.0) == 0.5
    assert share_of([], 0.0) == 0.0
