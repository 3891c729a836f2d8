import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from mets3d.losses.matching import start_matching
from mets3d.losses.queries import _at_points, query_loss, query_parts
from mets3d.losses.value import count_masks
from mets3d.models.transunet import TransUNet
from mets3d.shapes import PixelEmbedding, QueryOutput, SegOutput

SIZE = (4, 3, 5)
KEYS = torch.tensor([11, 12, 2**61, 5])


def made(batch=2, queries=6, channels=3, predictions=3, seed=0, dtype=torch.float32):
    """An output of random queries, and boolean target masks of which some are empty."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator).to(dtype).requires_grad_()

    pixels = PixelEmbedding(normal(batch, 4, *SIZE), normal(8, 4), normal(8))
    outputs = tuple(
        QueryOutput(normal(batch, queries, channels + 1), normal(batch, queries, 8)) for _ in range(predictions)
    )
    target = torch.rand(batch, channels, *SIZE, generator=generator) > 0.7
    target[0, 1] = False
    return SegOutput("sigmoid", queries=outputs, pixels=pixels), target


def leaves(output):
    yield from (output.pixels.features, output.pixels.weight, output.pixels.bias)
    for prediction in output.queries:
        yield from (prediction.class_logits, prediction.mask_embedding)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_loops(output, target, *, masks=None, weights=(2, 5, 5), no_object_weight=1.0, pairing="correct"):
    """The loss in NumPy, one query, mask and voxel sum at a time, in float64."""
    target = target.numpy().astype(float)
    batch, channels = target.shape[:2]
    present = [[r for r in range(channels) if target[b, r].max() > 0] for b in range(batch)]
    number = max(sum(map(len, present)), 1) if masks is None else masks
    losses = []
    for index, prediction in enumerate(output.queries):
        logits = prediction.class_logits.detach().double().numpy()
        probability = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        masks_of_queries = output.mask_logits(index).detach().double().numpy()
        queries = logits.shape[1]
        mask_terms = class_terms = 0.0
        for b in range(batch):
            of_class = np.full((queries, channels), np.nan)
            bce, dice = of_class.copy(), of_class.copy()
            for q in range(queries):
                x = masks_of_queries[b, q]
                for r in present[b]:
                    t = target[b, r]
                    bce[q, r] = np.mean(np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0) - x * t)
                    dice[q, r] = 1 - (2 * (sigmoid(x) * t).sum() + 1) / (sigmoid(x).sum() + t.sum() + 1)
                    of_class[q, r] = -probability[b, q, r]
            cost = weights[0] * of_class + weights[1] * bce + weights[2] * dice
            rows, columns = linear_sum_assignment(cost[:, present[b]])
            matched = [present[b][column] for column in columns]
            if pairing == "reference":
                matched = sorted(matched)
            wanted = dict(zip(rows.tolist(), matched, strict=True))
            mask_terms += sum(weights[1] * bce[q, r] + weights[2] * dice[q, r] for q, r in wanted.items())
            for q in range(queries):
                r = wanted.get(q, channels)
                class_terms -= (no_object_weight if r == channels else 1.0) * np.log(probability[b, q, r])
        denominator = number + (batch * queries - number) * no_object_weight
        losses.append((weights[0] * class_terms / denominator + mask_terms / number) / 10)
    return (losses[-1] + np.mean(losses[:-1])) / 2 if len(losses) > 1 else losses[0]


@pytest.mark.parametrize("pairing", ["reference", "correct"])
@pytest.mark.parametrize("no_object_weight", [None, 0.1])
@pytest.mark.parametrize("seed", range(4))
def test_equals_plain_loops(seed, no_object_weight, pairing):
    output, target = made(seed=seed)
    ours = query_loss(output, target, no_object_weight=no_object_weight, pairing=pairing)
    expected = by_loops(output, target, no_object_weight=no_object_weight or 1.0, pairing=pairing)
    assert ours.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weights", [(1, 3, 0.5), (60, 0.1, 0.1), (0.1, 0.1, 60)])
def test_weights_and_normaliser_are_arguments(weights):
    """Weights so far apart decide which query is matched to which mask, too."""
    output, target = made()
    names = dict(zip(("class_weight", "bce_weight", "dice_weight"), weights, strict=True))
    for masks in (7.5, torch.tensor(7.5)):
        ours = query_loss(output, target, masks=masks, pairing="correct", **names)
        assert ours.item() == pytest.approx(by_loops(output, target, masks=7.5, weights=weights), rel=1e-5)


def test_parts_add_up_and_scale_with_their_weights():
    output, target = made()
    parts = query_parts(output, target)
    assert list(parts) == ["query_class", "query_bce", "query_dice"]
    assert query_loss(output, target).item() == pytest.approx(sum(part.item() for part in parts.values()), rel=1e-6)
    without = query_parts(output, target, dice_weight=0.0)
    assert without["query_dice"] == 0


def test_one_prediction_alone_is_the_final_one():
    output, target = made(predictions=1)
    assert query_loss(output, target, pairing="correct").item() == pytest.approx(by_loops(output, target), rel=1e-5)


def test_a_perfect_prediction_costs_nothing():
    """Features are the masks themselves; query 4 stands for channel 0, query 1 for channel 2, channel 1 is empty."""
    target = torch.zeros(1, 3, *SIZE, dtype=torch.bool)
    target[:, 0, :2] = True
    target[:, 2, 1] = True
    pixels = PixelEmbedding(target * 40.0 - 20.0, torch.eye(3), torch.zeros(3))
    classes, embedding = torch.zeros(1, 5, 4), torch.zeros(1, 5, 3)
    classes[..., 3] = 30
    for query, channel in ((4, 0), (1, 2)):
        classes[0, query] = 30 * torch.eye(4)[channel]
        embedding[0, query, channel] = 1
    output = SegOutput("sigmoid", queries=(QueryOutput(classes, embedding),), pixels=pixels)
    (assigned,) = start_matching(output.queries, pixels, target.float()).assigned()
    assert assigned.tolist() == [[4, -1, 1]]
    assert query_loss(output, target, pairing="correct").item() == pytest.approx(0, abs=1e-5)
    # The original gives the matched queries 1 and 4 to channels 0 and 2 in that order.
    assert query_loss(output, target, pairing="reference") > 1


def test_float_masks_equal_boolean_ones():
    output, target = made()
    assert query_loss(output, target.float()) == query_loss(output, target)
    soft = target * 0.6
    assert query_loss(output, soft, pairing="correct").item() == pytest.approx(by_loops(output, soft), rel=1e-5)


def test_label_mode_matches_the_background_too():
    labels = torch.randint(0, 4, (2, *SIZE), generator=torch.Generator().manual_seed(0))
    target = torch.stack([labels == label for label in range(4)], dim=1)
    output, _ = made(channels=4)
    (assigned, *_) = start_matching(output.queries, output.pixels, target.float()).assigned()
    assert (assigned >= 0).all()
    assert query_loss(output, target, pairing="correct").item() == pytest.approx(by_loops(output, target), rel=1e-5)


def test_more_masks_than_queries():
    output, target = made(queries=2, batch=1, seed=3)
    target[:] = torch.rand(target.shape, generator=torch.Generator().manual_seed(1)) > 0.5
    (assigned, *_) = start_matching(output.queries, output.pixels, target.float()).assigned()
    assert sorted(assigned[0].tolist()) == [-1, 0, 1]
    assert torch.isfinite(query_loss(output, target))


def test_counts_present_masks():
    _, target = made()
    assert count_masks(target) == 5
    assert count_masks(target.float() * 1e-3) == 5
    assert count_masks(torch.zeros_like(target)) == 0


@pytest.mark.parametrize("points", [0, 6])
def test_without_any_mask_only_the_class_is_trained(points):
    output, target = made()
    loss = query_loss(output, torch.zeros_like(target), points=points)
    loss.backward()
    assert all(torch.isfinite(leaf.grad).all() for leaf in leaves(output))
    assert all((leaf.grad == 0).all() for leaf in leaves(output) if leaf.shape[-1] != 4)
    assert all(prediction.class_logits.grad.abs().sum() > 0 for prediction in output.queries)
    assert loss.item() == pytest.approx(by_loops(output, torch.zeros_like(target)), rel=1e-5)


@pytest.mark.parametrize("no_object_weight", [None, 0.1])
@pytest.mark.parametrize("empty", [(), (0,), (0, 1, 2, 3)])
def test_a_split_batch_has_the_loss_and_gradient_of_the_whole(empty, no_object_weight):
    """Two parts of two samples, as two processes or two accumulation steps would see them."""
    whole, target = made(batch=4)
    for sample in empty:
        target[sample] = False
    query_loss(whole, target, no_object_weight=no_object_weight).backward()
    expected = [leaf.grad.clone() for leaf in leaves(whole)]
    masks = count_masks(target).clamp(min=1) / 2
    value = 0.0
    for leaf in leaves(whole):
        leaf.grad = None
    for half in (slice(0, 2), slice(2, 4)):
        pixels = PixelEmbedding(whole.pixels.features[half], whole.pixels.weight, whole.pixels.bias)
        queries = tuple(QueryOutput(p.class_logits[half], p.mask_embedding[half]) for p in whole.queries)
        part = SegOutput("sigmoid", queries=queries, pixels=pixels)
        loss = query_loss(part, target[half], masks=masks, no_object_weight=no_object_weight) / 2
        value += loss.item()
        loss.backward()
    assert value == pytest.approx(query_loss(whole, target, no_object_weight=no_object_weight).item(), rel=1e-5)
    for leaf, gradient in zip(leaves(whole), expected, strict=True):
        torch.testing.assert_close(leaf.grad, gradient, atol=1e-7, rtol=1e-4)


def test_the_match_does_not_depend_on_half_precision():
    """The queries hardly differ: rounding their costs to bf16 would pick other ones."""
    output, target = made(queries=30)
    with torch.no_grad():
        for prediction in output.queries:
            for values in (prediction.class_logits, prediction.mask_embedding):
                values[:] = values[:, :1] + 1e-3 * values
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = query_loss(output, target)
    assert inside.dtype == torch.float32
    assert inside == query_loss(output, target)


def test_values_that_are_not_finite_reach_the_loss():
    """The training loop skips such a step; the assignment must not raise first."""
    output, target = made()
    with torch.no_grad():
        output.pixels.features[1] = torch.nan
    assert torch.isnan(query_loss(output, target))


# ---------------------------------------------------------------- sampled points


def test_points_lie_where_the_mask_is_least_certain():
    """A ramp that crosses 0 in the middle: most points are near it, a quarter is anywhere."""
    x = torch.linspace(-8, 8, 32)
    logits = x[:, None, None].expand(32, 4, 4)[None, None].contiguous()
    values, _ = _at_points(logits, (logits > 0).float(), points=400, keys=KEYS[:1], stream=0)
    near = values.abs() < 8 / 3 + 0.5  # the nearest third of uniform candidates, 3 x 400 of which 300 are kept
    assert 0.75 < near.float().mean() < 0.90
    assert values.shape == (1, 1, 400)
    assert values.abs().max() > 6


def test_points_sample_logits_and_target_at_the_same_place():
    """The target is an affine function of the logits, which linear interpolation keeps."""
    logits = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    values, target = _at_points(logits, 0.5 * logits + 2, points=64, keys=KEYS[:2], stream=0)
    torch.testing.assert_close(target, 0.5 * values + 2)
    corner = torch.zeros(1, 1, *SIZE)
    corner[..., 0, 0, 0] = 1
    assert (_at_points(corner, corner, points=9999, keys=KEYS[:1], stream=0)[0] == 1).any()  # the border is no edge


def test_points_repeat_with_their_keys_and_leave_the_class_alone():
    output, target = made()
    one, two = (query_loss(output, target, points=8, keys=KEYS[:2]) for _ in range(2))
    assert one == two
    assert one != query_loss(output, target, points=8, keys=KEYS[1:3])
    one.backward()
    assert all(leaf.grad is not None for leaf in leaves(output))
    parts = query_parts(output, target, points=8, keys=KEYS[:2])
    assert parts["query_class"] == query_parts(output, target)["query_class"]


def test_points_without_keys_follow_torchs_generator():
    output, target = made()
    torch.manual_seed(3)
    one, two = (query_loss(output, target, points=8) for _ in range(2))
    assert one != two
    torch.manual_seed(3)
    assert query_loss(output, target, points=8) == one


def test_the_points_of_a_sample_do_not_depend_on_its_batch():
    logits = torch.randn(4, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    whole, _ = _at_points(logits, logits, points=16, keys=KEYS, stream=1)
    for sample in range(4):
        one = slice(sample, sample + 1)
        alone, _ = _at_points(logits[one], logits[one], points=16, keys=KEYS[one], stream=1)
        assert torch.equal(alone[0], whole[sample])


def test_each_prediction_and_each_channel_has_points_of_its_own():
    """All predictions and channels are alike, so that only the points tell their losses apart."""
    output, target = made(batch=1, channels=2, predictions=2)
    output.queries = (output.queries[0],) * 2
    target = target[:, :1].expand(-1, 2, -1, -1, -1)
    logits = torch.linspace(-1, 1, 60).view(1, 1, *SIZE).expand(-1, 2, -1, -1, -1)
    values, _ = _at_points(logits, logits, points=16, keys=KEYS[:1], stream=1)
    assert not torch.equal(values[0, 0].sort().values, values[0, 1].sort().values)
    alone = SegOutput("sigmoid", queries=output.queries[:1], pixels=output.pixels)
    first, both = (query_parts(part, target, points=8, keys=KEYS[:1])["query_bce"] for part in (alone, output))
    assert first != both


@pytest.mark.parametrize("points", [0, 8])
def test_a_split_batch_with_points_has_the_gradient_of_the_whole(points):
    output, target = made(batch=4, dtype=torch.float64)
    query_loss(output, target, points=points, keys=KEYS).backward()
    expected = [leaf.grad.clone() for leaf in leaves(output)]
    for leaf in leaves(output):
        leaf.grad = None
    masks = count_masks(target).clamp(min=1) / 2
    for half in (slice(0, 2), slice(2, 4)):
        pixels = PixelEmbedding(output.pixels.features[half], output.pixels.weight, output.pixels.bias)
        queries = tuple(QueryOutput(p.class_logits[half], p.mask_embedding[half]) for p in output.queries)
        part = SegOutput("sigmoid", queries=queries, pixels=pixels)
        (query_loss(part, target[half], masks=masks, points=points, keys=KEYS[half]) / 2).backward()
    for leaf, gradient in zip(leaves(output), expected, strict=True):
        torch.testing.assert_close(leaf.grad, gradient, atol=1e-14, rtol=1e-12)


# ---------------------------------------------------------------- with a network


@pytest.mark.parametrize("points", [0, 4])
@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("mode", ["decoder", "both"])
def test_every_trainable_parameter_gets_a_gradient(mode, empty, points):
    torch.manual_seed(0)
    network = TransUNet(
        mode, in_channels=1, patch=(16, 8, 8), strides=((2, 2, 2),) * 2, features=2, deep_supervision=False,
        vit_depth=1, vit_width=12, vit_mlp=12, vit_heads=2, queries=4, width=12, decoder_layers=2, decoder_heads=2,
    )  # fmt: skip
    target = torch.zeros(2, 3, 16, 8, 8, dtype=torch.bool)
    if not empty:
        target[0, :2, 3:9, 2:5] = True
    output = network(torch.randn(2, 1, 16, 8, 8))
    loss = query_loss(output, target, points=points)
    loss.backward()
    assert torch.isfinite(loss)
    missing = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert missing == []
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters())
    moved = network.query_decoder.mask_head[-1].weight.grad.abs().sum() > 0
    assert moved.item() is not empty


def test_the_networks_output_is_left_as_it_was():
    """The matching makes mask logits without a gradient; those of the output must not be among them."""
    output, target = made()
    query_loss(output, target)
    assert output.mask_logits(-1).requires_grad
    assert output.probabilities.requires_grad


def test_outputs_and_targets_that_do_not_fit():
    output, target = made()
    with pytest.raises(ValueError, match="needs an output with queries; network modes `decoder` and `both`"):
        query_loss(SegOutput("sigmoid", logits=torch.zeros(2, 3, *SIZE)), target)
    with pytest.raises(ValueError, match=r"of shape \(2, 3, 4, 3, 5\), got \(2, 2, 4, 3, 5\)"):
        query_loss(output, target[:, :2])
    with pytest.raises(ValueError, match=r"got \(2, 3, 4, 3, 4\)"):
        query_loss(output, target[..., :4])
