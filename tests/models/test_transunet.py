import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mets3d import models
from mets3d.config import Model
from mets3d.models.transunet import TransUNet, _check_choices
from mets3d.regions import Target
from mets3d.shapes import SegOutput
from tests.builders.warm import python

MODES = ["cnn", "encoder", "decoder", "both"]
QUERY_MODES = ["decoder", "both"]


def everything(output):
    """One number that depends on all that the network returned."""
    total = sum(head.float().square().mean() for head in output.deep)
    if output.logits is not None:
        total = total + output.logits.float().square().mean()
    for index, prediction in enumerate(output.queries):
        total = total + prediction.class_logits.float().square().mean() + output.mask_logits(index).square().mean()
    return total


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_returns_the_same_type(small, image, mode):
    network = small(mode)
    output = network(image)
    assert isinstance(output, SegOutput)
    assert output.probabilities.shape == (2, 3, 16, 16, 16)
    assert [tuple(head.shape) for head in output.deep] == [(2, 3, 8, 8, 8)]
    if mode in QUERY_MODES:
        assert output.logits is None
        assert [tuple(prediction.class_logits.shape) for prediction in output.queries] == [(2, 5, 4)] * 4
        assert output.mask_logits(-1).shape == (2, 5, 16, 16, 16)
        assert output.pixel_embedding.shape == (2, 12, 16, 16, 16)
    else:
        assert output.logits.shape == (2, 3, 16, 16, 16)
        assert output.queries == ()
        assert output.pixel_embedding is None


@pytest.mark.parametrize(
    ("mode", "layer_scale"), [*((mode, "off") for mode in MODES), ("both", "correct"), ("both", "reference")]
)
def test_every_trainable_parameter_gets_a_gradient(small, image, mode, layer_scale):
    network = small(mode, vit_layer_scale=layer_scale, decoder_layer_scale=layer_scale, decoder_layers=2)
    everything(network(image)).backward()
    without = [name for name, weight in network.named_parameters() if weight.requires_grad and weight.grad is None]
    assert without == []
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters() if weight.requires_grad)


@pytest.mark.parametrize("mode", QUERY_MODES)
def test_probabilities_above_one_pass_their_gradient(small, image, mode):
    output = small(mode, queries=20)(image)
    above = output.score > 1
    assert above.float().mean() > 0.5
    assert (output.probabilities[above] == 1).all()
    (gradient,) = torch.autograd.grad(output.probabilities.sum(), output.mask_logits(-1))
    assert (gradient != 0).all()


@pytest.mark.parametrize("mode", ["cnn", "both"])
@pytest.mark.parametrize("levels", [2, 3, 4, 5, 6])
def test_any_number_of_levels(mode, levels):
    patch = (2 ** (levels + 1), 2**levels, 2**levels)
    network = TransUNet(
        mode, patch=patch, strides=((2, 2, 2),) * levels, features=2, max_features=6, vit_width=12, vit_mlp=12,
        vit_heads=2, vit_depth=1, queries=3, width=12, decoder_heads=2,
    )  # fmt: skip
    output = network(torch.randn(1, 4, *patch))
    assert output.probabilities.shape == (1, 3, *patch)
    sizes = [tuple(size >> level for size in patch) for level in range(1, levels - 1)]
    assert [head.shape[2:] for head in output.deep] == sizes
    assert len(network.encoder.stages) == levels + 1
    assert len(network.deep_heads) == levels - 2


def test_anisotropic_strides_and_kernels():
    kernels = ((1, 3, 3), (3, 3, 1), (3, 3, 3))
    network = TransUNet(
        "cnn",
        patch=(6, 16, 8),
        strides=((1, 2, 2), (3, 4, 1)),
        kernels=kernels,
        features=2,
        in_channels=1,
        deep_heads=1,
    )
    output = network(torch.randn(1, 1, 6, 16, 8))
    assert output.logits.shape == (1, 3, 6, 16, 8)
    assert [head.shape[2:] for head in output.deep] == [(6, 8, 4)]
    assert [stage[0].conv.kernel_size for stage in network.encoder.stages] == list(kernels)
    assert [stage[1].conv.kernel_size for stage in network.decoder.stages] == [kernels[2], kernels[1]]
    assert [up.kernel_size for up in network.decoder.upsample] == [(3, 4, 1), (1, 2, 2)]
    assert network(torch.randn(2, 1, 9, 8, 4)).logits.shape == (2, 3, 9, 8, 4)


def test_what_stands_at_each_level_of_the_cnn(small):
    network = small("cnn", features=3, max_features=7)
    maps = network.encoder(torch.randn(1, 2, 16, 16, 16))
    assert [tuple(features.shape[1:]) for features in maps] == [
        (3, 16, 16, 16),
        (6, 8, 8, 8),
        (7, 4, 4, 4),
        (7, 2, 2, 2),
    ]
    back = network.decoder(maps[-1], maps[:-1])
    assert [tuple(features.shape[1:]) for features in back] == [(7, 4, 4, 4), (6, 8, 8, 8), (3, 16, 16, 16)]


def test_heads_that_exist(small, image):
    assert len(small("cnn", deep_supervision=False)(image).deep) == 0
    assert [head.shape[2:] for head in small("cnn", deep_heads=2)(image).deep] == [(8, 8, 8), (4, 4, 4)]
    assert small("cnn", deep_heads=0)(image).deep == ()
    assert small("decoder").head is None


@pytest.mark.parametrize("mode", QUERY_MODES)
def test_an_imported_full_resolution_head_is_frozen(small, image, mode):
    network = small(mode, frozen_cnn_head=True)
    output = network(image)
    assert output.logits.shape == (2, 3, 16, 16, 16)
    everything(output).backward()
    assert network.head.weight.grad is None
    assert not network.head.weight.requires_grad
    assert all(weight.grad is not None for weight in network.parameters() if weight.requires_grad)


@pytest.mark.parametrize("mode", MODES)
def test_the_forward_pass_never_waits_for_the_device(mode):
    """With fake tensors any read of a value (.item(), `if tensor`) raises."""
    with FakeTensorMode():
        network = TransUNet(mode, patch=(64, 64, 64), vit_depth=1)
        output = network(torch.empty(1, 4, 64, 64, 64))
        assert output.probabilities.shape == (1, 3, 64, 64, 64)


@pytest.mark.parametrize(("mode", "dtype"), [*((mode, torch.bfloat16) for mode in MODES), ("both", torch.float16)])
def test_mixed_precision(small, image, mode, dtype):
    # Two levels: the bf16 weight gradient of torch 2.13's Conv3d on a 2 x 2 x 2 map is now and then garbage on a CPU.
    network = small(mode, strides=((2, 2, 2),) * 2)
    exact = network(image).probabilities
    with torch.autocast("cpu", dtype=dtype):
        output = network(image)
    assert output.probabilities.dtype == torch.float32
    assert (output.probabilities - exact).abs().mean() < 0.05
    everything(output).backward()
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters() if weight.requires_grad)


def test_attention_in_fp32_under_autocast(small, image):
    for fp32, expected in ((True, torch.float32), (False, torch.bfloat16)):
        seen = []
        network = small("decoder", attention_fp32=fp32)
        for layer in network.query_decoder.layers:
            layer.cross_attention.register_forward_hook(lambda _, __, result, seen=seen: seen.append(result.dtype))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            network(image)
        assert seen == [expected] * 3


@pytest.mark.parametrize("mode", MODES)
def test_double_precision(small, image, mode):
    network = small(mode).double()
    output = network(image.double())
    for value in (*output.deep, *(prediction.mask_embedding for prediction in output.queries)):
        assert value.dtype == torch.float64
    single = small(mode)(image)
    torch.testing.assert_close(output.probabilities.float(), single.probabilities, atol=1e-4, rtol=1e-3)


@pytest.mark.slow
def test_compiles_to_one_graph(tmp_path):
    """In a process of its own: the compiler cannot trace the runtime shape checks of the tests."""
    script = """
import torch
from mets3d.models.transunet import TransUNet, _check_choices
torch.manual_seed(0)
network = TransUNet(
    "both", in_channels=1, patch=(8, 8, 4), strides=((2, 2, 2),) * 2, features=2, vit_depth=1, vit_width=12, vit_mlp=12,
    vit_heads=2, queries=3, width=12, decoder_layers=2, decoder_heads=2, deep_heads=1,
).eval()
image = torch.randn(1, 1, 8, 8, 4)
output = torch.compile(network, backend="eager", fullgraph=True)(image)
torch.testing.assert_close(output.probabilities, network(image).probabilities)
print(type(output).__name__, len(output.queries), len(output.deep))
"""
    file = tmp_path / "script.py"
    file.write_text(script, encoding="utf-8")
    run = python(str(file))
    assert run.stdout.split() == ["SegOutput", "3", "1"], run.stderr


def test_initialisation():
    torch.manual_seed(0)
    network = TransUNet("both", patch=(64, 64, 64), vit_depth=1, decoder_layers=1, decoder_layer_scale="correct")
    network.requires_grad_(False)
    conv = network.encoder.stages[3][1].conv
    assert conv.weight.std() == pytest.approx((2 / (1.0001 * 256 * 27)) ** 0.5, rel=0.02)
    assert (conv.bias == 0).all()
    layer = network.query_decoder.layers[0]
    assert layer.cross_attention.key.weight.abs().max() == pytest.approx((6 / (4 * 192)) ** 0.5, rel=0.01)
    assert layer.cross_attention.out.weight.abs().max() == pytest.approx((6 / (2 * 192)) ** 0.5, rel=0.01)
    assert all((part.bias == 0).all() for part in (layer.cross_attention.key, layer.self_attention.out))
    assert layer.mlp_in.weight.abs().max() == pytest.approx((6 / (192 + 1536)) ** 0.5, rel=0.01)
    assert (layer.mlp_scale == 1e-5).all()
    assert network.query_decoder.query_content.std() == pytest.approx(1, rel=0.05)
    assert network.query_decoder.pixels.weight.abs().max() == pytest.approx(32**-0.5, rel=0.01)
    assert (network.vit.position == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch": (16, 20, 16)}, "20 voxels along Y, not a multiple of 8.*next multiple is 24"),
        ({"patch": (16, 16, 0)}, "0 voxels along Z"),
        ({"patch": (8, 8, 8)}, "one voxel at the bottleneck"),
        ({"patch": (16, 16)}, "three sizes X Y Z, got \\(16, 16\\)"),
        ({"strides": ()}, "strides is empty"),
        ({"strides": ((2, 2),)}, "strides\\[0\\] is \\(2, 2\\)"),
        ({"strides": ((2, 2, 0),)}, "strides\\[0\\]"),
        ({"kernels": ((3, 3, 3),)}, "kernels has 1 entry; expected one more than strides, 4"),
        ({"kernels": ((3, 3, 3),) * 3 + ((3, 2, 3),)}, "kernels\\[3\\] is \\(3, 2, 3\\); expected odd"),
        ({"deep_heads": 3}, "deep_heads is 3; 3 strides have 0 to 2"),
        ({"vit_heads": 5}, "vit_width is 12; expected a multiple of vit_heads, which is 5"),
        ({"decoder_heads": 5}, "width is 12; expected a multiple of decoder_heads, which is 5"),
        ({"width": 16}, "width is 16; expected a multiple of 6"),
        ({"memory_levels": (-5,)}, "memory_levels is \\(-5,\\); 3 strides have the feature maps -4 .bottleneck"),
        ({"memory_levels": (0,)}, "memory_levels is \\(0,\\)"),
        ({"memory_levels": ()}, "memory_levels is \\(\\)"),
        ({"memory_fpn": 5}, "memory_fpn is 5; 3 strides have 4 feature maps"),
    ],
)
def test_arguments_that_do_not_go_together(small, arguments, message):
    with pytest.raises(ValueError, match=message):
        small("both", **arguments)


@pytest.mark.parametrize("name", ["mode", "activation", "vit_layer_scale", "decoder_layer_scale"])
def test_a_choice_that_does_not_exist(small, name):
    """Checked by hand, since runtime type checks stop such a value only in the tests."""
    arguments = small("both").arguments | {name: "none"}
    with pytest.raises(ValueError, match=f"{name} is 'none'; expected one of "):
        _check_choices(arguments)


def test_an_image_of_the_wrong_size(small):
    network = small("cnn")
    with pytest.raises(ValueError, match=r"12 voxels along X, not a multiple of 8.*next multiple is 16"):
        network(torch.randn(1, 2, 12, 16, 16))
    with pytest.raises(ValueError, match="one voxel at the bottleneck"):
        network(torch.randn(1, 2, 8, 8, 8))


@pytest.mark.parametrize("mode", MODES)
def test_build_from_settings(mode):
    settings = Model(
        mode=mode, strides=((2, 2, 2),) * 3, features=4, max_features=16, vit_depth=1, vit_width=12, vit_mlp=12,
        vit_heads=3, queries=4, width=12, decoder_heads=2, memory_levels=(-3, -2),
    )  # fmt: skip
    network = models.build(settings, in_channels=1, target=Target("labels"), patch=(16, 16, 16))
    output = network(torch.randn(1, 1, 16, 16, 16))
    assert output.activation == "softmax"
    assert output.probabilities.shape == (1, 4, 16, 16, 16)
    regions = models.build(settings, in_channels=1, target=Target("regions", cavity=True), patch=(16, 16, 16))
    assert regions.activation == "sigmoid"
    assert regions(torch.randn(1, 1, 16, 16, 16)).probabilities.shape == (1, 4, 16, 16, 16)


def test_the_defaults_are_those_of_the_configuration():
    with torch.device("meta"):
        arguments = TransUNet("decoder").arguments
    defaults = Model().model_dump()
    shared = defaults.keys() & arguments.keys()
    assert defaults.keys() - shared == {"vit_pretrained"}
    # A network made by hand has the original's heads, which `from_original` fills.
    assert {name for name in shared if defaults[name] != arguments[name]} == {"head_bias"}
    assert (defaults["head_bias"], arguments["head_bias"]) == (0.01, None)


@pytest.mark.parametrize("mode", MODES)
def test_settings_and_network_agree_on_what_a_mode_has(small, mode):
    network, settings = small(mode), Model(mode=mode)
    assert (settings.has_vit, settings.has_queries) == (network.has_vit, network.has_queries)
    assert (network.has_vit, network.has_queries) == (network.vit is not None, network.query_decoder is not None)
