"""One sample is convolved as it is among others, whichever kernel torch would take for it alone."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from mets3d.models.blocks import ConvBlock, Convolution

ALIKE = [(8, (3, 3, 3), (1, 1, 1)), (8, (1, 3, 3), (1, 1, 1)), (6, (3, 3, 3), (2, 2, 2))]


def layer(channels=8, kernel=(3, 3, 3), stride=(1, 1, 1), **how):
    torch.manual_seed(0)
    return Convolution(channels, channels, kernel, stride, tuple(side // 2 for side in kernel), **how)


@pytest.mark.parametrize(("channels", "kernel", "stride"), ALIKE)
def test_one_sample_has_the_values_and_gradients_of_torchs_convolution(channels, kernel, stride):
    own, image = layer(channels, kernel, stride), torch.randn(1, channels, 9, 8, 7, requires_grad=True)
    exact = layer(channels, kernel, stride).double()
    again = image.detach().double().requires_grad_()
    expected = torch.nn.functional.conv3d(again, exact.weight, exact.bias, stride, exact.padding)
    found = own(image)
    weights = torch.randn_like(found)
    (found * weights).sum().backward()
    (expected * weights.double()).sum().backward()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(image.grad.double(), again.grad, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(own.weight.grad.double(), exact.weight.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_one_small_sample_is_not_left_to_the_slow_kernel():
    with profile(activities=[ProfilerActivity.CPU]) as watched, torch.no_grad():
        ConvBlock(8, 8, (3, 3, 3))(torch.randn(1, 8, 12, 12, 12))
    called = {event.key for event in watched.key_averages()}
    assert "aten::mkldnn_convolution" in called
    assert not {name for name in called if "slow_conv3d" in name}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_left_to_torch(dtype):
    own, image = layer().to(dtype), torch.randn(1, 8, 6, 6, 6, dtype=dtype)
    assert torch.equal(own(image), torch.nn.functional.conv3d(image, own.weight, own.bias, padding=1))


def test_autocast_is_obeyed():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer()(torch.randn(1, 8, 6, 6, 6)).dtype == torch.bfloat16
