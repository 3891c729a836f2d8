"""Dropout from keys: what is dropped, on what it depends, and that every layer of a network drops something else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mets3d.models.blocks import Dropout
from mets3d.models.transunet import TransUNet
from tests.builders.warm import python

KEYS = torch.tensor([5, 6, 2**61])


def test_kept_values_are_scaled_so_that_the_mean_stays() -> None:
    values = torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(0)) + 1
    dropped = Dropout(0.2)(values, KEYS)
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], values[kept] / 0.8)
    assert 0.78 < kept.float().mean() < 0.82


def test_whole_channels_are_dropped_where_that_is_asked_for() -> None:
    dropped = Dropout(0.5, channels=True)(torch.ones(3, 64, 2, 3, 4), KEYS).flatten(2)
    assert ((dropped == 0).all(-1) | (dropped == 2).all(-1)).all()
    assert 0.3 < (dropped[..., 0] == 0).float().mean() < 0.7


@pytest.mark.parametrize("channels", [False, True])
def test_the_mask_of_a_sample_does_not_depend_on_its_batch_or_on_torchs_generator(channels: bool) -> None:
    layer, values = Dropout(0.5, channels=channels), torch.ones(3, 100, 2, 2, 2)
    whole = layer(values, KEYS)
    for sample in range(3):
        assert torch.equal(layer(values[:1], KEYS[sample : sample + 1])[0], whole[sample])
    torch.manual_seed(1)
    assert torch.equal(layer(values, KEYS), whole)


def test_without_keys_torchs_generator_decides() -> None:
    layer, values = Dropout(0.5), torch.ones(2, 1000)
    torch.manual_seed(0)
    one, two = layer(values), layer(values)
    assert not torch.equal(one, two)
    assert not torch.equal(one[0], one[1])
    torch.manual_seed(0)
    assert torch.equal(layer(values), one)


def test_nothing_happens_in_evaluation_or_with_probability_0() -> None:
    values = torch.rand(2, 10)
    assert Dropout(0.0)(values, KEYS[:2]) is values
    assert Dropout(0.5).eval()(values, KEYS[:2]) is values


def test_the_gradient_is_that_of_a_product_with_the_mask() -> None:
    values = torch.rand(3, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: Dropout(0.4)(x, KEYS), (values,))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_type_of_the_values_stays(dtype: torch.dtype) -> None:
    assert Dropout(0.5)(torch.ones(1, 9, dtype=dtype), KEYS[:1]).dtype == dtype


def made(**arguments: float) -> TransUNet:
    torch.manual_seed(0)
    return TransUNet(
        "both", patch=(16, 16, 16), strides=((2, 2, 2),) * 2, features=4, vit_depth=2, vit_width=12, vit_mlp=12,
        vit_heads=2, queries=4, width=12, decoder_layers=1, decoder_heads=2, **arguments,  # type: ignore[arg-type]
    )  # fmt: skip


def test_every_layer_has_a_stream_of_its_own_that_follows_from_its_name() -> None:
    streams = [{name: m.stream for name, m in made().named_modules() if isinstance(m, Dropout)} for _ in range(2)]
    assert streams[0] == streams[1]
    assert len(set(streams[0].values())) == len(streams[0]) == 10 + 5


def masks_of(network: TransUNet, keys: Tensor) -> dict[str, Tensor]:
    """Which values each dropout layer keeps in a forward pass of an image for each key."""
    masks = {}

    def note(name: str, inputs: tuple[Tensor, Tensor], result: Tensor) -> None:
        masks[name] = (result != 0) | (inputs[0] == 0)

    handles = [
        module.register_forward_hook(lambda _, inputs, result, name=name: note(name, inputs, result))
        for name, module in network.named_modules()
        if isinstance(module, Dropout)
    ]
    network(torch.randn(len(keys), 4, 16, 16, 16, generator=torch.Generator().manual_seed(1)), keys)
    for handle in handles:
        handle.remove()
    return masks


def test_a_forward_pass_repeats_with_its_keys_in_every_layer() -> None:
    network = made(dropout=0.5, vit_dropout=0.5)
    one, again, other = masks_of(network, KEYS), masks_of(network, KEYS), masks_of(network, KEYS + 1)
    alone = masks_of(network, KEYS[2:])
    for name, mask in one.items():
        assert torch.equal(mask, again[name])
        assert torch.equal(mask[2], alone[name][0])
        assert not torch.equal(mask, other[name])
    same_shape = [mask for name, mask in one.items() if name.startswith("vit.blocks")]
    assert len(same_shape) == 4
    assert all(not torch.equal(a, b) for i, a in enumerate(same_shape) for b in same_shape[:i])


COMPILED = """
import torch
from mets3d.models.blocks import Dropout
layer, values, keys = Dropout(0.3), torch.rand(3, 40, 50), torch.tensor([5, 6, 2**61])
assert torch.equal(torch.compile(layer, fullgraph=True)(values, keys), layer(values, keys))
"""


@pytest.mark.slow
def test_the_compiled_layer_drops_the_same(tmp_path: Path) -> None:
    # In a process of its own: the compiler cannot read the checks of types and shapes that tests put around functions.
    script = tmp_path / "script.py"
    script.write_text(COMPILED, encoding="utf-8")
    done = python(str(script))
    assert done.returncode == 0, done.stderr
