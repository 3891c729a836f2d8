"""Connected components against SciPy's, on masks that cc3d alone refuses too."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from mets3d.ops.components import components

STRUCTURES = {26: np.ones((3, 3, 3)), 6: ndimage.generate_binary_structure(3, 1)}
MASKS = arrays(bool, array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9))


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1, 9), (1, 8, 1), (5, 1, 1), (1, 5, 5), (3, 3, 3), (9, 7, 11)])
def test_masks_of_which_every_other_voxel_is_set(shape: tuple[int, int, int]) -> None:
    """cc3d 4.1 has a number for every eight voxels, and these masks have more components."""
    mask = np.zeros(shape, bool)
    mask[::2, ::2, ::2] = True
    found = components(mask)
    assert found.shape == shape
    np.testing.assert_array_equal(found[mask], np.arange(1, mask.sum() + 1))
    assert not found[~mask].any()


@settings(max_examples=100, deadline=None)
@given(mask=MASKS, connectivity=st.sampled_from([6, 26]))
def test_as_scipy(mask: np.ndarray, connectivity: int) -> None:
    expected, count = ndimage.label(mask, STRUCTURES[connectivity])
    found = components(mask, connectivity)  # type: ignore[arg-type]
    assert found.max(initial=0) == count
    np.testing.assert_array_equal(found > 0, mask)
    pairs = set(zip(found.ravel().tolist(), expected.ravel().tolist(), strict=True))
    assert len(pairs) == len(set(found.ravel().tolist()))  # the same parts under other numbers


@settings(max_examples=100, deadline=None)
@given(mask=MASKS)
def test_numbered_by_the_first_voxel(mask: np.ndarray) -> None:
    """In memory order of C, so that lists of components do not depend on cc3d's version."""
    found = components(np.ascontiguousarray(mask)).ravel()
    _, first = np.unique(found[found > 0], return_index=True)
    assert (np.diff(first) > 0).all()
