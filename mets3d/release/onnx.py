"""Exports the network as an ONNX file, and compares it with PyTorch before anyone can use it."""

from __future__ import annotations

import copy
import importlib.util
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from mets3d.data.cases import SEQUENCES
from mets3d.phantoms.synth import phantom
from mets3d.release.tensor_network import TensorNetwork, z_score

if TYPE_CHECKING:
    from mets3d.inference.members import Member

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
TOLERANCE = 1e-4  # of a probability
INPUT, OUTPUT = "image", "probabilities"
PHANTOM_SHAPE, PHANTOM_SPACING_MM = (64, 64, 64), (3.0, 3.0, 3.0)


def check_packages() -> None:
    """Raises ValueError naming what is not installed and the command for it."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"--onnx needs {', '.join(PACKAGES)}; not installed: {', '.join(missing)}; "
            "run `pip install 'mets3d[onnx]'`, or leave out --onnx"
        )


def write_onnx(member: Member, file: Path) -> float:
    """Writes the member's network for windows [1, C, *patch] and returns its largest deviation from PyTorch.

    Input `image`, prepared as the plan says; output `probabilities` [1, R, *patch], both fp32, for this patch alone.
    The file says in its metadata what the channels are. Compared through onnxruntime on the CPU, on windows of zeros,
    noise and a phantom.

    Raises ValueError if the exporter cannot take the network, or a probability differs by more than `TOLERANCE`.
    """
    network = TensorNetwork(member.network, member.config.predict.query_classes).eval()
    exported = _with_nested_norms(network)
    windows = list(_windows(len(member.plan.sequences), member.config.data.patch))
    mode = member.config.model.mode
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                exported, (windows[-1],), input_names=[INPUT], output_names=[OUTPUT], dynamo=True, verbose=False
            )
        assert program is not None
        _describe(program.model, member)
        program.save(str(file))
        deviation = _deviation(network, file, windows)
    except Exception as error:  # of the exporter or of onnxruntime: either way there is no ONNX file
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"model.mode {mode} cannot be exported to ONNX by torch {torch.__version__}: {reason}; leave out --onnx"
        ) from error
    if not deviation <= TOLERANCE:
        raise ValueError(
            f"model.mode {mode}: ONNX and PyTorch differ by {deviation:.2g} in a probability, expected at most "
            f"{TOLERANCE:g}; nothing is written, leave out --onnx"
        )
    return deviation


class NestedNorm(nn.Module):
    """InstanceNorm or GroupNorm for ONNX: takes the mean axis by axis, and subtracts the mean of the rest once more.

    InstanceNorm has as many groups as channels.

    onnxruntime 1.32 adds a volume up in one row of fp32 numbers. Over 92 160 voxels the mean is then off by some 1e-5
    of itself, which a channel that is nearly constant, as outside the brain, magnifies by 1 / sqrt(eps) = 316:
    probabilities were off by 0.007 (the quickstart's network on zeros). This way they are as near to fp64 as PyTorch's.
    """

    def __init__(self, norm: nn.InstanceNorm3d | nn.GroupNorm):
        super().__init__()
        self.groups = norm.num_groups if isinstance(norm, nn.GroupNorm) else norm.num_features
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, features: Float[Tensor, "B C X Y Z"]) -> Float[Tensor, "B C X Y Z"]:
        grouped = features.reshape(len(features), self.groups, -1, *features.shape[2:])
        away = grouped - _mean(grouped)
        away = away - _mean(away)
        normal: Tensor = (away / (_mean(away * away) + self.eps).sqrt()).flatten(1, 2)
        return normal * self.weight[:, None, None, None] + self.bias[:, None, None, None]


def _mean(grouped: Float[Tensor, "B G D X Y Z"]) -> Float[Tensor, "B G 1 1 1 1"]:
    for axis in (5, 4, 3, 2):
        grouped = grouped.mean(axis, keepdim=True)
    return grouped


def _with_nested_norms(network: TensorNetwork) -> TensorNetwork:
    """Returns a copy with every norm over voxels replaced."""
    changed: TensorNetwork = copy.deepcopy(network)
    for module in list(changed.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.InstanceNorm3d | nn.GroupNorm):
                setattr(module, name, NestedNorm(child))
    return changed


def _describe(model: Any, member: Member) -> None:
    """Writes down what the channels are, and removes where the exporter's source files lay."""
    for graph in (model.graph, *model.functions.values()):
        for node in graph.all_nodes():
            node.metadata_props.clear()
            for value in node.outputs:
                value.metadata_props.clear()
        for value in (*graph.inputs, *getattr(graph, "initializers", {}).values()):
            value.metadata_props.clear()
        graph.metadata_props.clear()
    model.metadata_props.clear()
    model.metadata_props.update(
        {
            "sequences": " ".join(member.plan.sequences),
            "channels": " ".join(member.target.names),
            "spacing_mm": member.plan.spacing_words,
            "intensities": f"{member.plan.normalisation}; axes X Y Z in RAS+",
            "weights_sha256": member.weights_sha256,
        }
    )


# ---------------------------------------------------------------- compared with PyTorch


def _deviation(network: TensorNetwork, file: Path, windows: Sequence[Float32[Tensor, "1 C X Y Z"]]) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    largest = 0.0
    with torch.inference_mode():
        for window in windows:
            expected = network(window).numpy()
            found = session.run([OUTPUT], {INPUT: window.numpy()})[0]
            largest = max(largest, float(np.abs(found - expected).max()))
    return largest


def _windows(channels: int, patch: Sequence[int]) -> Iterator[Float32[Tensor, "1 C X Y Z"]]:
    """Yields zeros, two of noise, and the middle and a corner of a phantom's brain, padded with 0."""
    yield torch.zeros(1, channels, *patch)
    generator = torch.Generator().manual_seed(0)
    for scale in (1.0, 3.0):
        yield scale * torch.randn(1, channels, *patch, generator=generator)
    images = phantom(0, 0, PHANTOM_SHAPE, PHANTOM_SPACING_MM).images
    brain = z_score(torch.from_numpy(np.stack([images[name] for name in SEQUENCES]).astype(np.float32)))
    order = [channel % len(SEQUENCES) for channel in range(channels)]  # any images will do
    for share in (0.25, 0.5):
        starts = [int(share * max(0, size - side)) for size, side in zip(PHANTOM_SHAPE, patch, strict=True)]
        x, y, z = (slice(start, start + side) for start, side in zip(starts, patch, strict=True))
        part = brain[order, x, y, z]
        window = torch.zeros(1, channels, *patch)
        window[0, :, : part.shape[1], : part.shape[2], : part.shape[3]] = part
        yield window


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporter's remarks on its own future and on packages that it does not need."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
