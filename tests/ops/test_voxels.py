"""Voxels and boxes of masks against NumPy's own, slower functions."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mets3d.ops.voxels import bounding_box, extent, voxels_of

MASKS = arrays(bool, array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9))


@settings(max_examples=40, deadline=None)
@given(mask=MASKS)
def test_voxels_and_boxes_are_numpys(mask: np.ndarray) -> None:
    voxels = voxels_of(mask)
    np.testing.assert_array_equal(voxels, np.argwhere(mask))
    box = bounding_box(mask)
    if box is not None:
        first, last = extent(voxels)
        assert [(side.start, side.stop - 1) for side in box] == list(zip(first.tolist(), last.tolist(), strict=True))
        assert mask[box].sum() == mask.sum()
        np.testing.assert_array_equal(first, np.argwhere(mask).min(0))
        np.testing.assert_array_equal(last, np.argwhere(mask).max(0))


def test_an_empty_mask_has_no_box() -> None:
    assert bounding_box(np.zeros((3, 4, 5), bool)) is None
    assert bounding_box(np.zeros((3, 4, 5), bool), margin=2) is None


@settings(max_examples=40, deadline=None)
@given(mask=MASKS, margin=st.integers(0, 4))
def test_a_margin_stays_inside_the_volume(mask: np.ndarray, margin: int) -> None:
    tight, wide = bounding_box(mask), bounding_box(mask, margin)
    if tight is None or wide is None:
        assert tight is wide
        return
    for axis in range(3):
        assert wide[axis].start == max(0, tight[axis].start - margin)
        assert wide[axis].stop == min(mask.shape[axis], tight[axis].stop + margin)
