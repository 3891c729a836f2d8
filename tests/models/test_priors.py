"""What a network says before it has learned anything: the bias of the CNN's heads and of the queries' class head."""

import pytest
import torch
from safetensors.torch import save_file

from mets3d import models
from mets3d.config import Config, Model
from mets3d.files import WrongWeightsError
from mets3d.models.originals.transunet import settings
from mets3d.models.transunet import TransUNet
from mets3d.models.weights import load_weights
from mets3d.regions import Target

MODES = ["cnn", "encoder", "decoder", "both"]
CHANNELS = {"sigmoid": 3, "softmax": 5}


def heads_of(network: TransUNet) -> list[torch.nn.Conv3d]:
    return [head for head in (network.head, *network.deep_heads) if head is not None]


@pytest.mark.parametrize("activation", CHANNELS)
@pytest.mark.parametrize("mode", MODES)
def test_heads_start_from_their_prior(small, image, mode, activation):
    network = small(mode, activation=activation, channels=CHANNELS[activation], head_bias=0.02)
    heads = heads_of(network)
    assert len(heads) == (1 if network.has_queries else 2)
    for head in heads:
        torch.nn.init.zeros_(head.weight)
    output = network(image)
    for logits in (*output.deep, *([] if output.logits is None else [output.logits])):
        found = logits.sigmoid() if activation == "sigmoid" else logits.softmax(1)
        expected = torch.full((CHANNELS[activation],), 0.02)
        if activation == "softmax":
            expected[0] = 1 - 4 * 0.02
        torch.testing.assert_close(found, expected[:, None, None, None].expand_as(found))


@pytest.mark.parametrize("mode", MODES)
def test_a_prior_changes_no_other_number(small, mode):
    plain = small(mode)
    for arguments in ({"head_bias": 0.01}, {"no_object_prior": 0.8}):
        weights = small(mode, **arguments).state_dict()
        for name, value in plain.state_dict().items():
            if not name.startswith("query_decoder.class_head."):
                assert torch.equal(value, weights[name])
        added = set(weights) - set(plain.state_dict())
        assert all(name.endswith(".bias") and "head" in name for name in added)
        assert bool(added) is ("head_bias" in arguments)


@pytest.mark.parametrize("mode", MODES)
def test_the_bias_is_learned_but_not_beside_queries_at_full_resolution(small, image, mode):
    network = small(mode, head_bias=0.01, frozen_cnn_head=True)
    output = network(image)
    total = sum(logits.mean() for logits in output.deep)
    assert output.logits is not None
    (total + (0 if network.has_queries else output.logits.mean())).backward()
    assert network.head is not None
    assert network.head.bias is not None
    assert (network.head.bias.grad is None) is network.has_queries
    assert all(head.bias.grad is not None for head in network.deep_heads)


@pytest.mark.parametrize(("prior", "activation"), [(0.0, "sigmoid"), (1.0, "sigmoid"), (0.25, "softmax")])
def test_a_prior_that_is_no_probability_is_refused(small, prior, activation):
    with pytest.raises(ValueError, match=rf"head_bias is {prior}; expected a probability above 0 and below"):
        small("cnn", head_bias=prior, activation=activation, channels=CHANNELS[activation])


def test_a_prior_that_leaves_the_background_nothing_is_refused_by_the_settings():
    Config(data={"target": "labels"}, model={"head_bias": 0.33})
    Config(data={"target": "regions", "cavity": True}, model={"head_bias": 0.9})
    with pytest.raises(ValueError, match=r"model\.head_bias is 0\.34, of each of 3 labels; expected less than 1/3"):
        Config(data={"target": "labels"}, model={"head_bias": 0.34})
    with pytest.raises(ValueError, match="of each of 4 labels"):
        Config(data={"target": "labels", "cavity": True}, model={"head_bias": 0.25})


@pytest.mark.parametrize("cavity", [False, True])
def test_the_settings_reach_the_network(cavity):
    chosen = Model(
        mode="decoder", strides=((2, 2, 2),) * 3, features=4, max_features=8, width=12, decoder_heads=2,
        no_object_prior=0.85,
    )  # fmt: skip
    network = models.build(chosen, in_channels=1, target=Target("regions", cavity), patch=(16, 16, 16))
    (head,) = network.deep_heads
    torch.testing.assert_close(head.bias.sigmoid(), torch.full((4 if cavity else 3,), 0.01))
    prior = network.query_decoder.class_head.bias.softmax(0)
    assert prior[-1].item() == pytest.approx(0.85)
    assert prior[:-1].tolist() == pytest.approx([0.15 / len(prior[:-1])] * len(prior[:-1]))
    plain = models.build(
        chosen.model_copy(update={"head_bias": None}), in_channels=1, target=Target(), patch=(16, 16, 16)
    )
    assert all(head.bias is None for head in plain.deep_heads)


@pytest.mark.parametrize("mode", ["decoder", "both"])
def test_queries_start_at_their_prior(small, image, mode):
    """Each query's probability is near the prior; without one a class is as likely as any other."""
    network = small(mode, width=96, decoder_heads=2, queries=40, no_object_prior=0.9)
    for prediction in network(image).queries:
        found = prediction.class_logits.softmax(-1)[..., -1]
        torch.testing.assert_close(found, torch.full_like(found, 0.9), rtol=0, atol=0.03)
        assert found.std() > 0, "queries differ"
    plain = small(mode, width=96, decoder_heads=2, queries=40)
    for prediction in plain(image).queries:
        assert prediction.class_logits.softmax(-1)[..., -1].mean() < 0.5
    with pytest.raises(ValueError, match=r"no_object_prior is 1\.0; expected a probability"):
        small(mode, no_object_prior=1.0)


@pytest.mark.parametrize("mode", ["cnn", "both"])
def test_weights_without_bias_are_refused_in_one_line_that_says_what_to_set(small, tmp_path, mode):
    file = tmp_path / "model.safetensors"
    old = small(mode)
    save_file(old.state_dict(), file)
    assert settings(old)["head_bias"] is None
    with pytest.raises(WrongWeightsError, match=r"without bias.*set model\.head_bias to null") as refusal:
        load_weights(small(mode, head_bias=0.01), file)
    assert "\n" not in str(refusal.value)
    load_weights(small(mode, seed=1), file)
    with pytest.raises(WrongWeightsError, match="holds the weights of another network"):
        load_weights(small(mode, head_bias=0.01, queries=7, features=8), file)
