import pytest
import torch
import torch.nn.functional as F

from mets3d.models.blocks import Dropout
from mets3d.models.vit import ViTBlock, ViTBottleneck


def bottleneck(grid=(2, 3, 2), **different):
    torch.manual_seed(0)
    arguments = {"width": 12, "depth": 2, "mlp": 20, "heads": 2, "dropout": 0.0, "layer_scale": "off"}
    vit = ViTBottleneck(8, grid, **(arguments | different))
    torch.nn.init.normal_(vit.position)
    return vit


def test_position_embedding_is_used_as_it_is_on_its_own_grid():
    """With identical features everywhere only the position tells tokens apart; a constant one must not."""
    vit = bottleneck()
    features = torch.ones(1, 8, 2, 3, 2)
    spread = vit(features).flatten(2).std(-1).mean()
    assert spread > 1e-2
    torch.nn.init.constant_(vit.position, 0.3)
    assert vit(features).flatten(2).std(-1).mean() < 1e-5


def test_position_embedding_is_interpolated_in_three_dimensions():
    """A net made for the larger grid, with positions averaged by hand where two old ones meet, gives the same."""
    small, large = bottleneck((2, 2, 2)), bottleneck((2, 4, 2))
    weights = small.state_dict()
    first, second = weights["position"].unbind(3)
    rows = [first, 0.75 * first + 0.25 * second, 0.25 * first + 0.75 * second, second]
    large.load_state_dict(weights | {"position": torch.stack(rows, dim=3)})
    features = torch.randn(1, 8, 2, 4, 2)
    torch.testing.assert_close(small(features), large(features))


def test_tokens_keep_their_place():
    """Without blocks, the embedding of a voxel comes back at that voxel."""
    vit = bottleneck(depth=0)
    features = torch.randn(1, 8, 2, 3, 2)
    result = vit(features)
    for x, y, z in [(0, 0, 0), (1, 2, 0), (0, 1, 1)]:
        token = vit.embed.weight.flatten(1) @ features[0, :, x, y, z] + vit.embed.bias + vit.position[0, :, x, y, z]
        normed = (token - token.mean()) / (token.var(unbiased=False) + 1e-6).sqrt()
        expected = vit.project.weight.flatten(1) @ normed + vit.project.bias
        torch.testing.assert_close(result[0, :, x, y, z], expected)


@pytest.mark.parametrize("form", ["off", "correct", "reference"])
def test_where_layer_scale_multiplies(form):
    torch.manual_seed(0)
    block = ViTBlock(6, 8, 2, 0.0, form).double()
    tokens = torch.randn(1, 4, 6, dtype=torch.float64)
    one = two = 1.0
    if form != "off":
        torch.nn.init.normal_(block.attention_scale)
        torch.nn.init.normal_(block.mlp_scale)
        one, two = block.attention_scale, block.mlp_scale
    normed = block.attention_norm(tokens)
    attended = block.attention(normed, normed, normed)
    x = one * tokens + attended if form == "reference" else tokens + one * attended
    fed = block.mlp_out(F.gelu(block.mlp_in(block.mlp_norm(x))))
    expected = two * x + fed if form == "reference" else x + two * fed
    torch.testing.assert_close(block(tokens), expected)


def test_gradients_in_double_precision():
    torch.manual_seed(0)
    block = ViTBlock(4, 6, 2, 0.0, "correct").double()
    torch.nn.init.ones_(block.mlp_scale)
    tokens = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, (tokens,))


def test_where_dropout_acts():
    """After the embedding, and in every block after the GELU and after the MLP."""
    vit, widths = bottleneck(dropout=0.25), []
    for module in vit.modules():
        if isinstance(module, Dropout):
            assert module.drop == 0.25
            module.register_forward_hook(lambda _, inputs, result: widths.append(result.shape[-1]))
    vit(torch.randn(1, 8, 2, 3, 2))
    assert widths == [12, 20, 12, 20, 12]


def test_dropout_only_in_training():
    vit = bottleneck(dropout=0.5)
    features = torch.randn(1, 8, 2, 3, 2)
    assert not torch.equal(vit(features), vit(features))
    vit.eval()
    assert torch.equal(vit(features), vit(features))
    assert torch.equal(vit(features), vit(features, torch.tensor([1])))
