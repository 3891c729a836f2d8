"""Values between voxels against torch's own sampler, in value and gradient."""

import pytest
import torch
import torch.nn.functional as F

from mets3d.ops.points import values_at


@pytest.mark.parametrize("shape", [(4, 3, 5), (1, 6, 2), (1, 1, 1)])
def test_values_and_gradient_are_those_of_grid_sample(shape: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    volume = torch.randn(2, 3, *shape, generator=generator, dtype=torch.float64)
    positions = 2.4 * torch.rand(2, 3, 50, 3, generator=generator, dtype=torch.float64) - 1.2
    ours, theirs = (volume.clone().requires_grad_() for _ in range(2))
    values = values_at(ours, positions)
    grid = positions.flip(-1).flatten(0, 1)[:, :, None, None]  # grid_sample counts axes from the last
    expected = F.grid_sample(theirs.flatten(0, 1)[:, None], grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(values, expected.view(values.shape))
    weights = torch.rand(values.shape, generator=generator, dtype=torch.float64)
    for result in (values, expected.view(values.shape)):
        (result * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_voxel_centres_and_faces_by_hand() -> None:
    volume = torch.tensor([1.0, 5.0]).view(1, 1, 2, 1, 1)
    at = torch.tensor([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0])
    positions = torch.stack([at, torch.zeros(6), torch.zeros(6)], -1)[None, None]
    assert values_at(volume, positions).flatten().tolist() == [1, 1, 3, 4, 5, 5]
