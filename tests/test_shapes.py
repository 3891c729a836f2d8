"""The output type: what it makes on first use."""

import pytest
import torch

from mets3d.shapes import PixelEmbedding, QueryOutput, SegOutput


def query_output(scale: float = 1.0) -> SegOutput:
    generator = torch.Generator().manual_seed(0)
    pixels = PixelEmbedding(
        torch.randn(2, 5, 4, 3, 6, generator=generator),
        torch.randn(8, 5, generator=generator),
        torch.randn(8, generator=generator),
    )
    queries = tuple(
        QueryOutput(scale * torch.randn(2, 7, 4, generator=generator), torch.randn(2, 7, 8, generator=generator))
        for _ in range(2)
    )
    return SegOutput("sigmoid", queries=queries, pixels=pixels)


def test_mask_logits_are_the_dot_product_with_the_dense_embedding() -> None:
    output = query_output()
    assert output.pixel_embedding is not None
    for index in (0, 1, -1):
        expected = torch.einsum("bqe,bexyz->bqxyz", output.queries[index].mask_embedding, output.pixel_embedding)
        torch.testing.assert_close(output.mask_logits(index), expected, rtol=1e-5, atol=1e-5)


def test_mask_logits_are_made_once() -> None:
    output = query_output()
    assert output.mask_logits(-1) is output.mask_logits(1)


def test_probabilities_are_clamped_in_value_with_the_unclamped_gradient() -> None:
    output = query_output(scale=0.1)
    for query in output.queries:
        query.class_logits.requires_grad_()
    score = output.score
    assert (score > 1).any(), "the case is only of use if some score exceeds 1"
    assert output.probabilities.max() <= 1
    torch.testing.assert_close(output.probabilities, score.clamp(max=1))
    (gradient,) = torch.autograd.grad(output.probabilities.sum(), output.queries[-1].class_logits, retain_graph=True)
    (unclamped,) = torch.autograd.grad(score.sum(), output.queries[-1].class_logits)
    torch.testing.assert_close(gradient, unclamped)


def of_labels(*scores: float) -> SegOutput:
    """An output in label mode with these scores of its labels at its one voxel, by two queries a label."""
    halves = torch.tensor([score / 2 for score in scores for _ in range(2)])
    count = len(halves)
    certain = torch.full((count, len(scores) + 1), -40.0)
    certain[torch.arange(count), torch.arange(count) // 2] = 0.0
    logits = halves.logit(1e-9).view(1, count, 1, 1, 1).requires_grad_()
    pixels = PixelEmbedding(logits, torch.eye(count), torch.zeros(count))
    query = QueryOutput(certain[None], torch.eye(count)[None])
    return SegOutput("softmax", queries=(query,), pixels=pixels)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((1.10, 0.0, 0.0, 1.80), (1.10 / 2.9, 0.0, 0.0, 1.80 / 2.9)),
        ((1.80, 0.0, 1.10, 1.05), (1.80 / 3.95, 0.0, 1.10 / 3.95, 1.05 / 3.95)),
        ((0.9, 0.2, 0.0, 0.0), (0.9 / 1.1, 0.2 / 1.1, 0.0, 0.0)),
        ((0.3, 0.2, 0.1, 0.0), (0.3, 0.2, 0.1, 0.0)),
    ],
)
def test_scores_of_labels_keep_their_order_above_1(scores: tuple[float, ...], expected: tuple[float, ...]) -> None:
    output = of_labels(*scores)
    torch.testing.assert_close(output.score.flatten(), torch.tensor(scores))
    for found in (output.probabilities, output.region_probabilities(), output.region_probabilities("claimed")):
        torch.testing.assert_close(found.flatten(), torch.tensor(expected))
        assert found.argmax(1).item() == scores.index(max(scores))


def test_probabilities_of_labels_pass_the_unbounded_gradient() -> None:
    output = of_labels(1.10, 0.0, 0.2, 1.80)
    assert output.pixels is not None
    factors = torch.tensor([1.0, 2.0, 3.0, 5.0])[:, None, None, None]
    gradients = [
        torch.autograd.grad((factors * values).sum(), output.pixels.features, retain_graph=True)[0]
        for values in (output.probabilities, output.score)
    ]
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 0.1


def test_score_drops_no_object_and_sums_over_queries() -> None:
    output = query_output()
    classes = output.queries[-1].class_logits.softmax(-1)
    masks = output.mask_logits(-1).sigmoid()
    by_hand = sum(classes[:, q, :3, None, None, None] * masks[:, q, None] for q in range(7))
    torch.testing.assert_close(output.score, by_hand)


@pytest.mark.parametrize(("activation", "function"), [("sigmoid", torch.sigmoid), ("softmax", lambda x: x.softmax(1))])
def test_logits_become_probabilities_in_fp32(activation: str, function: object) -> None:
    logits = torch.randn(1, 4, 3, 3, 3, generator=torch.Generator().manual_seed(1)).bfloat16()
    output = SegOutput(activation, logits=logits)  # type: ignore[arg-type]
    assert output.probabilities.dtype == torch.float32
    torch.testing.assert_close(output.probabilities, function(logits.float()))  # type: ignore[operator]


def test_mask_logits_without_a_query_decoder_say_so() -> None:
    with pytest.raises(ValueError, match="no query decoder"):
        SegOutput("sigmoid", logits=torch.zeros(1, 3, 2, 2, 2)).mask_logits(0)
