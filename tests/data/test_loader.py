"""Sample i of step s is a function of (seed, s, i), whoever loads it."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mets3d.augment import build
from mets3d.augment.changes import augment
from mets3d.config import Augment, Data, Preprocess
from mets3d.data.loader import Samples, batches, check_divisible, collate, generator, keys_of_process, keys_on_device
from mets3d.data.preprocess import preprocess
from mets3d.data.store import open_store
from tests.builders.cases import make_case

PATCH = (16, 16, 12)


def samples(store: Path, **arguments: Any) -> Samples:
    defaults: dict[str, Any] = {"patch": PATCH, "seed": 3}
    return Samples(store, open_store(store).cases, **(defaults | arguments))


def flat(batch_list: list[list[Any]]) -> list[tuple[str, tuple[int, int, int]]]:
    return [pair for step in batch_list for micro in step for pair in zip(micro.cases, micro.origin, strict=True)]


def test_same_key_same_sample_and_other_keys_other_samples(phantom_store: Path) -> None:
    one, two = samples(phantom_store), samples(phantom_store)
    first, again = one[5, 1], two[5, 1]
    assert torch.equal(first["image"], again["image"])
    assert first["origin"] == again["origin"]
    places = {(sample["case"], sample["origin"]) for sample in (one[s, i] for s in range(6) for i in range(4))}
    assert len(places) > 18
    assert samples(phantom_store, seed=4)[5, 1]["origin"] != first["origin"]


def test_augmentation_moves_no_patch(phantom_store: Path) -> None:
    plain = samples(phantom_store)
    drawing = samples(phantom_store, draw=lambda stream: [stream(name).random() for name in ("one", "two")])
    for step in range(10):
        without, with_draws = plain[step, 0], drawing[step, 0]
        assert (without["case"], without["origin"]) == (with_draws["case"], with_draws["origin"])
        assert torch.equal(without["image"], with_draws["image"])
    assert len({value for step in range(3) for value in drawing[step, 0]["drawn"]}) == 6
    assert drawing[2, 0]["drawn"] == drawing[2, 0]["drawn"]


def test_named_streams_are_the_same_in_every_process_and_release() -> None:
    # Python's own hash of a string differs from process to process.
    drawn = [int(generator(3, 5, 1, name).integers(2**62)) for name in ("mirror", "noise")]
    assert drawn == [2631866637413256738, 4407688023386503489]


def test_keys_on_the_device_are_the_same_in_every_process_and_release() -> None:
    keys = keys_on_device(3, [(5, 1), (5, 2), (6, 1)])
    assert keys.tolist() == [7263584664679141920, 9053373306004850595, 8749045605687747911]
    assert torch.equal(keys_on_device(3, [(5, 2)]), keys[1:2])
    assert keys_on_device(4, [(5, 1)]) != keys[0]


def test_a_batch_tells_the_voxel_size_of_its_samples(tmp_path: Path) -> None:
    data = tmp_path / "data"
    sizes = {"MET-001": (1.0, 1.0, 3.0), "MET-002": (2.0, 0.5, 0.5), "MET-003": (1.0, 1.0, 1.0)}
    for name, size in sizes.items():
        make_case(data, name, affine=np.diag([*size, 1.0]))
    for wanted, expected in (
        ("in_plane", {"MET-001": (1.0, 1.0, 1.0), "MET-002": (1.0, 0.5, 0.5), "MET-003": (1.0, 1.0, 1.0)}),
        ((1.0, 1.0, 2.0), dict.fromkeys(sizes, (1.0, 1.0, 2.0))),
    ):
        store = tmp_path / str(wanted)
        preprocess(data, store, Preprocess(spacing_mm=wanted), data=Data())  # type: ignore[arg-type]
        made = samples(store, patch=(4, 4, 4))
        batch = made.batch([(0, index) for index in range(12)])
        assert batch.spacing_mm == [expected[name] for name in batch.cases]
        assert set(batch.cases) == set(sizes)
        assert pickle.loads(pickle.dumps(made)).batch([(0, 0)]).spacing_mm == batch.spacing_mm[:1]


def test_a_batch_tells_the_keys_of_its_samples(phantom_store: Path) -> None:
    (micro_batches,) = batches(samples(phantom_store), steps=range(4, 5), batch_size=4, accumulation=2)
    assert [batch.keys for batch in micro_batches] == [[(4, 0), (4, 1)], [(4, 2), (4, 3)]]


def test_shares_of_processes_and_accumulation_are_the_global_batch() -> None:
    whole = keys_of_process(7, batch_size=12)
    assert whole == [[(7, index) for index in range(12)]]
    for processes, accumulation in [(2, 1), (1, 3), (2, 3), (4, 3)]:
        shares = [
            keys
            for rank in range(processes)
            for keys in keys_of_process(7, batch_size=12, processes=processes, rank=rank, accumulation=accumulation)
        ]
        assert sorted(key for keys in shares for key in keys) == whole[0]
        assert len({len(keys) for keys in shares}) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more processes than the machine has cores
@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_and_workers_change_no_sample(phantom_store: Path, workers: int) -> None:
    kept = samples(phantom_store)
    everything = flat(list(batches(kept, steps=range(6), batch_size=2)))
    late = list(batches(kept, steps=range(4, 6), batch_size=2, workers=workers))
    assert flat(late) == everything[8:]
    for tensor in (tensor for step in late for batch in step for tensor in batch.tensors):
        assert tensor.is_shared() == bool(workers)
        assert tensor.untyped_storage().nbytes() == tensor.nbytes, "no more than the patch is kept or handed over"


def test_two_processes_load_what_one_loads(phantom_store: Path) -> None:
    kept = samples(phantom_store)
    whole = flat(list(batches(kept, steps=range(3), batch_size=4)))
    shares = [list(batches(kept, steps=range(3), batch_size=4, processes=2, rank=rank)) for rank in range(2)]
    merged = [pair for step in range(3) for rank in range(2) for pair in flat([shares[rank][step]])]
    assert merged == whole


def test_the_patch_is_the_store_at_its_origin(phantom_store: Path) -> None:
    sample = samples(phantom_store)[0, 0]
    case = open_store(phantom_store).read(sample["case"])
    box = tuple(slice(start, start + size) for start, size in zip(sample["origin"], PATCH, strict=True))
    assert torch.equal(sample["image"], case.image()[(slice(None), *box)])
    assert torch.equal(sample["labels"], case.labels()[box])


def test_a_case_smaller_than_the_patch_is_padded_with_zeros(phantom_store: Path) -> None:
    patch = (64, 64, 64)
    sample = samples(phantom_store, patch=patch)[0, 0]
    case = open_store(phantom_store).read(sample["case"])
    assert sample["image"].shape == (4, *patch)
    assert sample["image"].double().sum() == case.image().double().sum()
    assert all(start <= 0 and start + 64 >= n for start, n in zip(sample["origin"], case.shape, strict=True))


@pytest.mark.slow
def test_lesion_share_and_equal_chance_of_every_lesion(phantom_store: Path) -> None:
    store = open_store(phantom_store)
    name = max(store.cases, key=lambda case: len(store.read(case).lesions("TC")))
    case = store.read(name)
    offsets, voxels = case.lesions("TC"), case.foreground("TC")
    lesions = len(offsets) - 1
    assert lesions >= 2
    owner = {tuple(voxels[i]): lesion for lesion in range(lesions) for i in range(offsets[lesion], offsets[lesion + 1])}
    patch = (2, 2, 2)  # so small that no clamping at the border moves its middle
    kept = Samples(phantom_store, [name], patch=patch, seed=0, lesion_fraction=1.0)
    hits = np.zeros(lesions)
    for step in range(300):
        origin = kept[step, 0]["origin"]
        hits[owner[tuple(start + 1 for start in origin)]] += 1
    assert hits.min() > 0.5 * 300 / lesions, "a small lesion is drawn as often as a large one"
    share = Samples(phantom_store, [name], patch=patch, seed=0, lesion_fraction=1 / 3)
    centred = sum(tuple(start + 1 for start in share[step, 0]["origin"]) in owner for step in range(600))
    assert centred / 600 == pytest.approx(1 / 3, abs=0.1)


def test_every_lesion_of_the_training_cases_is_equally_likely(phantom_store: Path) -> None:
    store = open_store(phantom_store)
    lesions = {name: len(store.read(name).lesions("TC")) - 1 for name in store.cases}
    assert len(set(lesions.values())) > 1, "cases must differ in their number of lesions"
    kept = samples(phantom_store, lesion_fraction=1.0)
    drawn = [kept[step, 0]["case"] for step in range(400)]
    for name, count in lesions.items():
        assert drawn.count(name) / 400 == pytest.approx(count / sum(lesions.values()), abs=0.08)


def test_samples_travel_to_a_worker(phantom_store: Path) -> None:
    kept = samples(phantom_store)
    before = kept[1, 1]
    assert torch.equal(pickle.loads(pickle.dumps(kept))[1, 1]["image"], before["image"])


def test_collate_keeps_the_order_and_what_each_sample_is(phantom_store: Path) -> None:
    kept = samples(phantom_store)
    batch = collate([kept[0, 0], kept[0, 1]])
    assert [image.dtype for image in batch.image] == [torch.float16] * 2
    assert [labels.dtype for labels in batch.labels] == [torch.uint8] * 2
    for index in range(2):
        assert torch.equal(batch.image[index], kept[0, index]["image"])


def test_an_indivisible_batch_is_refused_with_the_nearest_that_fits() -> None:
    with pytest.raises(ValueError, match=r"train.batch_size 6 .* 2 x 2; the nearest that fits is 8"):
        check_divisible(6, 2, 2)
    check_divisible(8, 2, 2)


def test_no_case_is_an_error(phantom_store: Path) -> None:
    with pytest.raises(ValueError, match="no training case"):
        Samples(phantom_store, [], patch=PATCH, seed=0)


def test_lesions_are_numbered_where_a_loss_wants_them_and_move_with_the_labels(phantom_store: Path) -> None:
    settings = Augment(mirror=1.0, rotation=1.0, scaling=1.0, elastic=1.0)
    draw, patch = build(settings, sequences=4), (16, 16, 16)
    cases = open_store(phantom_store).cases
    with_lesions = Samples(
        phantom_store, cases, patch=patch, seed=3, lesion_fraction=1, draw=draw, lesions_of=("WT", "ET")
    )
    without = Samples(phantom_store, cases, patch=patch, seed=3, lesion_fraction=1, draw=draw)
    batch, plain = with_lesions.batch([(0, 0), (0, 1)]), without.batch([(0, 0), (0, 1)])
    assert plain.lesions is None
    assert all(map(torch.equal, batch.labels, plain.labels))
    assert all(map(torch.equal, batch.image, plain.image))
    lesions = batch.lesions
    assert lesions is not None
    assert [numbers.shape for numbers in lesions] == [(2, *own.shape) for own in batch.labels]
    assert batch.most_lesions == max(int(numbers.max()) for numbers in lesions) > 0
    packed = [torch.cat([own[None].to(n.dtype), n]) for own, n in zip(batch.labels, lesions, strict=True)]
    images = [image.float() for image in batch.image]
    _, moved = augment(images, packed, batch.drawn, patch, batch.spacing_mm)
    _, labels = augment(images, plain.labels, plain.drawn, patch, plain.spacing_mm)
    assert torch.equal(moved[:, 0], labels.to(torch.int16))
    assert torch.equal(moved[:, 1] > 0, torch.isin(labels, torch.tensor([1, 2, 3])))
    assert torch.equal(moved[:, 2] > 0, labels == 3)


HEAVY = Augment(preset="brats_regions", rotation=1.0, scaling=1.0, elastic=1.0)


def whole_sample(store: Path, made: Samples, key: tuple[int, int]) -> tuple[Any, Any]:
    """The sample with its whole case around its patch's centre; beyond it there is background."""
    case, origin = made.place(key)
    around = case.shape
    size = [p + 2 * more for p, more in zip(made.patch, around, strict=True)]
    image, labels = torch.zeros(4, *size), torch.zeros(*size, dtype=torch.uint8)
    x, y, z = (slice(more - o, more - o + n) for more, o, n in zip(around, origin, case.shape, strict=True))
    image[:, x, y, z], labels[x, y, z] = case.image().float(), case.labels()
    return augment([image], [labels], [made[key]["drawn"]], made.patch)


@pytest.mark.parametrize("patch", [(16, 16, 12), (9, 20, 15), (40, 8, 64)])
def test_what_a_sample_reads_is_all_that_its_movement_shows_of_the_case(
    phantom_store: Path, patch: tuple[int, int, int]
) -> None:
    """Also where patch and movement go beyond the case, whose true background is not read."""
    made = samples(phantom_store, patch=patch, draw=build(HEAVY, sequences=4), lesion_fraction=0.5)
    sizes = set()
    for step in range(6):
        batch = made.batch([(step, 0)])
        spacing = batch.spacing_mm[0]
        image, labels = augment([image.float() for image in batch.image], batch.labels, batch.drawn, patch, spacing)
        expected, kept = whole_sample(phantom_store, made, (step, 0))
        torch.testing.assert_close(image, expected, rtol=0, atol=2e-3)
        assert (labels == kept).float().mean() > 0.999
        sizes.add(batch.labels[0].shape)
    assert len(sizes) > 3


def test_a_sample_is_replayed_from_its_key_alone(phantom_store: Path) -> None:
    draw = build(HEAVY, sequences=4)
    made = samples(phantom_store, draw=draw)
    keys = [(3, index) for index in range(4)]
    batch = made.batch(keys)
    together = augment([image.float() for image in batch.image], batch.labels, batch.drawn, PATCH, batch.spacing_mm)
    for index, key in enumerate(keys):
        again = samples(phantom_store, draw=pickle.loads(pickle.dumps(draw))).batch([key])
        alone = augment([again.image[0].float()], again.labels, again.drawn, PATCH, again.spacing_mm)
        assert torch.equal(alone[0][0], together[0][index])
        assert torch.equal(alone[1][0], together[1][index])


def test_without_a_movement_the_read_is_the_patch(phantom_store: Path) -> None:
    draw = build(Augment(preset="none", mirror=1.0, noise=1.0), sequences=4)
    plain, drawing = samples(phantom_store), samples(phantom_store, draw=draw)
    for step in range(4):
        assert torch.equal(plain[step, 0]["image"], drawing[step, 0]["image"])
    assert drawing.bytes == plain.bytes


def test_the_memory_of_a_sample_is_between_the_mean_and_the_largest(phantom_store: Path) -> None:
    made = samples(phantom_store, draw=build(HEAVY, sequences=4))
    used = [9 * made[0, index]["labels"].numel() for index in range(40)]
    assert np.mean(used) < made.bytes < 3 * np.mean(used)
    assert made.bytes > samples(phantom_store).bytes


def test_a_batch_moves_to_a_device_and_stays_where_it_is(phantom_store: Path) -> None:
    batch = samples(phantom_store, lesions_of=("WT",)).batch([(0, 0), (0, 1)])
    moved = batch.to(torch.device("meta"))
    for name in ("image", "labels", "lesions"):
        assert {part.device.type for part in getattr(moved, name)} == {"meta"}
        assert {part.device.type for part in getattr(batch, name)} == {"cpu"}
    assert moved.keys == batch.keys
