import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mets3d.models.blocks import Attention
from mets3d.models.memory import Memory, MemoryAttention
from mets3d.models.queries import QueryDecoder, QueryLayer, _at_size, axis_encodings, where_masked
from mets3d.shapes import PixelEmbedding


def decoder(memory_channels=(8, 6, 4), **different):
    torch.manual_seed(0)
    arguments = {
        "queries": 5,
        "width": 12,
        "layers": 3,
        "heads": 2,
        "mlp": 16,
        "layer_scale": "off",
        "masked_attention": False,
        "position_encoding": True,
        "attention_fp32": True,
        "fuse": False,
    }
    return QueryDecoder(list(memory_channels), 4, 3, **(arguments | different))


def maps(*channels):
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(1, c, 2 << level, 2, 3, generator=generator) for level, c in enumerate(channels)]


def features():
    return torch.randn(1, 4, 8, 8, 12, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(("shape", "width"), [((2, 3, 4), 12), ((1, 2, 1), 30), ((3, 1, 2), 192)])
def test_position_encoding_as_written_out(shape, width):
    along_x, along_y, along_z = axis_encodings(shape, width)
    encoding = along_x[:, None, None] + along_y[:, None] + along_z
    share = width // 3
    for x in range(shape[0]):
        for y in range(shape[1]):
            for z in range(shape[2]):
                expected = []
                for voxel, count in zip((x, y, z), shape, strict=True):
                    for i in range(share):
                        angle = (voxel + 1) / (count + 1e-6) * 2 * math.pi / 10000 ** (3 * (i // 3) / share)
                        expected.append(math.cos(angle) if i % 2 else math.sin(angle))
                torch.testing.assert_close(encoding[x, y, z], torch.tensor(expected), atol=2e-6, rtol=0)


def test_position_encoding_needs_a_multiple_of_six():
    with pytest.raises(ValueError, match=r"multiple of 6.*got 256"):
        axis_encodings((2, 2, 2), 256)


def test_folded_product_equals_the_convolution_and_its_dot_product():
    module, embedding = decoder().pixels, torch.randn(1, 5, 12)
    dense = F.conv3d(features(), module.weight[:, :, None, None, None], module.bias)
    expected = torch.einsum("bqe,bexyz->bqxyz", embedding, dense)
    torch.testing.assert_close(module(features()).product(embedding), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(module(features()).tensor, dense, atol=1e-5, rtol=1e-5)


def test_pixel_embedding_does_not_share_memory_with_the_parameters():
    module = decoder().pixels
    pixels = module(features())
    before = pixels.product(torch.ones(1, 5, 12))
    with torch.no_grad():
        module.weight.zero_()
        module.bias.zero_()
    torch.testing.assert_close(pixels.product(torch.ones(1, 5, 12)), before)


@pytest.mark.parametrize("size", [(4, 4, 6), (2, 4, 3), (1, 1, 2), (8, 8, 12), (3, 5, 7)])
def test_attention_mask_equals_the_route_over_full_resolution(size):
    torch.manual_seed(0)
    pixels = PixelEmbedding(features(), torch.randn(12, 4), torch.randn(12))
    embedding = torch.randn(1, 9, 12)
    full = F.interpolate(pixels.product(embedding), size=size, mode="trilinear", align_corners=False).flatten(2)
    blocked = full.sigmoid() < 0.5
    blocked[blocked.all(-1)] = False
    allowed = where_masked(_at_size(pixels, torch.Size(size)), embedding)
    assert allowed.shape == (1, 1, 9, math.prod(size))
    clear = full.abs() > 1e-4
    assert clear.float().mean() > 0.99
    assert torch.equal(allowed[:, 0][clear], ~blocked[clear])
    assert 0 < allowed.float().mean() < 1


def test_a_query_without_a_mask_looks_everywhere():
    """Features of ones: the logit is the sum of the embedding, below 0 everywhere for the first query."""
    pixels = PixelEmbedding(torch.ones(1, 1, 2, 2, 2), torch.ones(3, 1), torch.zeros(3))
    pixels.features[0, 0, 0] = -1
    embedding = torch.tensor([[[1.0, 1, 1], [-1.0, -1, -1]]])
    half = torch.tensor([False] * 4 + [True] * 4)
    assert where_masked(pixels, embedding)[0, 0].tolist() == [half.tolist(), (~half).tolist()]
    nowhere = PixelEmbedding(-torch.ones(1, 1, 2, 2, 2), torch.ones(3, 1), torch.zeros(3))
    assert where_masked(nowhere, embedding)[0, 0].all()


@pytest.mark.parametrize("fp32", [True, False])
def test_attention_equals_pytorchs(fp32):
    torch.manual_seed(0)
    ours, theirs = Attention(12, 3, fp32=fp32), nn.MultiheadAttention(12, 3, batch_first=True)
    projections = (ours.query, ours.key, ours.value)
    for layer in (*projections, ours.out):
        nn.init.normal_(layer.bias)
    theirs.load_state_dict(
        {
            "in_proj_weight": torch.cat([layer.weight for layer in projections]),
            "in_proj_bias": torch.cat([layer.bias for layer in projections]),
            "out_proj.weight": ours.out.weight,
            "out_proj.bias": ours.out.bias,
        }
    )
    query, key, value = torch.randn(2, 4, 12), torch.randn(2, 7, 12), torch.randn(2, 7, 12)
    allowed = torch.rand(2, 1, 4, 7) > 0.5
    allowed[..., 0] = True
    expected, _ = theirs(query, key, value, attn_mask=~allowed[:, 0].repeat_interleave(3, dim=0))
    torch.testing.assert_close(ours(query, key, value, allowed), expected)
    torch.testing.assert_close(ours(query, key, value), theirs(query, key, value)[0])


def values_of(memory: Memory) -> torch.Tensor:
    channels = memory.features.flatten(2)
    mixed = channels if memory.matrix is None else memory.matrix @ channels
    return (mixed + memory.offset[..., None]).transpose(1, 2)


def keys_of(memory: Memory) -> torch.Tensor:
    if memory.encoding is None:
        return values_of(memory)
    x, y, z = memory.encoding
    return values_of(memory) + (x[:, None, None] + y[:, None] + z).flatten(0, 2)


def a_memory(projected: bool, encoded: bool) -> Memory:
    generator = torch.Generator().manual_seed(4)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    encoding = tuple(axis.double() for axis in axis_encodings((2, 3, 4), 12)) if encoded else None
    channels, matrix = (5, draw(2, 12, 5)) if projected else (12, None)
    return Memory(draw(2, channels, 2, 3, 4), matrix, draw(2, 12), encoding)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(("projected", "encoded"), [(True, True), (True, False), (False, True), (False, False)])
def test_attention_to_a_memory_equals_attention_to_its_keys_and_values(projected, encoded, masked):
    torch.manual_seed(0)
    folded = MemoryAttention(12, 3).double()
    for layer in (folded.query, folded.key, folded.value, folded.out):
        nn.init.normal_(layer.bias)
    plain = Attention(12, 3).double()
    plain.load_state_dict(folded.state_dict())
    memory, queries = a_memory(projected, encoded), torch.randn(2, 4, 12, dtype=torch.float64).requires_grad_()
    allowed = None
    if masked:
        allowed = torch.rand(2, 1, 4, 24) > 0.5
        allowed[..., 0] = True
    inputs = [tensor for tensor in (queries, memory.features, memory.matrix, memory.offset) if tensor is not None]
    results = []
    for attention, result in (
        (folded, folded(queries, memory, allowed)),
        (plain, plain(queries, keys_of(memory), values_of(memory), allowed)),
    ):
        gradients = torch.autograd.grad(result.square().sum(), [*inputs, *attention.parameters()])
        results.append([result, *gradients])
    torch.testing.assert_close(*results, atol=1e-11, rtol=1e-9)


@pytest.mark.parametrize("form", ["off", "correct", "reference"])
def test_where_layer_scale_multiplies(form):
    torch.manual_seed(0)
    layer = QueryLayer(12, 2, 16, form, fp32=True).double()
    queries, position = (torch.randn(2, 5, 12, dtype=torch.float64) for _ in range(2))
    memory = a_memory(projected=True, encoded=True)
    own = fed_scale = 1.0
    if form != "off":
        nn.init.normal_(layer.self_scale)
        nn.init.normal_(layer.mlp_scale)
        own, fed_scale = layer.self_scale, layer.mlp_scale
    x = layer.cross_norm(queries + layer.cross_attention(queries + position, memory))
    x = layer.self_norm(x + own * layer.self_attention(x + position, x + position, x))
    fed = layer.mlp_out(layer.mlp_in(x).clamp(min=0))
    expected = layer.mlp_norm(fed_scale * (x + fed) if form == "reference" else x + fed_scale * fed)
    torch.testing.assert_close(layer(queries, position, memory, None), expected)


def test_maps_are_visited_in_turn():
    """Prediction i depends on the first i maps, and the fourth layer comes back to the first map."""
    seen = [memory.requires_grad_() for memory in maps(8, 6, 4)]
    outputs, _ = decoder()(seen, features())
    for index, prediction in enumerate(outputs):
        gradients = torch.autograd.grad(
            prediction.class_logits.square().sum(), seen, allow_unused=True, retain_graph=True
        )
        assert [gradient is not None for gradient in gradients] == [level < index for level in range(3)]

    module = decoder(layers=4)
    visits = []
    for layer in module.layers:
        layer.register_forward_pre_hook(lambda _, inputs: visits.append(inputs[2].size.numel()))
    module(seen, features())
    assert visits == [12, 24, 48, 12]


def test_position_is_in_the_key_and_the_level_in_both():
    """Without position encoding the order of memory voxels means nothing; with it, it does."""
    image, there = features(), maps(8, 6, 4)
    back = [memory.flip(2) for memory in there]
    for encoded in (False, True):
        module = decoder(position_encoding=encoded)
        one, other = (module(memories, image)[0][-1].class_logits for memories in (there, back))
        assert torch.allclose(one, other, atol=1e-5) is not encoded
    module, captured = decoder(layers=1), []
    module.layers[0].register_forward_pre_hook(lambda _, inputs: captured.extend(inputs))
    module(there, image)
    _, _, memory, allowed = captured
    assert allowed is None
    encoding = sum(
        axis[tuple(slice(None) if i == j else None for j in range(3))]
        for i, axis in enumerate(axis_encodings((2, 2, 3), 12))
    )
    torch.testing.assert_close(keys_of(memory) - values_of(memory), encoding.flatten(0, 2)[None], atol=1e-5, rtol=1e-5)
    dense = module.memory[0](there[0]).flatten(2).transpose(1, 2) + module.level_embedding[0]
    torch.testing.assert_close(values_of(memory), dense)


def test_masked_attention_looks_only_where_the_mask_is():
    """A change of the memory outside every query's mask leaves the next prediction as it was."""
    module = decoder((8,), layers=1, masked_attention=True, position_encoding=False)
    image = torch.ones(1, 4, 4, 4, 4)
    image[:, :, 2:] = -1
    memory = torch.randn(1, 8, 4, 4, 4)
    with torch.no_grad():
        module.pixels.bias.zero_()
        module.mask_head[-1].weight.zero_()
        module.mask_head[-1].bias.copy_(module.pixels.weight.sum(1))  # positive where the features are 1
    first = module([memory], image)[0][-1].class_logits
    memory[:, :, 2:] += 1
    torch.testing.assert_close(module([memory], image)[0][-1].class_logits, first)
    memory[:, :, :2] += 1
    assert not torch.allclose(module([memory], image)[0][-1].class_logits, first, atol=1e-4)


def test_maps_that_no_layer_visits_are_frozen():
    module = decoder(layers=2)
    module(maps(8, 6, 4), features())[0][-1].class_logits.sum().backward()
    assert all(not weight.requires_grad for weight in module.memory[2].parameters())
    assert all(weight.grad is not None for weight in module.memory[:2].parameters())
    assert module.level_embedding.grad is not None


def test_one_map_has_no_norm_and_fused_maps_become_one():
    assert [type(part) for part in decoder((8,)).memory[0]] == [nn.Conv3d]
    module = decoder(fuse=True)
    assert module.level_embedding.shape == (1, 12)
    assert module.memory[0][1].num_groups == 4
    assert decoder(width=96).memory[0][1].num_groups == 32
    visits = []
    module.layers[1].register_forward_pre_hook(lambda _, inputs: visits.append(inputs[2].size.numel()))
    outputs, _ = module(maps(8, 6, 4), features())
    assert visits == [4 * 2 * 3]  # X/2, Y/4, Z/4 of 8 x 8 x 12
    sum(prediction.class_logits.sum() + prediction.mask_embedding.sum() for prediction in outputs).backward()
    assert all(weight.grad is not None for name, weight in module.named_parameters() if not name.startswith("pixels"))
