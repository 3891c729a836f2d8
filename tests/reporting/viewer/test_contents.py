"""What a page holds of a case: volumes that decode to what they were, within the page's size."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mets3d.regions import ET, TC, WT
from mets3d.reporting.viewer import contents as module
from mets3d.reporting.viewer.case_layers import CaseLayers, SoftMap, region_maps
from mets3d.reporting.viewer.contents import viewer_contents
from mets3d.reporting.viewer.mosaics import columns_of, lossless

SHAPE = (24, 20, 12)
AFFINE = np.array([[0.0, -2.0, 0.0, 10.0], [1.5, 0.0, 0.0, -4.0], [0.0, 0.0, 3.0, 7.0], [0.0, 0.0, 0.0, 1.0]])


def layers(shape=SHAPE, **others) -> CaseLayers:
    rng = np.random.default_rng(0)
    image = np.zeros(shape, np.float32)
    image[1:-1, 1:-1, 1:-1] = 1 + rng.random([side - 2 for side in shape], dtype=np.float32)
    return CaseLayers(AFFINE, (1.5, 2.0, 3.0), {"t1c": image, "t2f": image[::-1].copy()}, **others)


def decoded(data: dict, layer: dict) -> np.ndarray:
    mosaic = np.asarray(Image.open(io.BytesIO(base64.b64decode(layer["source"]))))
    x, y, z = data["shape"]
    tiles = [mosaic[y * (n // data["columns"]) :, x * (n % data["columns"]) :][:y, :x].T for n in range(z)]
    return np.stack(tiles, axis=2)


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 2**32 - 1))
def test_a_mosaic_without_loss_is_the_volume(shape, seed):
    volume = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    mosaic = lossless(volume)
    data = {"shape": shape, "columns": columns_of(shape)}
    assert mosaic.type == "image/png"
    assert (decoded(data, {"source": mosaic.source}) == volume).all()


def test_the_sequences_take_the_best_quality_that_fits(monkeypatch):
    whole = viewer_contents(layers()).data["layers"]
    sizes = [len(layer["source"]) for layer in whole]
    monkeypatch.setattr(module, "MOST_CHARACTERS", sum(sizes) - 1)
    less = [len(layer["source"]) for layer in viewer_contents(layers()).data["layers"]]
    assert sum(less) < sum(sizes)
    monkeypatch.setattr(module, "QUALITIES", (module.QUALITIES[0], module.QUALITIES[1]))
    assert [len(layer["source"]) for layer in viewer_contents(layers()).data["layers"]] == less, "the next one"


def test_maps_that_a_page_has_no_room_for_are_named(monkeypatch):
    soft = np.random.default_rng(1).random(SHAPE, dtype=np.float32)
    maps = [SoftMap("base", region, soft) for region in (ET, TC, WT)] + [SoftMap("base", None, soft)]
    all_of_them = viewer_contents(layers(soft=maps))
    assert all_of_them.problems == []
    size = len(next(layer for layer in all_of_them.data["layers"] if layer["kind"] == "map")["source"])
    monkeypatch.setattr(module, "MOST_SOFT_CHARACTERS", 2 * size)
    fewer = viewer_contents(layers(soft=maps))
    assert fewer.problems == ["Left out, for a page holds no more: Probability of WT, Uncertainty."]
    assert [overlay.name for overlay in fewer.overlays] == ["Probability of ET", "Probability of TC"]


def test_large_volumes_become_fewer_voxels_in_plane_and_no_lesion_vanishes(monkeypatch):
    labels = np.zeros(SHAPE, np.uint8)
    labels[7, 8, 5] = 3
    monkeypatch.setattr(module, "MOST_VOXELS", np.prod(SHAPE) // 3)
    data = viewer_contents(layers(reference=labels)).data
    assert (data["shape"], data["step"]) == ((12, 10, 12), (2, 2, 1))
    assert data["spacing_mm"] == [3.0, 4.0, 3.0]
    found = np.argwhere(decoded(data, data["layers"][2]))
    assert found.tolist() == [[3, 4, 5]]
    # The middle of the four voxels that it stands for.
    corners = [AFFINE @ [x, y, 5, 1] for x in (6, 7) for y in (8, 9)]
    assert np.array(data["affine"]) @ [3, 4, 5, 1] == pytest.approx(np.mean(corners, axis=0)[:3])


def test_labels_that_are_none_are_not_drawn_and_the_legend_names_those_that_are_there():
    reference, predicted = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    reference[3:6, 3:6, 3:6], reference[10, 10, 5], predicted[8, 8, 8] = 3, 9, 2
    contents = viewer_contents(layers(reference=reference, predictions={"base": predicted}))
    assert set(np.unique(decoded(contents.data, contents.data["layers"][2]))) == {0, 3 * 32}
    assert [label["name"] for label in contents.labels] == ["SNFH", "ET"]
    assert [(overlay.name, overlay.on) for overlay in contents.overlays] == [("Reference", True), ("Prediction", True)]


def test_an_image_of_nothing_is_shown_whole():
    empty = CaseLayers(AFFINE, (1.5, 2.0, 3.0), {"t1c": np.zeros(SHAPE, np.float32)})
    data = viewer_contents(empty).data
    assert data["shape"] == SHAPE
    assert not decoded(data, data["layers"][0]).any()


def test_channels_of_labels_become_probabilities_of_regions():
    channels = [np.full(SHAPE, value, np.float32) for value in (0.1, 0.2, 0.3, 0.4)]
    maps = region_maps("base", channels, ["background", "NETC", "SNFH", "ET"])
    assert [(map_.name, round(float(map_.values[0, 0, 0]), 6)) for map_ in maps] == [
        *(("Probability of ET", 0.4), ("Probability of TC", 0.6), ("Probability of WT", 0.9)),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="expected the channels of a target, such as WT TC ET, found A B"):
        region_maps("base", channels[:2], ["A", "B"])
