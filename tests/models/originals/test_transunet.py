import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mets3d import models
from mets3d.config import Model
from mets3d.models.originals.transunet import from_original, read_checkpoint, settings
from mets3d.models.originals.vit import load_vit_npz
from mets3d.regions import Target

# Small networks as the original's class could have made them, by what it calls them.
ORIGINALS = {
    "cnn, anisotropic": ("cnn", {"deep_heads": 2, "kernels": ((1, 3, 3), (3, 3, 1), (3, 1, 3), (3, 3, 3))}),
    "encoder": ("encoder", {"deep_heads": 2}),
    "encoder, layer scale": ("encoder", {"deep_heads": 2, "vit_layer_scale": "reference", "patch": (16, 32, 16)}),
    "decoder": ("decoder", {"deep_supervision": False}),
    "decoder, coarse stride": ("decoder", {"deep_supervision": False, "strides": ((1, 2, 2), (2, 2, 2), (2, 2, 2))}),
    "decoder, layer scale": ("decoder", {"deep_supervision": False, "decoder_layer_scale": "reference"}),
    "decoder, one map": ("decoder", {"deep_supervision": False, "memory_levels": (-4,)}),
    "decoder, fused maps": ("decoder", {"deep_supervision": False, "memory_fpn": 3}),
    "decoder, maps alike": (
        "decoder",
        {
            "deep_supervision": False,
            "max_features": 4,
            "strides": ((2, 2, 2),) * 3 + ((2, 2, 1),),
            "patch": (32, 16, 16),
        },
    ),
    "both": ("both", {"deep_heads": 2, "frozen_cnn_head": True, "vit_layer_scale": "reference"}),
}
ATTENTION = {"cross": ("cross_attention", "multihead_attn"), "self": ("self_attention", "self_attn")}


@pytest.fixture(params=ORIGINALS)
def network(request, small):
    """A network of ours whose every weight is random, biases and gammas included."""
    mode, different = ORIGINALS[request.param]
    made = small(mode, **different).eval()
    for weight in made.parameters():
        if weight.ndim < 2:
            torch.nn.init.normal_(weight, 1.0 if weight.mean() > 0.5 else 0.0, 0.3)
    if made.vit is not None:
        torch.nn.init.normal_(made.vit.position)
    return made


def original(network):
    """The network's weights under the original's names, assembled module by module."""
    state = {}

    def put(name, module):
        state.update({f"{name}.{key}": value.detach().clone() for key, value in module.state_dict().items()})

    def block(name, module):
        put(f"{name}.conv", module.conv)
        put(f"{name}.instnorm", module.norm)

    levels = len(network.strides)
    for level, stage in enumerate(network.encoder.stages):
        for index in (0, 1):
            place = f"{level}.{index}.blocks.0" if level == levels else f"{level}.blocks.{index}"
            block(f"conv_blocks_context.{place}", stage[index])
    for u, (upsample, stage) in enumerate(zip(network.decoder.upsample, network.decoder.stages, strict=True)):
        put(f"tu.{u}", upsample)
        for index in (0, 1):
            block(f"conv_blocks_localization.{u}.{index}.blocks.0", stage[index])
    for index, head in enumerate(reversed(network.deep_heads)):
        put(f"seg_outputs.{levels - 1 - len(network.deep_heads) + index}", head)
    if network.head is not None:
        put(f"seg_outputs.{levels - 1}", network.head)
    if network.vit is not None:
        vit(state, put, network.vit)
    if network.query_decoder is not None:
        queries(state, put, network.query_decoder)
    return state


def vit(state, put, module):
    put("transformer.embeddings.patch_embeddings", module.embed)
    position = module.position.detach()
    state["transformer.embeddings.position_embeddings"] = torch.stack(
        [position[0, :, x, y, z] for x, y, z in np.ndindex(*position.shape[2:])]
    )[None]
    for index, layer in enumerate(module.blocks):
        name = f"transformer.encoder.layer.{index}"
        put(f"{name}.attention_norm", layer.attention_norm)
        put(f"{name}.ffn_norm", layer.mlp_norm)
        for part in ("query", "key", "value", "out"):
            put(f"{name}.attn.{part}", getattr(layer.attention, part))
        put(f"{name}.ffn.fc1", layer.mlp_in)
        put(f"{name}.ffn.fc2", layer.mlp_out)
        if layer.attention_scale is not None:
            state[f"{name}.ls1.gamma"] = layer.attention_scale.detach()
            state[f"{name}.ls2.gamma"] = layer.mlp_scale.detach()
    put("transformer.encoder.encoder_norm", module.norm)
    put("conv_more", module.project)


def queries(state, put, module):
    single = len(module.memory) == 1
    for index, projection in enumerate(module.memory):
        put("linear_encoder_feature" if single else f"input_proj.{index}.0", projection[0])
        if not single:
            put(f"input_proj.{index}.1", projection[1])
    if module.fuse is not None:
        put("linear_encoder_feature", module.fuse)
    state["linear_mask_features.weight"] = module.pixels.weight.detach()[:, :, None, None, None]
    state["linear_mask_features.bias"] = module.pixels.bias.detach()
    for index, layer in enumerate(module.layers):
        for kind, (ours, theirs) in ATTENTION.items():
            name, attention = f"predictor.transformer_{kind}_attention_layers.{index}", getattr(layer, ours)
            packed = [getattr(attention, part) for part in ("query", "key", "value")]
            state[f"{name}.{theirs}.in_proj_weight"] = torch.cat([part.weight.detach() for part in packed])
            state[f"{name}.{theirs}.in_proj_bias"] = torch.cat([part.bias.detach() for part in packed])
            put(f"{name}.{theirs}.out_proj", attention.out)
            put(f"{name}.norm", getattr(layer, f"{kind}_norm"))
        put(f"predictor.transformer_ffn_layers.{index}.linear1", layer.mlp_in)
        put(f"predictor.transformer_ffn_layers.{index}.linear2", layer.mlp_out)
        put(f"predictor.transformer_ffn_layers.{index}.norm", layer.mlp_norm)
        if layer.self_scale is not None:
            state[f"predictor.transformer_self_attention_layers.{index}.ls1.gamma"] = layer.self_scale.detach()
            state[f"predictor.transformer_ffn_layers.{index}.ls1.gamma"] = layer.mlp_scale.detach()
    put("predictor.decoder_norm", module.norm)
    put("predictor.class_embed", module.class_head)
    for index in range(3):
        put(f"predictor.mask_embed.layers.{index}", module.mask_head[2 * index])
    state["predictor.query_feat.weight"] = module.query_content.detach()
    state["predictor.query_embed.weight"] = module.query_position.detach()
    state["predictor.level_embed.weight"] = module.level_embedding.detach()


def outputs(network, image):
    with torch.no_grad():
        output = network(image)
    found = list(output.deep)
    found += [] if output.logits is None else [output.logits]
    for index, prediction in enumerate(output.queries):
        found += [prediction.class_logits, output.mask_logits(index)]
    return found


def same(one, other, image):
    for ours, theirs in zip(outputs(one, image), outputs(other, image), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def imported(state, network, **different):
    patch = network.arguments["patch"]
    return from_original(state, **({"patch": patch, "vit_heads": 2, "decoder_heads": 2} | different)).eval()


def test_original_weights_make_the_same_network(network):
    image = torch.randn(1, 2, *network.arguments["patch"])
    found = imported({f"module.{key}": value for key, value in original(network).items()}, network)
    same(found, network, image)
    assert found.arguments["mode"] == network.arguments["mode"]
    trainable = {name for name, weight in found.named_parameters() if weight.requires_grad}
    assert trainable == {name for name, weight in network.named_parameters() if weight.requires_grad}


def test_settings_rebuild_an_imported_network(network):
    image = torch.randn(1, 2, *network.arguments["patch"])
    found = imported(original(network), network)
    values = settings(found)
    rebuilt = models.build(Model(**values), in_channels=2, target=Target(), patch=network.arguments["patch"]).eval()
    rebuilt.load_state_dict(found.state_dict())
    same(rebuilt, found, image)
    assert settings(rebuilt) == values


def test_imported_weights_are_copies(small):
    network = small("cnn", deep_heads=2)
    state = original(network)
    found = imported(state, network)
    state["tu.0.weight"].zero_()
    assert (found.decoder.upsample[0].weight != 0).any()


def test_form_of_layer_scale_is_an_argument(small):
    network = small("both", deep_supervision=False, vit_layer_scale="reference")
    state = original(network)
    for form in ("reference", "correct"):
        found = imported(state, network, layer_scale=form)
        assert found.arguments["vit_layer_scale"] == form
        assert found.arguments["decoder_layer_scale"] == "off"
    with pytest.raises(ValueError, match=r"unknown: transformer\.encoder\.layer\.0\.ls1\.gamma"):
        imported(state, network, layer_scale="off")


def test_labels_and_masked_attention_are_arguments(small):
    network = small("decoder", deep_supervision=False)
    found = imported(original(network), network, target="labels", masked_attention=False)
    assert found.activation == "softmax"
    assert found.arguments["masked_attention"] is False


def test_every_key_that_does_not_fit_is_named(small):
    network = small("both", deep_heads=2, frozen_cnn_head=True)
    state = original(network)
    del state["conv_more.bias"], state["predictor.decoder_norm.weight"]
    state["classifier.weight"] = torch.zeros(1)
    state["predictor.class_embed.bias"] = torch.zeros(7)
    state["predictor.transformer_self_attention_layers.1.self_attn.in_proj_bias"] = torch.zeros(5)
    with pytest.raises(ValueError, match="do not fit") as error:
        imported(state, network)
    assert str(error.value).splitlines()[1:] == [
        "  missing: conv_more.bias",
        *(
            "  misshapen: predictor.transformer_self_attention_layers.1.self_attn.in_proj_bias is (5,); "
            f"query_decoder.layers.1.self_attention.{part}.bias needs (12,)"
            for part in ("query", "key", "value")
        ),
        "  missing: predictor.decoder_norm.weight",
        "  misshapen: predictor.class_embed.bias is (7,); query_decoder.class_head.bias needs (4,)",
        "  unknown: classifier.weight",
    ]


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (
            "conv_blocks_context.1.blocks.0.conv.weight",
            r"the CNN and its classes cannot be read without conv_blocks_con",
        ),
        ("tu.2.weight", r"without tu\.2\.weight"),
        ("predictor.query_feat.weight", r"the query decoder cannot be read without predictor\.query_feat"),
        ("transformer.encoder.layer.0.ffn.fc1.weight", r"the ViT cannot be read without transformer\.encoder"),
        ("input_proj.1.0.weight", r"the maps that the queries attend to cannot be read without input_proj\.1"),
    ],
)
def test_what_the_description_needs(small, gone, message):
    network = small("both", deep_supervision=False)
    state = original(network)
    del state[gone]
    with pytest.raises(ValueError, match=message):
        imported(state, network)


def test_a_state_dict_of_something_else():
    with pytest.raises(ValueError, match=r"not the state dict of an original 3D TransUNet.*found 1 key \(fc\.weight"):
        from_original({"fc.weight": torch.zeros(2, 2)}, patch=(64, 64, 64))
    with pytest.raises(ValueError, match="found 0 keys"):
        from_original({}, patch=(64, 64, 64))


def test_another_patch_than_the_position_embedding_is_for(small):
    network = small("encoder", deep_heads=2)
    with pytest.raises(ValueError, match=r"8 tokens, but patch \(16, 16, 32\) over strides .* makes 16"):
        imported(original(network), network, patch=(16, 16, 32))


def test_maps_that_cannot_be_told(small):
    network = small("decoder", deep_supervision=False, memory_levels=(-4, -1))
    with pytest.raises(ValueError, match=r"maps with \[16, 4\] channels.*\[16, 16, 8, 4\]"):
        imported(original(network), network)


# ---------------------------------------------------------------- files


def test_checkpoints_that_can_be_read(tmp_path):
    weights = {"a.weight": torch.arange(3.0), "b": torch.ones(2, 2)}
    records = {"epoch": 3, "plot_stuff": [[np.float64(0.5)], np.float32(1), np.int64(4)], "amp_grad_scaler": None}
    torch.save({"state_dict": weights, **records}, tmp_path / "original.model")
    torch.save({"model": weights}, tmp_path / "wrapped.pt")
    torch.save(weights, tmp_path / "plain.pth")
    save_file(weights, tmp_path / "model.safetensors")
    for file in tmp_path.iterdir():
        found = read_checkpoint(file)
        assert found.keys() == weights.keys()
        assert all(torch.equal(found[key], value) for key, value in weights.items())


class Payload:
    def __reduce__(self):
        return exec, ("raise SystemExit('code ran')",)


def test_files_that_are_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "absent.pt")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    torch.save({"state_dict": {"a": torch.ones(1)}, "extra": Payload()}, tmp_path / "code.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "code.pt").read_bytes()[:300])
    for name in ("text.pt", "cut.safetensors", "code.pt", "cut.pt"):
        with pytest.raises(ValueError, match=f"{name}: expected a checkpoint of torch.save .* or is no checkpoint$"):
            read_checkpoint(tmp_path / name)
    torch.save({"epoch": 3}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"expected a state dict .* found keys epoch"):
        read_checkpoint(tmp_path / "other.pt")
    torch.save([torch.ones(1)], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="found list"):
        read_checkpoint(tmp_path / "list.pt")


# ---------------------------------------------------------------- ViT in Google's layout


def google_arrays(depth=2, width=12, heads=2, mlp=20, side=4, rows=1):
    rng = np.random.default_rng(0)
    per_head = width // heads
    shapes = {"encoder_norm/scale": (width,), "encoder_norm/bias": (width,)}
    for i in range(depth):
        block = f"encoderblock_{i}"
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            shapes |= {f"{block}/{norm}/scale": (width,), f"{block}/{norm}/bias": (width,)}
        for part in ("query", "key", "value"):
            name = f"{block}/MultiHeadDotProductAttention_1/{part}"
            shapes |= {f"{name}/kernel": (width, heads, per_head), f"{name}/bias": (heads, per_head)}
        name = f"{block}/MultiHeadDotProductAttention_1/out"
        shapes |= {f"{name}/kernel": (heads, per_head, width), f"{name}/bias": (width,)}
        for index, (before, after) in enumerate(((width, mlp), (mlp, width))):
            name = f"{block}/MlpBlock_3/Dense_{index}"
            shapes |= {f"{name}/kernel": (before, after), f"{name}/bias": (after,)}
    shapes["posembed_input/pos_embedding"] = (1, rows + side * side, width)
    arrays = {f"Transformer/{name}": rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return arrays | {
        "head/kernel": rng.normal(size=(width, 3)),
        "embedding/kernel": rng.normal(size=(16, 16, 3, width)),
    }


def test_vit_weights_in_googles_layout(small, tmp_path):
    arrays = google_arrays(depth=3)
    np.savez(tmp_path / "vit.npz", **arrays)
    network = small("encoder", patch=(16, 16, 24))
    embed = network.vit.embed.weight.clone()
    load_vit_npz(network, tmp_path / "vit.npz")
    assert torch.equal(network.vit.embed.weight, embed)

    tokens = np.random.default_rng(1).normal(size=(5, 12)).astype(np.float32)
    for index, block in enumerate(network.vit.blocks):
        part = {
            name.rsplit(f"encoderblock_{index}/")[-1]: value
            for name, value in arrays.items()
            if f"block_{index}/" in name
        }
        attention = "MultiHeadDotProductAttention_1"
        q, k, v = (
            np.einsum("ne,ehd->hnd", tokens, part[f"{attention}/{name}/kernel"])
            + part[f"{attention}/{name}/bias"][:, None]
            for name in ("query", "key", "value")
        )
        weights = np.exp(q @ k.transpose(0, 2, 1) / 6**0.5)
        weights /= weights.sum(-1, keepdims=True)
        attended = (
            np.einsum("hnd,hde->ne", weights @ v, part[f"{attention}/out/kernel"]) + part[f"{attention}/out/bias"]
        )
        ours = block.attention(*[torch.from_numpy(tokens)[None]] * 3)[0]
        np.testing.assert_allclose(ours.detach().numpy(), attended, atol=1e-3, rtol=1e-3)
        hidden = tokens @ part["MlpBlock_3/Dense_0/kernel"] + part["MlpBlock_3/Dense_0/bias"]
        np.testing.assert_allclose(block.mlp_in(torch.from_numpy(tokens)).detach().numpy(), hidden, atol=1e-4)
        back = hidden @ part["MlpBlock_3/Dense_1/kernel"] + part["MlpBlock_3/Dense_1/bias"]
        np.testing.assert_allclose(block.mlp_out(torch.from_numpy(hidden)).detach().numpy(), back, atol=1e-3)
        assert np.array_equal(block.attention_norm.weight.detach().numpy(), part["LayerNorm_0/scale"])
        assert np.array_equal(block.mlp_norm.bias.detach().numpy(), part["LayerNorm_2/bias"])
    assert np.array_equal(network.vit.norm.weight.detach().numpy(), arrays["Transformer/encoder_norm/scale"])


@pytest.mark.parametrize("rows", [0, 1])
def test_position_embedding_of_an_image_is_repeated_along_z(small, tmp_path, rows):
    """4 x 4 image tokens on a 2 x 2 x 3 bottleneck: each is the mean of a 2 x 2 block, the class token is gone."""
    arrays = google_arrays(rows=rows)
    np.savez(tmp_path / "vit.npz", **arrays)
    network = small("encoder", patch=(16, 16, 24))
    load_vit_npz(network, tmp_path / "vit.npz")
    image = arrays["Transformer/posembed_input/pos_embedding"][0, rows:].reshape(2, 2, 2, 2, 12).mean((1, 3))
    for z in range(3):
        np.testing.assert_allclose(network.vit.position[0, ..., z].permute(1, 2, 0).detach().numpy(), image, atol=1e-6)


def test_build_loads_pretrained_weights(tmp_path):
    arrays = google_arrays(depth=1)
    np.savez(tmp_path / "vit.npz", **arrays)
    chosen = Model(
        mode="encoder", strides=((2, 2, 2),), features=4, vit_depth=1, vit_width=12, vit_mlp=20, vit_heads=2,
        vit_pretrained=str(tmp_path / "vit.npz"),
    )  # fmt: skip
    network = models.build(chosen, in_channels=1, target=Target(), patch=(8, 8, 8))
    assert np.array_equal(network.vit.norm.bias.detach().numpy(), arrays["Transformer/encoder_norm/bias"])
    assert settings(network)["vit_pretrained"] is None


def test_vit_files_that_do_not_fit(small, tmp_path):
    network = small("encoder")
    with pytest.raises(FileNotFoundError, match=r"absent\.npz: no such file"):
        load_vit_npz(network, tmp_path / "absent.npz")
    np.savez(tmp_path / "vit.npz", **google_arrays(depth=1))
    with pytest.raises(ValueError, match=r"of the 35 arrays for 2 blocks are missing \(Transformer/encoderblock_1/"):
        load_vit_npz(network, tmp_path / "vit.npz")
    with pytest.raises(ValueError, match=r"no ViT .mode decoder"):
        load_vit_npz(small("decoder"), tmp_path / "vit.npz")
    np.savez(tmp_path / "wide.npz", **google_arrays(width=24))
    with pytest.raises(ValueError, match=r"wide\.npz: sizes differ from vit_width or vit_mlp.*the network needs"):
        load_vit_npz(network, tmp_path / "wide.npz")
    odd = google_arrays() | {"Transformer/posembed_input/pos_embedding": np.zeros((1, 19, 12), np.float32)}
    np.savez(tmp_path / "odd.npz", **odd)
    with pytest.raises(ValueError, match="position embedding of 19 tokens"):
        load_vit_npz(network, tmp_path / "odd.npz")
    (tmp_path / "text.npz").write_text("hello")
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name in ("text.npz", "array.npy"):
        with pytest.raises(ValueError, match=f"{name}: expected an .npz archive"):
            load_vit_npz(network, tmp_path / name)
