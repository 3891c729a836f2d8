import io

import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image

from mets3d.reporting.pictures.svg import grey_jpeg, grey_png, image


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (90, 64)])
def test_grey_png_is_read_back_exactly(shape):
    grey = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    assert (np.rint(imread(io.BytesIO(grey_png(grey))) * 255).astype(np.uint8) == grey).all()


def test_a_whole_slice_is_compressed_and_looks_the_same():
    y, x = np.mgrid[-1:1:240j, -1:1:240j]
    noise = np.random.default_rng(0).normal(0, 6, x.shape)
    grey = (
        np.where(x**2 + y**2 < 0.8, 120 + 60 * np.sin(9 * x) * np.cos(7 * y) + noise, 0).clip(0, 255).astype(np.uint8)
    )
    packed = grey_jpeg(grey)
    assert len(packed) < len(grey_png(grey)) / 2
    difference = np.asarray(Image.open(io.BytesIO(packed))).astype(int) - grey
    assert np.abs(difference).mean() < 3
    assert "data:image/jpeg" in image(grey, 100.0)
    assert "data:image/png" in image(grey[:128, :128], 100.0), "a tile is kept as it is"
