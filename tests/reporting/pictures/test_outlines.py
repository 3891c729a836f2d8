import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mets3d.reporting.pictures.outlines import outlines


def enclosed(loops):
    """Area inside closed loops by the shoelace formula; holes run the other way and count negative."""
    total = 0.0
    for loop in loops:
        for (r0, c0), (r1, c1) in zip(loop, [*loop[1:], loop[0]], strict=True):
            total += (c0 * r1 - c1 * r0) / 2
    return total


def test_outlines_by_hand():
    mask = np.zeros((4, 5), bool)
    mask[1:3, 1:4] = True
    (loop,) = outlines(mask)
    assert sorted(loop) == [(1, 1), (1, 4), (3, 1), (3, 4)]  # straight runs are one segment
    assert outlines(np.zeros((3, 3), bool)) == []
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    assert sorted(map(len, outlines(ring))) == [4, 4]
    assert enclosed(outlines(ring)) == 8


@settings(max_examples=60, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_outlines_enclose_exactly_the_mask(mask):
    loops = outlines(mask)
    assert enclosed(loops) == mask.sum()
    corners = {point for loop in loops for point in loop}
    assert all(0 <= row <= mask.shape[0] and 0 <= column <= mask.shape[1] for row, column in corners)
