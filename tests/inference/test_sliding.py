"""Windows over a volume: equal to the whole where the network cannot tell."""

import pytest
import torch

from mets3d.inference.sliding import window_probabilities
from mets3d.shapes import SegOutput


def pointwise(image: torch.Tensor) -> SegOutput:
    return SegOutput("sigmoid", logits=image[:, :3] * 2 - image[:, 3:4])


@pytest.mark.parametrize("shape", [(20, 17, 9), (8, 8, 8), (5, 20, 3)])
def test_a_pointwise_network_sees_no_windows(shape: tuple[int, int, int]) -> None:
    image = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    found = window_probabilities(pointwise, image, patch=(8, 8, 8), overlap=0.5, window_batch=3)
    torch.testing.assert_close(found, pointwise(image[None]).probabilities[0], rtol=0, atol=1e-6)


def test_windows_are_of_the_patch_and_padding_is_the_value_outside_the_brain() -> None:
    seen: list[tuple[int, ...]] = []

    def network(image: torch.Tensor) -> SegOutput:
        seen.append(tuple(image.shape))
        assert image.sum() == 4 * 8 * 8 * 3, "beyond the volume there is nothing"
        return pointwise(image)

    found = window_probabilities(network, torch.ones(4, 8, 8, 3), patch=(8, 8, 5), window_batch=1)
    assert found.shape == (3, 8, 8, 3)
    assert seen == [(1, 4, 8, 8, 5)]


def test_centres_count_more_than_borders() -> None:
    # Windows that answer their own number: where two overlap, the nearer centre wins.
    count = 0

    def network(image: torch.Tensor) -> SegOutput:
        nonlocal count
        batch = torch.arange(count, count + len(image)).view(-1, 1, 1, 1, 1).float()
        count += len(image)
        return SegOutput("sigmoid", logits=(batch * 20 - 10).expand(-1, 1, *image.shape[2:]))

    found = window_probabilities(network, torch.zeros(1, 12, 8, 8), patch=(8, 8, 8), overlap=0.5, window_batch=1)
    line = found[0, :, 4, 4]
    assert count == 2
    assert line[:4].max() < 0.01
    assert line[8:].min() > 0.99
    assert 0 < line[5] < 0.5 < line[6] < 1
