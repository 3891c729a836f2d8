"""What a network takes over from weights of another, what it says, and what it refuses."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from mets3d.files import MissingWeightsError, WrongWeightsError
from mets3d.models.warm_start import read_weights, warm_start
from tests.models.originals.test_transunet import original

SOURCE = Path("run/model.safetensors")


def copied(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(network, state, names):
    return all(torch.equal(network.state_dict()[name], state[name]) for name in names)


@pytest.mark.parametrize("mode", ["cnn", "encoder", "decoder", "both"])
def test_the_same_network_is_taken_whole(small, mode):
    theirs, ours = copied(small(mode, seed=1)), small(mode, seed=2)
    matched = warm_start(ours, theirs, SOURCE)
    assert same(ours, theirs, theirs)
    assert set(matched.taken) == set(theirs)
    assert not [*matched.fresh, *matched.unused, *matched.zero, *matched.resampled]
    assert matched.line(SOURCE, ours) == (
        f"weights of {SOURCE}: {len(theirs)} of {len(theirs)} tensors, 100.0% of the numbers"
    )


def test_heads_for_other_classes_stay_as_initialised(small):
    theirs, ours = copied(small("cnn", seed=1)), small("cnn", seed=2, channels=4)
    before = copied(ours)
    matched = warm_start(ours, theirs, SOURCE)
    heads = [name for name in before if "head" in name]
    assert heads
    assert same(ours, before, heads)
    assert same(ours, theirs, [name for name in before if name not in heads])
    assert set(matched.fresh) == set(heads)
    numbers = sum(value.numel() for value in before.values())
    taken = numbers - sum(before[name].numel() for name in heads)
    line = matched.line(SOURCE, ours)
    assert f"{taken / numbers:.1%} of the numbers" in line
    assert "as initialised: head (" in line
    assert "not used: head (" in line


def test_a_new_query_decoder_stays_as_initialised(small):
    theirs, ours = copied(small("cnn", seed=1)), small("decoder", seed=2)
    before = copied(ours)
    matched = warm_start(ours, theirs, SOURCE)
    assert same(ours, before, [name for name in before if name.startswith("query_decoder.")])
    assert same(ours, theirs, [name for name in before if name.startswith(("encoder.", "decoder."))])
    assert all(name.startswith("head.") for name in matched.unused)


def test_a_hundred_percent_is_said_of_all_alone(small):
    theirs, ours = copied(small("cnn", seed=1)), small("cnn", seed=2)
    least = min((name for name in theirs if "head" in name), key=lambda name: theirs[name].numel())
    assert theirs.pop(least).numel() < 0.0005 * sum(value.numel() for value in ours.state_dict().values())
    assert f"{len(theirs)} of {len(theirs) + 1} tensors, 99.9% of the numbers" in warm_start(ours, theirs, SOURCE).line(
        SOURCE, ours
    )


def test_a_bias_that_the_weights_lack_is_zero(small):
    theirs, ours = copied(small("cnn", seed=1)), small("cnn", seed=2, head_bias=0.01)
    biases = {name for name in ours.state_dict() if "head" in name and name.endswith(".bias")}
    assert biases
    assert all(ours.state_dict()[name].any() for name in biases)
    matched = warm_start(ours, theirs, SOURCE)
    assert set(matched.zero) == biases
    assert not any(ours.state_dict()[name].any() for name in biases)
    assert same(ours, theirs, theirs)
    assert "without a bias there, so 0: head (1), deep_heads (1)" in matched.line(SOURCE, ours)


def test_a_position_embedding_is_resampled_to_another_patch(small):
    donor, ours = small("encoder", seed=1), small("encoder", seed=2, patch=(32, 16, 16))
    torch.nn.init.normal_(donor.vit.position)
    matched = warm_start(ours, copied(donor), SOURCE)
    wanted = F.interpolate(donor.vit.position, size=(4, 2, 2), mode="trilinear", align_corners=False)
    assert torch.equal(ours.vit.position, wanted)
    assert list(matched.resampled) == ["vit.position"]


@pytest.mark.parametrize(
    ("different", "named"),
    [({"features": 8}, "encoder.stages.0.0.conv.weight"), ({"in_channels": 3}, "(4, 2, 3, 3, 3) there")],
)
def test_weights_of_another_network_are_one_line_and_change_nothing(small, different, named):
    ours = small("cnn", **different)
    before = copied(ours)
    with pytest.raises(WrongWeightsError) as caught:
        warm_start(ours, copied(small("cnn", seed=1)), SOURCE)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert same(ours, before, before)


def test_weights_without_our_encoder_are_refused(small):
    with pytest.raises(WrongWeightsError, match=r"encoder\.stages\.0\.0\.conv\.weight is not there, .* more"):
        warm_start(small("cnn"), {"layers.0.weight": torch.ones(3)}, SOURCE)


@pytest.mark.parametrize("ending", ["model", "safetensors"])
def test_an_original_checkpoint_is_translated(small, tmp_path, ending):
    network = small("decoder", seed=1, deep_supervision=False)
    file = tmp_path / f"best.{ending}"
    state = {f"module.{name}": value.contiguous() for name, value in original(network).items()}
    if ending == "model":
        torch.save({"state_dict": state, "epoch": 3}, file)
    else:
        save_file({name: value.clone() for name, value in state.items()}, file)
    ours = small("decoder", seed=2, deep_supervision=False)
    matched = warm_start(ours, read_weights(file, ours), file)
    assert same(ours, copied(network), matched.taken)
    assert not matched.fresh


def test_files_that_are_no_weights(small, tmp_path):
    with pytest.raises(MissingWeightsError, match="expected a run directory or a file"):
        read_weights(tmp_path / "absent", small("cnn"))
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(WrongWeightsError, match="truncated"):
        read_weights(tmp_path / "cut.safetensors", small("cnn"))
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ValueError, match="expected a checkpoint"):
        read_weights(tmp_path / "text.pt", small("cnn"))
