import io

import numpy as np
import pytest
from matplotlib.image import imread

from mets3d.reporting.pictures.svg import grey_png


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (90, 64)])
def test_grey_png_is_read_back_exactly(shape):
    grey = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    assert (np.rint(imread(io.BytesIO(grey_png(grey))) * 255).astype(np.uint8) == grey).all()
