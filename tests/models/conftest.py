import pytest
import torch

SMALL = {
    "in_channels": 2,
    "channels": 3,
    "patch": (16, 16, 16),
    "strides": ((2, 2, 2),) * 3,
    "features": 4,
    "max_features": 16,
    "vit_depth": 2,
    "vit_width": 12,
    "vit_mlp": 20,
    "vit_heads": 2,
    "vit_dropout": 0.0,
    "queries": 5,
    "width": 12,
    "decoder_layers": 3,
    "decoder_heads": 2,
    "decoder_mlp": 16,
}


@pytest.fixture
def small():
    """Makes a small network from its mode and the arguments that differ; the same one each time."""
    from mets3d.models.transunet import TransUNet

    def make(mode, seed=0, **different):
        torch.manual_seed(seed)
        return TransUNet(mode, **(SMALL | different))

    return make


@pytest.fixture
def image():
    return torch.randn(2, 2, 16, 16, 16, generator=torch.Generator().manual_seed(1))
