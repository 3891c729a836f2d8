"""Lesions before and after a change of grid."""

from typing import Any

import numpy as np
import pytest

from mets3d.data.survival import compared, remarks, survival, table, total, unchanged


def of(rows: list[dict[str, Any]], region: str, size: str) -> dict[str, Any]:
    return next(row for row in rows if (row["region"], row["size_mm3"]) == (region, size))


def labels_with(*boxes: tuple[slice, slice, slice], shape: tuple[int, int, int] = (20, 20, 20)) -> np.ndarray:
    labels = np.zeros(shape, dtype=np.uint8)
    for box in boxes:
        labels[box] = 3
    return labels


SMALL = (slice(2, 3), slice(2, 3), slice(2, 4))  # 2 mm3 at 1 mm
MIDDLE = (slice(8, 11), slice(8, 11), slice(8, 11))  # 27 mm3
LARGE = (slice(13, 18), slice(13, 18), slice(13, 18))  # 125 mm3


def test_by_hand() -> None:
    before = labels_with(SMALL, MIDDLE, LARGE)
    after = labels_with(MIDDLE, (slice(13, 17), slice(13, 18), slice(13, 18)))
    rows = compared(before, after, (1.0, 1.0, 1.0))
    assert [row["region"] for row in rows] == ["WT"] * 4 + ["TC"] * 4 + ["ET"] * 4
    assert of(rows, "ET", "0-2") == {
        "region": "ET",
        "size_mm3": "0-2",
        "lesions": 1,
        "kept": 0,
        "joined": 0,
        "volume_mm3": 2.0,
        "stored_volume_mm3": 0.0,
    }
    assert of(rows, "ET", "2-27")["kept"] == 1
    assert of(rows, "ET", "above 100")["stored_volume_mm3"] == 100
    assert of(rows, "TC", "27-100")["lesions"] == 0
    said = remarks({"A": rows, "B": rows})
    assert "2 lesions of at most 2 mm3 vanished" not in said[0]
    assert said[1].startswith("6 lesions of at most 2 mm3 vanished")
    assert len(said) == 2


def test_what_is_lost_above_two_is_a_warning_with_the_cases() -> None:
    rows = compared(labels_with(MIDDLE), labels_with(), (1.0, 1.0, 1.0))
    kept = compared(labels_with(MIDDLE), labels_with(MIDDLE), (1.0, 1.0, 1.0))
    assert remarks({"A": kept}) == []
    (_, warning) = remarks({"A": kept, "B": rows})
    assert warning.startswith("warning: 3 lesions above 2 mm3 of 1 case vanished in the resampling: B. Choose a finer")


def test_joined_lesions_share_their_volume() -> None:
    other = (slice(12, 14), slice(8, 11), slice(8, 11))  # 18 mm3, one voxel from the 27
    bridge = (slice(8, 14), slice(8, 11), slice(8, 11))  # 54
    row = of(compared(labels_with(MIDDLE, other), labels_with(bridge), (1.0, 1.0, 1.0)), "ET", "2-27")
    assert (row["lesions"], row["kept"], row["joined"]) == (2, 2, 2)
    assert row["stored_volume_mm3"] == pytest.approx(54)


def test_volumes_are_in_mm3_on_either_grid() -> None:
    before = labels_with((slice(4, 12), slice(4, 12), slice(4, 8)), shape=(20, 20, 10))
    rows = survival(before, (0.5, 0.5, 1.0), (1.0, 1.0, 1.0))
    row = of(rows, "ET", "27-100")
    assert (row["volume_mm3"], row["stored_volume_mm3"], row["kept"]) == (64, 64, 1)
    assert survival(before, (0.5, 0.5, 1.0), "in_plane") == unchanged({"WT": [64.0], "TC": [64.0], "ET": [64.0]})


def test_rows_of_cases_add_up_and_become_a_table() -> None:
    rows = compared(labels_with(MIDDLE, LARGE), labels_with(LARGE), (1.0, 1.0, 1.0))
    whole = total([*rows, *rows, *rows])
    row = of(whole, "ET", "above 100")
    assert (row["lesions"], row["kept"], row["volume_mm3"]) == (3, 3, 375)
    lines = table([row for row in whole if row["region"] == "ET"])
    assert [line.split() for line in lines] == [
        ["region", "size,", "mm3", "lesions", "kept", "joined", "volume", "kept"],
        ["ET", "2-27", "3", "0", "0", "0", "%"],
        ["ET", "above", "100", "3", "3", "0", "100", "%"],
    ]


def test_no_lesion() -> None:
    rows = compared(labels_with(), labels_with(), (1.0, 1.0, 1.0), cavity=True)
    assert len(rows) == 16
    assert remarks({"A": rows}) == []
