"""Sums over mask logits, against the logits written out: in parts, interpreted, and on a GPU."""

import pytest
import torch
import torch.nn.functional as F

from mets3d.ops.mask_sums import AT_ONCE, MaskSums, mask_sums
from tests.builders.warm import python


def inputs(rows: int, channels: int, voxels: int, regions: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    masks = torch.rand(2, regions, voxels, generator=generator) > 0.6
    return 5 * draw(2, rows, channels), draw(2, rows), draw(2, channels, voxels), masks


def written_out(matrix: torch.Tensor, constant: torch.Tensor, volume: torch.Tensor, masks: torch.Tensor) -> MaskSums:
    logits = torch.einsum("bmc,bcn->bmn", matrix, volume) + constant[..., None]
    truth, inside = masks.to(logits.dtype), logits.sigmoid()
    return MaskSums(
        F.softplus(logits, threshold=500).sum(-1),
        inside.sum(-1),
        torch.einsum("bmn,brn->bmr", inside, truth),
        torch.einsum("bmn,brn->bmr", logits, truth),
    )


SIZES = [(5, 4, 90, 3), (16, 32, 64, 1), (33, 24, 130, 4)]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("at_once", [1, 100, 2**19])
def test_in_parts(monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, int, int, int], at_once: int) -> None:
    monkeypatch.setitem(AT_ONCE, "cpu", at_once)
    given = inputs(*sizes)
    torch.testing.assert_close(tuple(mask_sums(*given)), tuple(written_out(*given)), atol=1e-9, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("channels_last", [True, False])
def test_interpreted(monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, int, int, int], channels_last: bool) -> None:
    if torch.cuda.is_available():
        pytest.skip("compiled for the GPU here: test_on_a_gpu")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    from mets3d.ops import mask_sums_triton

    monkeypatch.setattr(mask_sums_triton, "PIECE", 64)
    check(mask_sums_triton.mask_sums, sizes, channels_last, "cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("sizes", [*SIZES, (80, 32, 40_000, 3)])
@pytest.mark.parametrize("channels_last", [True, False])
def test_on_a_gpu(sizes: tuple[int, int, int, int], channels_last: bool) -> None:
    from mets3d.ops.mask_sums import fused_on_cuda

    fused = fused_on_cuda()
    assert fused is not None
    check(fused, sizes, channels_last, "cuda")


def check(fused, sizes, channels_last, device) -> None:
    matrix, constant, volume, masks = inputs(*sizes)
    expected = torch.cat(
        [
            part.flatten(2) if part.ndim == 3 else part[..., None]
            for part in written_out(matrix, constant, volume, masks)
        ],
        dim=-1,
    )
    if channels_last:
        volume = volume.transpose(1, 2).contiguous().transpose(1, 2)
    given = [tensor.float().to(device) for tensor in (matrix, constant, volume)]
    for truth in (masks, masks.float()):
        found = fused(*given, truth.to(device)).cpu().double()
        assert (found - expected).norm() / expected.norm() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
def test_kernel_compiles_for_gpus_without_one(capability: int) -> None:
    code = f"""
import triton
from triton.compiler import ASTSource
from triton.backends.compiler import GPUTarget
from mets3d.ops import mask_sums_triton as m

types = "*fp32 *fp32 *bf16 i32 i32 i32 *u8 *fp32 i32 i32 i32 i32" + " constexpr" * 5
signature = dict(zip(m._sums.arg_names, types.split(), strict=True))
constants = {{"CHANNELS": 32, "REGIONS": 16, "ROWS": m.ROWS, "BLOCK": m.BLOCK, "PIECE": m.PIECE}}
made = triton.compile(ASTSource(m._sums, signature, constants), target=GPUTarget("cuda", {capability}, 32)).asm
print(len(made["cubin"]) > 0, "atom" in made["ptx"], "tf32" in made["ptx"])
"""
    done = python("-c", code)
    assert done.stdout.split() == ["True", "False", "False"], done.stderr
