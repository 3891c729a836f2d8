"""Windows over a volume: equal to the whole where the network cannot tell, to sums by hand where it can."""

import itertools
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mets3d.inference import sliding
from mets3d.inference.sliding import Threads, window_probabilities
from mets3d.inference.windows import window_starts
from mets3d.models.transunet import TransUNet
from mets3d.shapes import PixelEmbedding, QueryOutput, SegOutput

PATCH = (8, 6, 8)


def pointwise(image: Tensor) -> SegOutput:
    return SegOutput("sigmoid", logits=image[:, :3] * 2 - image[:, 3:4])


class Lopsided(nn.Module):
    """Sees its surroundings and tells the axes' directions apart; counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = torch.randn(2, 4, 3, 3, 3, generator=generator)
        self.asked: list[int] = []
        self.empty = 0

    def forward(self, image: Tensor) -> SegOutput:
        self.asked.append(len(image))
        self.empty += int((image == 0).flatten(1).all(1).sum())
        return SegOutput(
            "sigmoid", logits=nn.functional.conv3d(image, self.weight, torch.tensor([0.3, -0.2]), padding=1)
        )


def brain(shape: tuple[int, int, int], seed: int = 0) -> Tensor:
    """Random values with a corner and a slab of zeros, as around a stripped brain."""
    image = torch.randn(4, *shape, generator=torch.Generator().manual_seed(seed))
    image[:, : shape[0] // 2, : shape[1] // 2] = 0
    image[..., -3:] = 0
    return image


def by_hand(network: nn.Module, image: Tensor, overlap: float, mirror: tuple[int, ...]) -> Tensor:
    """Every window and mirrored copy run alone, weights and sums in fp64 over the whole volume."""
    flips = [axes for n in range(len(mirror) + 1) for axes in itertools.combinations(mirror, n)]
    lines = [[math.exp(-0.5 * ((i - (p - 1) / 2) / (p / 8)) ** 2) for i in range(p)] for p in PATCH]
    weight = torch.einsum("x,y,z->xyz", *(torch.tensor(line, dtype=torch.float64) for line in lines))
    total, weights = torch.zeros(2, *image.shape[1:], dtype=torch.float64), torch.zeros(image.shape[1:]).double()
    starts = [window_starts(n, p, overlap) for n, p in zip(image.shape[1:], PATCH, strict=True)]
    for start in itertools.product(*starts):
        box = tuple(slice(a, a + p) for a, p in zip(start, PATCH, strict=True))
        for axes in flips:
            dims = [axis + 2 for axis in axes]
            answer = network(image[(slice(None), *box)][None].flip(dims)).probabilities.flip(dims)[0]
            total[(slice(None), *box)] += answer.double() * weight
            weights[box] += weight
    return (total / weights).float()


@pytest.fixture(params=[False, True], ids=["cpu", "rolling"])
def rolling(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Also as on a device that sums have to leave."""
    if request.param:
        monkeypatch.setattr(sliding, "_leaves", lambda device: True)
    return bool(request.param)


# ---------------------------------------------------------------- the result


@pytest.mark.usefixtures("rolling")
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
@pytest.mark.parametrize("shape", [(20, 17, 9), (8, 8, 8), (5, 20, 3)])
def test_a_pointwise_network_sees_no_windows(shape: tuple[int, int, int], overlap: float) -> None:
    for image in (torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)), brain(shape)):
        for mirror in ((), (0, 2)):
            found = window_probabilities(
                pointwise, image, patch=(8, 8, 8), overlap=overlap, window_batch=3, mirror=mirror
            )
            assert found.dtype == torch.float32
            torch.testing.assert_close(found, pointwise(image[None]).probabilities[0], rtol=0, atol=1e-6)


def test_a_pointwise_network_sees_no_windows_of_the_real_size() -> None:
    # 128 voxels: at a window's corner the weight is 5e-11 of that in its middle.
    image = brain((150, 130, 135)).half()
    found = window_probabilities(pointwise, image, patch=(128, 128, 128), window_batch=1)
    torch.testing.assert_close(found, pointwise(image[None].float()).probabilities[0], rtol=0, atol=1e-6)


@pytest.mark.usefixtures("rolling")
@pytest.mark.parametrize("window_batch", [1, 2, 5, 64])
@pytest.mark.parametrize("mirror", [(), (0,), (2, 1), (0, 1, 2)])
def test_windows_and_mirrored_copies_equal_sums_by_hand(mirror: tuple[int, ...], window_batch: int) -> None:
    image = brain((19, 11, 15))
    expected = by_hand(Lopsided(), image, 0.5, mirror)
    found = window_probabilities(Lopsided(), image, patch=PATCH, overlap=0.5, window_batch=window_batch, mirror=mirror)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


def test_mirrored_copies_of_one_window_are_the_plain_mean_over_the_flips() -> None:
    image = torch.randn(4, *PATCH, generator=torch.Generator().manual_seed(1))
    network = Lopsided()
    flips = [axes for n in range(4) for axes in itertools.combinations((2, 3, 4), n)]
    answers = [network(image[None].flip(axes)).probabilities.flip(axes)[0] for axes in flips]
    found = window_probabilities(network, image, patch=PATCH, window_batch=8, mirror=(0, 1, 2))
    assert network.asked[len(flips) :] == [8], "the copies of one window go in one batch"
    torch.testing.assert_close(found, torch.stack(answers).mean(0), rtol=0, atol=5e-7)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("mode", ["cnn", "encoder", "decoder", "both"])
def test_mirrored_copies_of_every_mode_are_averaged_as_probabilities(mode: Any, activation: Any) -> None:
    """The mean of what prediction uses of each copy: bounded before, so that one copy counts as much as another."""
    torch.manual_seed(0)
    small: dict[str, Any] = {
        "features": 4,
        "width": 12,
        "decoder_heads": 2,
        "vit_depth": 1,
        "vit_width": 12,
        "vit_mlp": 12,
    }
    network = TransUNet(
        mode, patch=PATCH, strides=((2, 2, 2),), channels=4, activation=activation, queries=9, vit_heads=2, **small
    ).eval()
    image = torch.randn(4, *PATCH, generator=torch.Generator().manual_seed(1))
    for classes in ("product", "claimed"):
        copies = []
        with torch.no_grad():
            for axes in ((), (2,), (4,), (2, 4)):
                copies.append(network(image[None].flip(axes)).region_probabilities(classes).flip(axes)[0])
        found = window_probabilities(network, image, patch=PATCH, mirror=(0, 2), query_classes=classes)
        torch.testing.assert_close(found, torch.stack(copies).mean(0), rtol=0, atol=1e-5)
        assert (found - copies[0]).abs().max() > 1e-3


@pytest.mark.usefixtures("rolling")
def test_half_precision_images_are_shown_in_fp32() -> None:
    image = brain((19, 11, 15)).half()
    expected = window_probabilities(Lopsided(), image.float(), patch=PATCH, mirror=(1, 2))
    torch.testing.assert_close(window_probabilities(Lopsided(), image, patch=PATCH, mirror=(1, 2)), expected)


def test_centres_count_more_than_borders() -> None:
    # Windows that answer their own number: where two overlap, the nearer centre wins.
    count = 0

    def network(image: Tensor) -> SegOutput:
        nonlocal count
        batch = torch.arange(count, count + len(image)).view(-1, 1, 1, 1, 1).float()
        count += len(image)
        return SegOutput("sigmoid", logits=(batch * 20 - 10).expand(-1, 1, *image.shape[2:]))

    found = window_probabilities(network, torch.ones(1, 12, 8, 8), patch=(8, 8, 8), overlap=0.5, window_batch=1)
    line = found[0, :, 4, 4]
    assert count == 2
    assert line[:4].max() < 0.01
    assert line[8:].min() > 0.99
    assert 0 < line[5] < 0.5 < line[6] < 1


def test_the_average_of_certain_windows_stays_a_probability() -> None:
    def certain(image: Tensor) -> SegOutput:
        return SegOutput("sigmoid", logits=torch.full((len(image), 1, *image.shape[2:]), 100.0))

    found = window_probabilities(certain, torch.ones(4, 37, 31, 29), patch=(16, 16, 16), overlap=0.7, mirror=(0,))
    assert found.max() <= 1
    assert found.min() > 1 - 1e-6


# ---------------------------------------------------------------- windows


@given(st.integers(1, 300), st.integers(1, 128), st.sampled_from([0.0, 0.25, 0.5, 0.7, 0.8, 0.9]))
def test_windows_are_the_fewest_that_overlap_enough_and_evenly_spread(size: int, patch: int, overlap: float) -> None:
    if size < patch:
        with pytest.raises(ValueError, match=f"a window of {patch} voxels does not fit an axis of {size}"):
            window_starts(size, patch, overlap)
        return
    starts = window_starts(size, patch, overlap)
    step = max(1, math.floor(round((1 - overlap) * patch, 6)))
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    assert starts[0] == 0
    assert starts[-1] == size - patch
    assert all(0 < gap <= step for gap in gaps)
    assert len(gaps) == math.ceil((size - patch) / step)
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_windows_of_nnunet_and_ours_are_the_same_at_half_overlap() -> None:
    # nnU-Net, predict_sliding_window: 240 x 240 x 155 in tiles of 128 x 128 x 128, and the brain's box alone.
    assert [window_starts(n, 128, 0.5) for n in (240, 155, 168)] == [[0, 56, 112], [0, 27], [0, 40]]


def test_windows_are_of_the_patch_and_padding_is_the_value_outside_the_brain() -> None:
    seen: list[tuple[int, ...]] = []

    def network(image: Tensor) -> SegOutput:
        seen.append(tuple(image.shape))
        assert image.sum() == 4 * 8 * 8 * 3, "beyond the volume there is nothing"
        return pointwise(image)

    found = window_probabilities(network, torch.ones(4, 8, 8, 3), patch=(8, 8, 5), window_batch=1)
    assert found.shape == (3, 8, 8, 3)
    assert seen == [(1, 4, 8, 8, 5)]


@pytest.mark.parametrize("mirror", [(), (0, 1, 2)])
def test_empty_windows_are_answered_once_and_count_as_if_each_were_run(mirror: tuple[int, ...]) -> None:
    image = torch.zeros(4, 40, 6, 8)
    image[:, 1, 2, 3] = 1  # where every eighth voxel does not look
    network = Lopsided()
    found = window_probabilities(network, image, patch=PATCH, overlap=0.5, window_batch=3, mirror=mirror)
    assert network.empty == 1, "one answer serves all empty windows and their mirrored copies"
    assert sum(network.asked) == 2 ** len(mirror) + 1
    assert len(window_starts(40, 8, 0.5)) == 9
    torch.testing.assert_close(found, by_hand(Lopsided(), image, 0.5, mirror), rtol=0, atol=2e-6)


def test_nothing_but_empty_windows() -> None:
    network = Lopsided()
    found = window_probabilities(network, torch.zeros(4, 20, 6, 8), patch=PATCH)
    assert network.asked == [1]
    torch.testing.assert_close(found, by_hand(Lopsided(), torch.zeros(4, 20, 6, 8), 0.5, ()), rtol=0, atol=2e-6)


def test_a_window_is_filled_if_one_voxel_of_one_sequence_is() -> None:
    image = torch.zeros(4, 24, 6, 8)
    image[3, 23, 5, 7] = -1e-3
    network = Lopsided()
    window_probabilities(network, image, patch=PATCH, overlap=0, window_batch=1)
    assert sum(network.asked) - network.empty == 1


def test_batches_hold_no_more_than_asked() -> None:
    network = Lopsided()
    window_probabilities(network, torch.ones(4, 20, 6, 8), patch=PATCH, overlap=0.5, window_batch=3, mirror=(0,))
    assert network.asked == [3, 3, 2], "four windows, twice each"


# ---------------------------------------------------------------- memory and waiting


def test_sums_of_one_patch_are_what_a_device_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sliding, "_leaves", lambda device: True)
    made: list[tuple[int, ...]] = []
    zeros = torch.zeros

    def watched(*arguments: object, **keywords: object) -> Tensor:
        made.append(tuple(arguments[0]) if isinstance(arguments[0], tuple) else ())
        return zeros(*arguments, **keywords)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(torch, "zeros", watched)
    window_probabilities(pointwise, torch.ones(4, 64, 10, 9), patch=PATCH, mirror=(0,))
    assert max(math.prod(shape) for shape in made if shape) == 3 * 8 * 10 * 9


@pytest.mark.gpu
@pytest.mark.parametrize("mirror", [(), (0, 1, 2)])
def test_a_gpu_agrees_with_the_cpu_without_waiting_in_the_loop(mirror: tuple[int, ...]) -> None:
    image = brain((40, 30, 20))
    expected = window_probabilities(pointwise, image, patch=(16, 16, 16), mirror=mirror)
    found = window_probabilities(pointwise, image.cuda(), patch=(16, 16, 16), mirror=mirror)
    assert found.device.type == "cpu"
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


@pytest.mark.gpu
def test_a_large_case_fits_a_device_of_8_gib() -> None:
    image = torch.ones(4, 512, 512, 176, dtype=torch.float16, device="cuda")
    torch.cuda.reset_peak_memory_stats()
    window_probabilities(pointwise, image, patch=(128, 128, 128), window_batch=1, mirror=(0,))
    assert torch.cuda.max_memory_allocated() < 4 * 2**30, "half is left to the network"


# ---------------------------------------------------------------- queries


def queries(class_logits: Tensor, mask_logits: Tensor, activation: str = "sigmoid") -> SegOutput:
    """An output whose mask logits are these [B, Q, X, Y, Z]: one pixel channel a query."""
    count = mask_logits.shape[1]
    pixels = PixelEmbedding(mask_logits, torch.eye(count), torch.zeros(count))
    embedding = torch.eye(count).expand(len(mask_logits), count, count)
    return SegOutput(activation, queries=(QueryOutput(class_logits, embedding),), pixels=pixels)  # type: ignore[arg-type]


def lesions(*certainties: float) -> tuple[Tensor, Tensor]:
    """Class logits (WT, TC, ET, none) of queries this sure of WT, and masks: query q is right at voxel q alone."""
    rest = torch.tensor([[(1 - p) / 3] * 4 for p in certainties])
    rest[:, 0] = torch.tensor(certainties)
    masks = torch.full((1, len(certainties), 8, 1, 1), -8.0)
    for query in range(len(certainties)):
        masks[0, query, query] = 3.0
    return rest.log()[None], masks


def test_a_right_mask_of_a_doubtful_class_is_found_where_the_class_is_decided() -> None:
    classes, masks = lesions(0.45, 0.40)
    output = queries(classes, masks)
    product = output.region_probabilities("product")[0, 0, :, 0, 0]
    claimed = output.region_probabilities("claimed")[0, 0, :, 0, 0]
    assert product[:2].max() < 0.5, "both lesions are lost at the default threshold"
    mask = torch.tensor(3.0).sigmoid()
    torch.testing.assert_close(claimed[:2], torch.stack([mask, mask * 0.40 / 0.45]), rtol=0, atol=1e-3)
    assert claimed[2:].max() < 0.01
    assert torch.equal(output.region_probabilities(), output.probabilities)


def test_a_region_that_no_query_claims_keeps_the_product() -> None:
    # WT is the likely class of none of them; "no object" is.
    classes = torch.tensor([[[0.3, 0.0, 0.0, 0.7], [0.2, 0.1, 0.0, 0.7]]]).clamp_min(1e-6).log()
    output = queries(classes, torch.full((1, 2, 4, 1, 1), 9.0))
    torch.testing.assert_close(output.region_probabilities("claimed"), output.probabilities)


def test_queries_that_do_not_claim_a_region_add_nothing_to_it() -> None:
    # One query claims WT, nineteen others are "no object" with 0.04 for it and masks everywhere.
    classes = torch.tensor([[0.5, 0.1, 0.1, 0.3]] + [[0.04, 0.03, 0.03, 0.9]] * 19).log()[None]
    masks = torch.cat([torch.full((1, 1, 4, 1, 1), -8.0), torch.full((1, 19, 4, 1, 1), 8.0)], 1)
    output = queries(classes, masks)
    assert output.region_probabilities("product")[0, 0].min() > 0.5, "the sum of nothings is something"
    assert output.region_probabilities("claimed")[0, 0].max() < 0.01


@pytest.mark.parametrize("classes", ["product", "claimed"])
@pytest.mark.parametrize("mirror", [(), (0,)])
def test_scores_above_1_are_probabilities_after_windows_and_copies(classes: str, mirror: tuple[int, ...]) -> None:
    sure = torch.tensor([0.9, 0.03, 0.03, 0.04]).log().expand(1, 3, 4)

    def network(image: Tensor) -> SegOutput:
        return queries(sure.expand(len(image), 3, 4), image[:, :3] * 4)

    image = brain((20, 17, 9)) + 1
    assert network(image[None]).score.max() > 2
    found = window_probabilities(network, image, patch=(8, 8, 8), mirror=mirror, query_classes=classes)  # type: ignore[arg-type]
    assert 0 <= found.min() <= found.max() <= 1
    whole = network(image[None]).region_probabilities(classes)[0]  # type: ignore[arg-type]
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-6)


def test_scores_of_labels_are_a_distribution_at_most() -> None:
    classes = torch.tensor([[[0.1, 0.8, 0.05, 0.05], [0.1, 0.05, 0.8, 0.05]]]).log()
    output = queries(classes, torch.full((1, 2, 4, 1, 1), 9.0), activation="softmax")
    assert output.score.sum(1).max() > 1.5
    found = output.region_probabilities()
    assert found.sum(1).max() <= 1 + 1e-6
    assert torch.equal(found.argmax(1), output.score.argmax(1))


@pytest.mark.parametrize("classes", ["product", "claimed"])
def test_the_likeliest_label_is_that_of_the_scores_after_windows_and_copies(classes: str) -> None:
    # Three queries see background, four ET: 2.4 against 3.2, which a clamp at 1 would make equal.
    sure = torch.tensor([[0.8, 0.0, 0.0, 0.0, 0.2]] * 3 + [[0.0, 0.0, 0.0, 0.8, 0.2]] * 4).clamp_min(1e-9).log()

    def network(image: Tensor) -> SegOutput:
        masks = image[:, :1].expand(-1, 7, -1, -1, -1) * 0 + 9.0
        return queries(sure.expand(len(image), 7, 5), masks, activation="softmax")

    image = brain((20, 17, 9)) + 1
    found = window_probabilities(network, image, patch=(8, 8, 8), mirror=(0, 1), query_classes=classes)  # type: ignore[arg-type]
    assert (found.argmax(0) == 3).all()
    assert found.sum(0).max() <= 1 + 1e-6


def test_without_queries_the_classes_do_not_matter() -> None:
    output = pointwise(brain((5, 6, 7))[None])
    assert torch.equal(output.region_probabilities("claimed"), output.probabilities)


def test_threads_change_nothing_and_each_window_is_asked_alone() -> None:
    """Also not what a caller that asks for larger batches gets."""
    torch.manual_seed(0)
    image = torch.rand(2, 20, 18, 16) + 0.1
    layer = torch.nn.Conv3d(2, 3, 3, padding=1)
    batches: list[int] = []

    def network(windows: Tensor) -> SegOutput:
        batches.append(len(windows))
        assert not torch.is_grad_enabled()
        return SegOutput(activation="sigmoid", logits=layer(windows))

    how: dict[str, Any] = {"patch": (8, 8, 8), "mirror": (0, 2)}
    alone = window_probabilities(network, image, window_batch=1, **how)
    for size, threads in ((2, 2), (5, 3)):
        batches.clear()
        with ThreadPoolExecutor(threads) as pool:
            found = window_probabilities(network, image, window_batch=size, threads=Threads(pool), **how)
        assert set(batches) == {1}
        assert torch.equal(found, alone)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_all_threads_have_a_window_whatever_the_batch(size: int) -> None:
    together = threading.Barrier(3, timeout=20)  # breaks unless three windows are at the network at the same time

    def network(windows: Tensor) -> SegOutput:
        together.wait()
        return pointwise(windows)

    image = torch.rand(4, 16, 6, 8, generator=torch.Generator().manual_seed(0)) + 0.1
    assert len(window_starts(16, 8, 0.5)) == 3, "so six jobs"
    how: dict[str, Any] = {"patch": PATCH, "mirror": (1,), "window_batch": size}
    with ThreadPoolExecutor(3) as pool:
        found = window_probabilities(network, image, threads=Threads(pool, 3), **how)
    assert torch.equal(found, window_probabilities(pointwise, image, **how))
