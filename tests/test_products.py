"""Products of small matrices and volumes, against einsum and its gradients."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from mets3d import products
from mets3d.products import mix, overlap


def volume(channels: int, voxels: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, channels, voxels, generator=generator, dtype=torch.float64).requires_grad_()


def test_values() -> None:
    matrix, one, other = volume(3, 4, 0), volume(4, 7, 1), volume(5, 7, 2)
    torch.testing.assert_close(mix(matrix, one), torch.einsum("bmk,bkn->bmn", matrix, one))
    torch.testing.assert_close(overlap(one, other), torch.einsum("bmn,bkn->bmk", one, other))
    with torch.no_grad():
        assert torch.equal(mix(matrix, one), mix(matrix.detach(), one.detach()))
        assert torch.equal(overlap(one, other), overlap(one.detach(), other.detach()))


def test_a_result_of_another_shape_may_be_changed_in_place() -> None:
    matrix, one, added = volume(6, 4, 0), volume(4, 8, 1), volume(2, 8, 2)
    plain = (torch.einsum("bmk,bkn->bmn", matrix, one).view(2, 2, 3, 2, 4) + added.view(2, 2, 1, 2, 4)).sin()
    shaped = mix(matrix, one, (2, 3, 2, 4))
    shaped += added.view(2, 2, 1, 2, 4)
    for one_way, other_way in zip(
        torch.autograd.grad(plain.sum(), (matrix, one, added)),
        torch.autograd.grad(shaped.sin().sum(), (matrix, one, added)),
        strict=True,
    ):
        torch.testing.assert_close(one_way, other_way)


def test_gradients() -> None:
    assert gradcheck(mix, (volume(3, 4, 0), volume(4, 7, 1)))
    assert gradcheck(overlap, (volume(3, 7, 0), volume(4, 7, 1)))
    assert gradgradcheck(mix, (volume(2, 3, 0), volume(3, 4, 1)))
    assert gradgradcheck(overlap, (volume(2, 4, 0), volume(3, 4, 1)))
    only_one = volume(3, 7, 0)
    mix(volume(2, 3, 1).detach(), only_one).sum().backward()
    assert only_one.grad is not None


@pytest.mark.parametrize("voxels", [6, 11, 23, 24])
@pytest.mark.parametrize("channels_last", [True, False])
def test_pieces_of_a_gpu_add_up_to_the_whole(monkeypatch: pytest.MonkeyPatch, voxels: int, channels_last: bool) -> None:
    one, other = volume(3, voxels, 0).detach(), volume(5, voxels, 1).detach()
    if channels_last:
        other = other.transpose(1, 2).contiguous().transpose(1, 2)
    monkeypatch.setattr(products, "PIECE", 4)
    torch.testing.assert_close(
        products._in_pieces_summed(one, other, voxels // 4), torch.einsum("bmn,bkn->bmk", one, other)
    )


@pytest.mark.gpu
@pytest.mark.parametrize("voxels", [1000, 5000, 96**3])
def test_on_a_gpu(voxels: int) -> None:
    one, other = volume(3, voxels, 0).detach(), volume(5, voxels, 1).detach()
    on_gpu = overlap(one.float().cuda(), other.float().cuda()).cpu()
    torch.testing.assert_close(on_gpu.double(), torch.einsum("bmn,bkn->bmk", one, other), atol=1e-2, rtol=1e-4)
