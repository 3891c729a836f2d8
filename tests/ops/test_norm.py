"""The fused norm and activation against PyTorch's modules: interpreted here, compiled for GPUs, run on one."""

from typing import Any

import pytest
import torch
from torch import nn

from mets3d.ops.norm import norm_and_activate
from tests.builders.warm import python

SHAPES = [(2, 3, 4, 5, 6), (1, 5, 7, 3, 1), (2, 1, 8, 8, 8)]


def modules(channels: int) -> tuple[nn.InstanceNorm3d, nn.LeakyReLU]:
    norm = nn.InstanceNorm3d(channels, eps=1e-5, affine=True).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(channels, generator=generator, dtype=torch.float64))
        norm.bias.copy_(torch.randn(channels, generator=generator, dtype=torch.float64))
    return norm, nn.LeakyReLU(0.01)


def values(shape: tuple[int, ...], offset: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(shape, generator=generator, dtype=torch.float64) + offset
    return x, torch.randn(shape, generator=generator, dtype=torch.float64)


def results(run: Any, *inputs: torch.Tensor, gradient: torch.Tensor) -> list[torch.Tensor]:
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    result = run(*leaves)
    return [result, *torch.autograd.grad(result, leaves, gradient.to(result.dtype))]


def check(fused: Any, shape: tuple[int, ...], offset: float, device: str, dtype: torch.dtype, tolerance: float) -> None:
    norm, activation = modules(shape[1])
    x, gradient = values(shape, offset)
    x, gradient = x.to(dtype).double(), gradient.to(dtype).double()  # what the half type can hold
    expected = results(
        lambda x, w, b: activation(nn.functional.instance_norm(x, weight=w, bias=b, eps=norm.eps)),
        *(x, norm.weight, norm.bias),
        gradient=gradient,
    )
    found = results(
        lambda x, w, b: fused(x, w, b, norm.eps, 0.01),
        *(x.to(device, dtype), norm.weight.to(device).float(), norm.bias.to(device).float()),
        gradient=gradient.to(device),
    )
    for name, one, other in zip(("result", "of x", "of weight", "of bias"), found, expected, strict=True):
        difference = (one.cpu().double() - other).norm() / other.norm()
        assert difference < tolerance, (name, float(difference))


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("piece", [16, 512])  # several pieces a channel, and one that holds it in several blocks
def test_interpreted(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], offset: float, piece: int) -> None:
    if torch.cuda.is_available():
        pytest.skip("compiled for the GPU here: test_on_a_gpu")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    from mets3d.ops import norm_triton

    monkeypatch.setattr(norm_triton, "PIECE", piece)
    monkeypatch.setattr(norm_triton, "BLOCK", min(piece, 64))
    check(norm_triton.NormLeaky.apply, shape, offset, "cpu", torch.float32, 1e-4 if offset else 2e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [*SHAPES, (2, 4, 48, 40, 36)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2), (torch.float16, 2e-3)])
def test_on_a_gpu(shape: tuple[int, ...], dtype: torch.dtype, tolerance: float) -> None:
    from mets3d.ops.norm import fused_on_cuda

    fused = fused_on_cuda()
    assert fused is not None
    check(fused, shape, 1.0, "cuda", dtype, tolerance)
    norm, activation = modules(shape[1])
    x = values(shape, 1.0)[0].cuda().to(dtype)
    norm = norm.float().cuda()
    torch.testing.assert_close(norm_and_activate(x, norm, activation), fused(x, norm.weight, norm.bias, 1e-5, 0.01))


def test_on_a_cpu_it_is_the_modules() -> None:
    norm, activation = modules(3)
    x, _ = values((2, 3, 4, 5, 6), 0.0)
    assert torch.equal(norm_and_activate(x, norm, activation), activation(norm(x)))


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_compile_for_gpus_without_one(capability: int) -> None:
    code = f"""
import triton
from triton.compiler import ASTSource
from triton.backends.compiler import GPUTarget
from mets3d.ops import norm_triton as n

def made(kernel, types, constants):
    signature = dict(zip(kernel.arg_names, types.split(), strict=True))
    constants = {{"BLOCK": n.BLOCK}} | constants
    return triton.compile(ASTSource(kernel, signature, constants), target=GPUTarget("cuda", {capability}, 32)).asm

sums, rows = {{"PIECE": n.PIECE}}, {{"PIECES": 64}}
for x in ("*bf16", "*fp32"):
    kernels = [
        made(n._sum, x + " *fp32 i32 constexpr constexpr", sums),
        made(n._write, x + " *fp32" * 4 + " " + x + " i32 i32 i32 fp32 fp32 constexpr constexpr", rows),
        made(n._sum_back, x + " " + x + " *fp32" * 4 + " i32 i32 fp32 constexpr constexpr", sums),
        made(n._write_back, x + " " + x + " *fp32" * 5 + " " + x + " i32 i32 i32 fp32 constexpr constexpr", rows),
    ]
    print(*(len(k["cubin"]) > 0 for k in kernels), any("atom" in k["ptx"] for k in kernels))
"""
    done = python("-c", code)
    assert done.stdout.split() == ["True"] * 4 + ["False"] + ["True"] * 4 + ["False"], done.stderr
