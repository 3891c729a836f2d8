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
