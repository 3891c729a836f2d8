"""Our network with the original's weights returns what the original returns."""

import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mets3d.losses.matching import start_matching
from mets3d.losses.queries import query_loss
from mets3d.models.originals.transunet import from_original
from mets3d.models.transunet import TransUNet
from mets3d.regions import Target

GOLDEN = Path(__file__).parents[1] / "golden" / "transunet"
VARIANTS = {"decoder_only": "decoder", "encoder_only": "encoder", "encoder_plus_decoder": "both"}


@pytest.fixture(scope="module", params=VARIANTS)
def golden(request):
    """(description, network, its output, the original's output) of one variant."""
    description = json.loads((GOLDEN / f"{request.param}.json").read_text())
    meta = description["meta"]
    weights = {
        key: drawn(zlib.crc32(key.encode()), made["shape"], made["mean"], made["std"])
        for key, made in description["weights"].items()
    }
    network = from_original(weights, patch=meta["patch"]).eval()
    image = drawn(meta["input_seed"], (1, meta["in_channels"], *meta["patch"]))
    with torch.no_grad():
        output = network(image)
    assert network.arguments["mode"] == VARIANTS[request.param]
    return meta, network, output, load_file(GOLDEN / f"{request.param}.safetensors")


def drawn(seed, shape, mean=0.0, std=1.0):
    return torch.from_numpy((mean + std * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32))


def relative(ours, theirs):
    assert ours.shape == theirs.shape
    return float((ours - theirs).norm() / theirs.norm())


def predictions(reference):
    return sum(key.startswith("class_logits") for key in reference)


def test_class_logits(golden):
    _, _, output, reference = golden
    assert len(output.queries) == predictions(reference)
    for index, prediction in enumerate(output.queries):
        torch.testing.assert_close(prediction.class_logits, reference[f"class_logits.{index}"], rtol=0, atol=1e-3)


def test_mask_logits_and_score(golden):
    _, _, output, reference = golden
    for index in range(predictions(reference)):
        ours = output.mask_logits(index)[..., ::8, ::8, ::8]
        assert relative(ours, reference[f"mask_logits.{index}"]) < 1e-3
    if "score" in reference:
        assert relative(output.score[..., ::2, ::2, ::2], reference["score"]) < 1e-3


def test_heads_of_the_cnn(golden):
    _, _, output, reference = golden
    levels = [key for key in reference if key.startswith("deep_supervision")]
    assert len(output.deep) == (4 if levels else 0)
    for level, head in enumerate(output.deep, start=1):
        assert relative(head, reference[f"deep_supervision.{level}"]) < 1e-4
    if "deep_supervision.0" in reference:
        assert relative(output.logits[..., ::2, ::2, ::2], reference["deep_supervision.0"]) < 1e-4


def test_assignment_and_losses(golden):
    meta, _, output, reference = golden
    if not output.queries:
        assert "query_loss" not in reference
        return
    labels = load_file(GOLDEN / "target.safetensors")["target"][None]
    target = torch.stack(Target().masks(labels), dim=1)
    assert target.shape[2:] == tuple(meta["patch"])
    with torch.no_grad():
        assigned = start_matching(output.queries, output.pixels, target.float()).assigned()
        for index, query_of_class in enumerate(assigned):
            pairs = zip(
                reference["matched_query"][index].tolist(), reference["matched_class"][index].tolist(), strict=True
            )
            assert {(query, label) for label, query in enumerate(query_of_class[0].tolist())} == set(pairs)
            alone = replace(output, queries=output.queries[index : index + 1], _mask_logits={})
            assert float(query_loss(alone, target)) == pytest.approx(float(reference["query_loss"][index]), abs=1e-4)
        assert float(query_loss(output, target)) == pytest.approx(float(reference["query_loss_total"]), abs=1e-4)


def test_parameters_of_the_golden_patch(golden):
    meta, network, _, _ = golden
    assert count(network) == meta["params"]


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        ({"mode": "encoder", "deep_heads": 4, "vit_layer_scale": "reference"}, 116_814_368),
        ({"mode": "decoder", "deep_supervision": False}, 34_077_892),
        ({"mode": "both", "deep_heads": 4, "frozen_cnn_head": True, "vit_depth": 1}, 41_711_460),
    ],
)
def test_parameters_at_128(arguments, parameters):
    with torch.device("meta"):
        assert count(TransUNet(**arguments)) == parameters


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())
