import itertools

import numpy as np
import pytest

from mets3d.reporting.pictures.lesion_numbers import COLOURS, COLUMN, columns

SIDE = 300.0


@pytest.mark.parametrize("amount", [1, 15, 45, 60])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])  # of the picture's width that holds lesions
def test_numbers_stand_beside_the_picture_and_do_not_overlap(amount, share):
    rng = np.random.default_rng(amount)
    middles = [(float(share * x), float(y)) for x, y in rng.uniform(0, SIDE, (amount, 2))]
    heights = [float(rng.choice([18.0, 21.75, 29.25])) for _ in middles]
    spots = columns(middles, heights, SIDE, SIDE)
    assert {spot.x for spot in spots} <= {-COLUMN / 2, SIDE + COLUMN / 2}
    for (one, height), (other, other_height) in itertools.combinations(zip(spots, heights, strict=True), 2):
        if one.x == other.x:
            assert abs(one.y - other.y) >= (one.scale * height + other.scale * other_height) / 2 - 1e-6
    for spot, height in zip(spots, heights, strict=True):
        assert spot.scale * height / 2 - 1e-6 <= spot.y <= SIDE - spot.scale * height / 2 + 1e-6


def test_numbers_keep_to_the_room_of_their_column():
    middles = [(10.0, SIDE - 1), (20.0, SIDE - 2)]
    assert sorted(spot.y for spot in columns(middles, [18.0, 18.0], SIDE, 200.0)) == [173.0, 191.0]


def test_numbers_are_in_the_order_of_their_lesions_heights():
    rng = np.random.default_rng(0)
    middles = [(float(x), float(y)) for x, y in rng.uniform(0, SIDE, (30, 2))]
    spots = columns(middles, [18.0] * 30, SIDE, SIDE)
    for side in (-COLUMN / 2, SIDE + COLUMN / 2):
        own = [(spot.y, y) for spot, (_, y) in zip(spots, middles, strict=True) if spot.x == side]
        assert [y for _, y in sorted(own)] == sorted(y for _, y in own)


def test_a_number_with_room_is_level_with_its_lesion_on_the_nearer_side():
    left, right = columns([(20.0, 100.0), (250.0, 100.0)], [18.0, 18.0], SIDE, SIDE)
    assert (left.x, left.y, left.scale) == (-COLUMN / 2, 100.0, 1.0)
    assert (right.x, right.y, right.scale) == (SIDE + COLUMN / 2, 100.0, 1.0)


def test_numbers_are_full_size_as_long_as_both_columns_together_have_room():
    crowded = [(10.0 + index, 150.0) for index in range(30)]  # all on the left, of which one column holds 16
    assert {spot.scale for spot in columns(crowded, [18.0] * 30, SIDE, SIDE)} == {1.0}
    assert max(spot.scale for spot in columns(crowded * 2, [18.0] * 60, SIDE, SIDE)) < 1


# Machado, Oliveira and Fernandes, IEEE TVCG 15:1291, 2009: severity 1.0.
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("vision", VISION)
def test_the_three_colours_differ_for_every_reader_and_from_black(vision):
    seen = [lab(np.array(VISION[vision]) @ linear(COLOURS[kind])) for kind in ("found", "missed", "false")]
    for one, other in itertools.combinations([*seen, lab(np.zeros(3))], 2):
        assert np.linalg.norm(one - other) > 28  # CIE 1976; about 2 is the least that is seen


def linear(colour):
    values = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    matrix = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    x, y, z = np.array(matrix) @ rgb.clip(0, 1) / (0.95047, 1, 1.08883)
    fx, fy, fz = (np.cbrt(value) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (x, y, z))
    return np.array([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)])
