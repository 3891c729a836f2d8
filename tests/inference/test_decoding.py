"""Probabilities to label maps, by hand, against Target.decode, and against another way to do it."""

import csv
import io
import itertools
import json
import math
import sys
import weakref
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mets3d.data.stored_case import Entry
from mets3d.inference.channels import Channels, Part
from mets3d.inference.decoding import decode
from mets3d.inference.decoding_settings import RegionDecoding, decoding_for, read_decoding, write_decoding
from mets3d.inference.lesion_table import LESION_COLUMNS, lesion_csv
from mets3d.inference.region_masks import filled
from mets3d.regions import Target
from mets3d.settings import Predict

EVERYWHERE = np.ones((3, 3, 3))
DEFAULT = RegionDecoding()


def settings_of(target: Target, **changed: RegionDecoding) -> dict[str, RegionDecoding]:
    return {region.name: changed.get(region.name, DEFAULT) for region in target.regions}


def line(*values: float) -> np.ndarray:
    """A volume that is one line along X."""
    return np.array(values, np.float32)[:, None, None]


def only_et(et: np.ndarray) -> list[np.ndarray]:
    return [np.zeros_like(et), np.zeros_like(et), et]


def decoded_line(et: np.ndarray, setting: RegionDecoding, spacing_mm: tuple[float, ...] = (1, 1, 1)) -> list[int]:
    target = Target()
    return decode(only_et(et), target, settings_of(target, ET=setting), spacing_mm).labels.ravel().tolist()


# ---------------------------------------------------------------- by hand


def test_hysteresis_keeps_a_component_whose_peak_exceeds_the_high_threshold() -> None:
    et = line(0.3, 0.8, 0.3, 0.1, 0.3, 0.7, 0.1, 0.6)
    assert decoded_line(et, RegionDecoding(threshold=0.25)) == [3, 3, 3, 0, 3, 3, 0, 3]
    # A peak that reaches 0.7 does not exceed it.
    assert decoded_line(et, RegionDecoding(threshold=0.25, peak=0.7)) == [3, 3, 3, 0, 0, 0, 0, 0]
    assert decoded_line(et, RegionDecoding(threshold=0.25, peak=0.65)) == [3, 3, 3, 0, 3, 3, 0, 0]


@pytest.mark.parametrize("spacing_mm", [(0.3, 0.3, 3.0), (0.1, 0.7, 0.9), (1.0, 1.0, 1.0)])
def test_a_component_exactly_as_large_as_the_limit_stays(spacing_mm: tuple[float, float, float]) -> None:
    et = line(*[0.9] * 10, 0.0, *[0.9] * 9, 0.0, *[0.9] * 11)
    limit_mm3 = 10 * spacing_mm[0] * spacing_mm[1] * spacing_mm[2]
    for written in (limit_mm3, float(f"{limit_mm3:.6g}"), math.nextafter(limit_mm3, 9)):
        found = decoded_line(et, RegionDecoding(min_volume_mm3=written), spacing_mm)
        assert found == [3] * 10 + [0] + [0] * 9 + [0] + [3] * 11


def test_components_touch_at_corners() -> None:
    et = np.zeros((4, 4, 4), np.float32)
    et[0, 0, 0] = et[1, 1, 1] = et[3, 3, 3] = 0.9
    target = Target()
    found = decode(only_et(et), target, settings_of(target, ET=RegionDecoding(min_volume_mm3=2)), (1, 1, 1))
    assert np.argwhere(found.labels == 3).tolist() == [[0, 0, 0], [1, 1, 1]]


def test_peak_and_size_come_before_the_largest() -> None:
    rc = line(0.6, 0.6, 0.6, 0.6, 0.0, 0.9, 0.6, 0.0, 0.9)
    zeros = np.zeros_like(rc)
    target = Target(cavity=True)

    def kept(setting: RegionDecoding) -> list[int]:
        return (
            decode([zeros, zeros, zeros, rc], target, settings_of(target, RC=setting), (1, 1, 1))
            .labels[:, 0, 0]
            .tolist()
        )

    assert kept(RegionDecoding(largest_only=True)) == [4, 4, 4, 4, 0, 0, 0, 0, 0]
    assert kept(RegionDecoding(largest_only=True, peak=0.8)) == [0, 0, 0, 0, 0, 4, 4, 0, 0]
    assert kept(RegionDecoding(largest_only=True, min_volume_mm3=5)) == [0] * 9
    assert kept(RegionDecoding(peak=0.8)) == [0, 0, 0, 0, 0, 4, 4, 0, 4]


def test_of_equally_large_components_the_one_with_the_higher_peak_is_the_largest() -> None:
    assert decoded_line(line(0.6, 0.7, 0, 0.8, 0.6), RegionDecoding(largest_only=True)) == [0, 0, 0, 3, 3]


def test_a_hole_of_the_cavity_is_filled_over_what_lies_in_it() -> None:
    rc = np.zeros((7, 7, 7), np.float32)
    rc[1:6, 1:6, 1:6] = 0.9
    rc[2:5, 2:5, 2:5] = 0.0
    et = np.zeros_like(rc)
    et[3, 3, 3] = 0.9
    zeros = np.zeros_like(rc)
    target = Target(cavity=True)
    channels = [zeros, zeros, et, rc]
    open_ = decode(channels, target, settings_of(target), (1, 1, 1)).labels
    assert (np.count_nonzero(open_ == 4), open_[3, 3, 3]) == (125 - 27, 3)
    full = decode(channels, target, settings_of(target, RC=RegionDecoding(fill_holes=True)), (1, 1, 1)).labels
    assert (np.count_nonzero(full == 4), np.count_nonzero(full)) == (125, 125)
    rc[1, 3, 3] = 0.0  # a way out over a face
    leaking = decode(channels, target, settings_of(target, RC=RegionDecoding(fill_holes=True)), (1, 1, 1)).labels
    assert np.count_nonzero(leaking == 4) == 125 - 27 - 1


def test_an_inner_region_is_painted_over_an_outer_one_and_each_has_its_own_threshold() -> None:
    wt, tc, et, rc = (
        line(0.9, 0.9, 0.9, 0.9, 0),
        line(0, 0.4, 0.4, 0.4, 0),
        line(0, 0, 0.2, 0.2, 0.2),
        line(0, 0, 0, 0.9, 0),
    )
    target = Target(cavity=True)
    decoding = {
        "WT": RegionDecoding(0.8),
        "TC": RegionDecoding(0.3),
        "ET": RegionDecoding(0.1),
        "RC": RegionDecoding(0.5),
    }
    assert decode([wt, tc, et, rc], target, decoding, (1, 1, 1)).labels.ravel().tolist() == [2, 1, 3, 4, 3]


def test_settings_of_one_region_leave_the_others_alone() -> None:
    wt = line(0.9, 0.9, 0, 0.9)
    et = line(0.9, 0.0, 0, 0.6)
    target = Target()
    found = decode([wt, np.zeros_like(wt), et], target, settings_of(target, ET=RegionDecoding(peak=0.7)), (1, 1, 1))
    assert found.labels.ravel().tolist() == [3, 2, 0, 2]


def test_uncertainty_is_the_largest_binary_entropy_in_bits() -> None:
    wt, tc, et = line(0.5, 0.0, 0.9, 1.0), line(0.1, 0.0, 0.25, 0.0), line(0.0, 1.0, 0.01, 1.0)
    found = decode([wt, tc, et], Target(), settings_of(Target()), (1, 1, 1)).uncertainty.ravel()
    quarter = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx([1.0, 0.0, quarter, 0.0], abs=1e-6)


def test_lesions_are_those_of_the_label_map_as_painted() -> None:
    # WT joins two spots of ET that are apart, and ET lies outside WT once.
    wt = line(0.9, 0.8, 0.7, 0.6, 0.0, 0.1)
    et = line(0.9, 0.0, 0.0, 0.8, 0.0, 0.95)
    found = decode([wt, np.zeros_like(wt), et], Target(), settings_of(Target()), (2, 1.5, 1)).lesions
    by_region = {name: [row for row in found if row["region"] == name] for name in ("WT", "TC", "ET")}
    assert [row["voxels"] for row in by_region["WT"]] == [4, 1]
    first, second = by_region["WT"]
    assert first == {
        "region": "WT",
        "lesion": 1,
        "volume_mm3": 12.0,
        "x_mm": pytest.approx(3.0),
        "y_mm": 0.0,
        "z_mm": 0.0,
        "i": 1,
        "j": 0,
        "k": 0,
        "peak_probability": pytest.approx(0.9),
        "mean_probability": pytest.approx(0.75),
        "voxels": 4,
    }
    assert second["peak_probability"] == pytest.approx(0.1), "of WT, though ET painted it"
    assert [(row["lesion"], row["x_mm"]) for row in by_region["TC"]] == [(1, 0.0), (2, 6.0), (3, 10.0)]
    assert [row["mean_probability"] for row in by_region["ET"]] == pytest.approx([0.9, 0.8, 0.95])
    assert list(dict.fromkeys(row["region"] for row in found)) == ["WT", "TC", "ET"]


def test_the_lesion_table_as_csv() -> None:
    rows = decode([line(0.9)] * 3, Target(), settings_of(Target()), (1, 1, 1)).lesions
    table = list(csv.DictReader(io.StringIO(lesion_csv(rows))))
    assert [row["region"] for row in table] == ["WT", "TC", "ET"]
    assert tuple(table[0]) == LESION_COLUMNS
    assert float(table[0]["mean_probability"]) == rows[0]["mean_probability"]
    assert lesion_csv([]) == ",".join(LESION_COLUMNS) + "\n"


def test_nothing_predicted_has_no_lesions() -> None:
    found = decode(only_et(np.zeros((3, 4, 5), np.float32)), Target(), settings_of(Target()), (1, 1, 1))
    assert not found.labels.any()
    assert not found.uncertainty.any()
    assert found.lesions == []


# ---------------------------------------------------------------- against other ways


@given(
    st.sampled_from(["regions", "labels"]),
    st.booleans(),
    st.tuples(*[st.integers(1, 7)] * 3),
    st.integers(0, 2**32 - 1),
    st.sampled_from([3, 5, 1000]),  # few levels: many ties, and values at the threshold itself
    st.sampled_from([0.5, 0.25, 0.3, 0.75]),
)
@settings(max_examples=200, deadline=None)
def test_defaults_are_the_targets_own_decoding(
    kind: Any, cavity: bool, shape: tuple[int, int, int], seed: int, levels: int, threshold: float
) -> None:
    target = Target(kind, cavity)
    values = np.random.default_rng(seed).integers(0, levels, (target.channels, *shape)) / (levels - 1)
    if kind == "labels":
        values, threshold = (values + 1e-3) / (values + 1e-3).sum(0), 0.5
    probabilities = values.astype(np.float32)
    found = decode(list(probabilities), target, decoding_for(target, Predict(threshold=threshold), None), (1, 1, 1))
    assert found.labels.dtype == np.uint8
    assert np.array_equal(found.labels, target.decode(probabilities, threshold))


def plainly(
    probabilities: np.ndarray, target: Target, decoding: Mapping[str, RegionDecoding], voxel_mm3: float
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """The same by whole volumes and scipy.ndimage, in painting order."""
    labels = np.zeros(probabilities.shape[1:], np.uint8)
    likeliest = probabilities.argmax(0)
    sums: dict[str, np.ndarray] = {}
    for index, region in enumerate(target.regions):
        setting = decoding[region.name]
        if target.kind == "regions":
            p = probabilities[index]
            mask = p > setting.threshold
        else:
            p = np.sum([probabilities[label] for label in region.labels], 0)
            mask = np.isin(likeliest, region.labels)
        sums[region.name] = p
        parts, count = ndimage.label(mask, EVERYWHERE)
        stay = []
        for part in range(1, count + 1):
            inside = parts == part
            large = inside.sum() * voxel_mm3 >= setting.min_volume_mm3
            if large and (setting.peak is None or p[inside].max() > setting.peak):
                stay.append((int(inside.sum()), float(p[inside].max()), part))
        if setting.largest_only and stay:
            stay = [max(stay, key=lambda part: part[:2])]
        mask = np.isin(parts, [part for *_, part in stay])
        if setting.fill_holes:
            mask = ndimage.binary_fill_holes(mask)
        labels[mask] = region.decoded_as
    rows = []
    for region in target.regions:
        parts, count = ndimage.label(region.mask(labels), EVERYWHERE)
        for part in range(1, count + 1):
            where, values = np.argwhere(parts == part), sums[region.name][parts == part]
            rows.append((region.name, len(where), place_in(where), float(values.max()), float(values.mean())))
    return labels, rows


def place_in(voxels: np.ndarray) -> list[float]:
    """The centroid where all voxels that it touches are of the lesion, else the lesion's nearest voxel."""
    own, centre = {tuple(voxel) for voxel in voxels.tolist()}, voxels.mean(0)
    sides = [{math.floor(value + 0.5 - 1e-9), math.ceil(value - 0.5 + 1e-9)} for value in centre]
    if all(voxel in own for voxel in itertools.product(*sides)):
        return list(centre.tolist())
    away = [round(float((((np.array(voxel) - centre) * (1.5, 1, 2)) ** 2).sum()), 9) for voxel in voxels.tolist()]
    nearest = [voxel for voxel, squared in zip(voxels.tolist(), away, strict=True) if squared == min(away)]
    return list(min(nearest, key=lambda voxel: (voxel[2], voxel[1], voxel[0])))


@st.composite
def region_settings(draw: st.DrawFn, labels: bool) -> RegionDecoding:
    threshold = 0.5 if labels else draw(st.sampled_from([0.3, 0.5, 0.6]))
    return RegionDecoding(
        threshold,
        draw(st.sampled_from([None, 0.65, 0.9])),
        draw(st.sampled_from([0.0, 3.0, 6.0, 20.0])),
        draw(st.booleans()),
        draw(st.booleans()),
    )


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_settings_equal_the_plain_way(data: st.DataObject) -> None:
    target = Target(data.draw(st.sampled_from(["regions", "labels"])), data.draw(st.booleans()))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    shape = data.draw(st.tuples(*[st.integers(1, 12)] * 3))
    noise = ndimage.gaussian_filter(rng.normal(size=(target.channels, *shape)), (0, 0.7, 0.7, 0.7))
    scaled = (noise * 3 - 0.5).astype(np.float32)
    probabilities = 1 / (1 + np.exp(-scaled)) if target.kind == "regions" else np.exp(scaled) / np.exp(scaled).sum(0)
    labels_mode = target.kind == "labels"
    decoding = {region.name: data.draw(region_settings(labels_mode)) for region in target.regions}
    found = decode(list(probabilities), target, decoding, (1.5, 1, 2))
    labels, rows = plainly(probabilities, target, decoding, 3.0)
    assert np.array_equal(found.labels, labels)

    def key(row: tuple[Any, ...]) -> tuple[Any, ...]:
        return row[:2], [round(value, 6) for value in row[2]]

    ours = [
        (
            row["region"],
            row["voxels"],
            [row["x_mm"] / 1.5, row["y_mm"], row["z_mm"] / 2],
            row["peak_probability"],
            row["mean_probability"],
        )
        for row in found.lesions
    ]
    for one, other in zip(sorted(ours, key=key), sorted(rows, key=key), strict=True):
        assert one[:2] == other[:2]
        assert one[2] == pytest.approx(other[2])
        assert one[3:] == pytest.approx(other[3:], rel=1e-5)


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 0.8))
@settings(max_examples=50, deadline=None)
def test_holes_are_those_of_scipy(seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((6, 7, 8)) < share
    assert np.array_equal(filled(mask), ndimage.binary_fill_holes(mask))


@pytest.mark.parametrize("kind", ["regions", "labels"])
@pytest.mark.parametrize("crops", [[((2, 7), (0, 5), (1, 8))], [((2, 7), (0, 5), (1, 8)), ((1, 6), (2, 4), (0, 9))]])
def test_decoding_a_box_is_decoding_the_whole(kind: Any, crops: list[Any]) -> None:
    """Of one plan, and of two whose boxes differ and which are resampled."""
    target, shape, rng = Target(kind), (9, 7, 10), np.random.default_rng(0)
    share = 1 / len(crops)
    parts = []
    for crop in crops:
        stored = (5, 5, 7) if len(crops) == 1 else (4, 6, 5)
        entry = Entry(shape, (1, 2, 1.5), crop, stored, (0,), (1,))
        total = rng.random((target.channels, *stored), np.float32) * np.float32(share)
        parts.append(Part(total, entry, tuple(share * (kind == "labels" and i == 0) for i in range(target.channels))))
    channels = Channels(parts)
    within, inside = channels.inside()
    whole = decode(channels, target, settings_of(target), (1, 2, 1.5))
    found = decode(inside, target, settings_of(target), (1, 2, 1.5), within=within)
    assert inside[0].size < channels[0].size
    assert whole.labels.any()
    assert found.labels.tobytes() == whole.labels.tobytes()
    assert found.uncertainty.tobytes() == whole.uncertainty.tobytes()
    assert lesion_csv(found.lesions) == lesion_csv(whole.lesions)


def test_slabs_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities = list(np.random.default_rng(0).random((3, 9, 5, 4), np.float32))
    decoding = settings_of(Target(), ET=RegionDecoding(0.6, 0.9))
    whole = decode(probabilities, Target(), decoding, (1, 2, 3))
    monkeypatch.setattr("mets3d.inference.slabs.SLAB_VOXELS", 50)
    parts = decode(probabilities, Target(), decoding, (1, 2, 3))
    assert np.array_equal(whole.labels, parts.labels)
    assert np.array_equal(whole.uncertainty, parts.uncertainty)
    assert lesion_csv(whole.lesions) == lesion_csv(parts.lesions)


class Lazy(list[np.ndarray]):
    """Channels that are made when they are asked for; counts what decoding asks for, not what the type checker does."""

    def __init__(self, arrays: list[np.ndarray]):
        super().__init__(arrays)
        self.asked: list[int] = []
        self.alive: list[weakref.ref[np.ndarray]] = []
        self.most_alive = 0

    def __getitem__(self, index: Any) -> Any:
        channel = super().__getitem__(index).copy()
        if sys._getframe(1).f_code.co_filename.endswith("region_probabilities.py"):
            self.asked.append(index)
            self.alive.append(weakref.ref(channel))
            self.most_alive = max(self.most_alive, sum(one() is not None for one in self.alive))
        return channel


@pytest.mark.parametrize(("kind", "times"), [("regions", 1), ("labels", 2)])
def test_one_channel_is_held_at_a_time_and_asked_for_once_or_in_label_mode_twice(kind: Any, times: int) -> None:
    target = Target(kind, cavity=True)
    channels = Lazy(list(np.random.default_rng(0).random((target.channels, 3, 4, 5), np.float32)))
    decode(channels, target, settings_of(target), (1, 1, 1))
    expected = dict.fromkeys(range(target.channels), times) | ({0: 1} if kind == "labels" else {})
    assert Counter(channels.asked) == expected
    assert channels.most_alive == 1


def test_channels_are_left_as_they_were() -> None:
    for target in (Target(), Target("labels")):
        channels = list(np.random.default_rng(0).random((target.channels, 3, 4, 5), np.float32))
        before = [channel.copy() for channel in channels]
        decode(channels, target, settings_of(target), (1, 1, 1))
        assert all(np.array_equal(one, other) for one, other in zip(before, channels, strict=True))


# ---------------------------------------------------------------- bad input and the file


def test_what_cannot_be_decoded_is_refused() -> None:
    ones = [line(0.9)] * 3
    with pytest.raises(ValueError, match=r"expected 3 channels \(WT, TC, ET\), found 2"):
        decode(ones[:2], Target(), settings_of(Target()), (1, 1, 1))
    with pytest.raises(ValueError, match="settings of ET, found those of WT, TC"):
        decode(ones, Target(), {"WT": DEFAULT, "TC": DEFAULT}, (1, 1, 1))
    with pytest.raises(ValueError, match="found NaN in TC"):
        decode([line(0.9), line(math.nan), line(0.9)], Target(), settings_of(Target()), (1, 1, 1))
    target = Target("labels")
    with pytest.raises(ValueError, match="ET: threshold: a threshold does not apply"):
        decode([*ones, line(0.1)], target, settings_of(target, ET=RegionDecoding(0.4)), (1, 1, 1))
    with pytest.raises(ValueError, match=r"predict\.threshold is 0\.4, but a threshold does not apply"):
        decoding_for(target, Predict(threshold=0.4), None)


def test_a_written_decoding_is_read_back(tmp_path: Path) -> None:
    target = Target(cavity=True)
    decoding = settings_of(
        target, ET=RegionDecoding(0.25, 0.7, 8.0), RC=RegionDecoding(largest_only=True, fill_holes=True)
    )
    write_decoding(tmp_path / "decoding.json", decoding, {"objective": "f1"})
    assert read_decoding(tmp_path / "decoding.json", target) == decoding
    assert decoding_for(target, Predict(threshold=0.3), tmp_path / "decoding.json") == decoding
    written = json.loads((tmp_path / "decoding.json").read_text())
    assert written["objective"] == "f1"
    assert written["regions"]["ET"]["peak"] == 0.7


def test_what_the_file_does_not_name_is_as_configured(tmp_path: Path) -> None:
    file = tmp_path / "decoding.json"
    file.write_text('{"regions": {"ET": {"min_volume_mm3": 5}}}')
    found = decoding_for(Target(), Predict(threshold=0.4), file)
    assert found == {"WT": RegionDecoding(0.4), "TC": RegionDecoding(0.4), "ET": RegionDecoding(0.4, None, 5)}


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ({"RC": {}}, r"regions\.RC: expected one of WT, TC, ET"),
        ({"ET": 3}, r"regions\.ET: expected settings in braces, found 3"),
        ({"ET": {"treshold": 0.4}}, r"regions\.ET\.treshold: no such setting, expected one of threshold, peak"),
        ({"ET": {"threshold": 1.5}}, r"regions\.ET\.threshold: expected a number between 0 and 1, found 1\.5"),
        ({"ET": {"threshold": "0.5"}}, r"regions\.ET\.threshold: expected a number between 0 and 1, found '0\.5'"),
        ({"ET": {"threshold": True}}, r"regions\.ET\.threshold: expected a number"),
        ({"ET": {"threshold": math.nan}}, r"regions\.ET\.threshold: expected a number"),
        ({"TC": {"peak": 0.3}}, r"regions\.TC\.peak: expected nothing, or a number from the threshold 0\.5 to 1"),
        ({"WT": {"min_volume_mm3": -1}}, r"regions\.WT\.min_volume_mm3: expected a volume of at least 0 mm3, found -1"),
        ({"WT": {"min_volume_mm3": math.inf}}, r"regions\.WT\.min_volume_mm3: expected a volume"),
        ({"WT": {"fill_holes": 1}}, r"regions\.WT\.fill_holes: expected true or false, found 1"),
    ],
)
def test_a_senseless_file_is_refused_by_key(tmp_path: Path, regions: dict[str, Any], message: str) -> None:
    file = tmp_path / "decoding.json"
    file.write_text(json.dumps({"regions": regions}))
    with pytest.raises(ValueError, match=message) as caught:
        read_decoding(file, Target())
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("text", ["not json", "[]", "{}", '{"regions": []}'])
def test_a_file_that_is_no_decoding_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "decoding.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"decoding\.json: expected"):
        read_decoding(file, Target())


def test_label_mode_takes_no_threshold_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "decoding.json"
    file.write_text('{"regions": {"ET": {"threshold": 0.4}}}')
    with pytest.raises(ValueError, match=r"regions\.ET\.threshold: a threshold does not apply to softmax labels"):
        read_decoding(file, Target("labels"))
