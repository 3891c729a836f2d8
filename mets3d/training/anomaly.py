"""Finds the first layer of a failed step whose output or gradient is not finite, by a second look at its batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from mets3d.data.loader import Batch
from mets3d.losses.value import LossValue
from mets3d.training.session import Session
from mets3d.training.step import loss_of, prepared


def first_bad_layer(session: Session, step: int, micro_batches: Sequence[Batch]) -> str:
    """Repeats a step that was skipped and says for each process which layer was the first. All ranks call it.

    The step has changed no weight and what it drew follows from keys, so the second look sees the same numbers.
    """
    own = _look(session, step, micro_batches)
    found = [f"rank {rank}: {text}" for rank, text in enumerate(gather_object([own])) if text is not None]
    where = "; ".join(found) or "nothing: the second look found all numbers finite"
    return f"step {step + 1} was not finite (train.debug_non_finite). First not finite: {where}"


def _look(session: Session, step: int, micro_batches: Sequence[Batch]) -> str | None:
    """Returns what was the first in this process, None if all was finite."""
    accelerator = session.accelerator
    network = accelerator.unwrap_model(session.network, keep_torch_compile=False)
    network.zero_grad(set_to_none=True)
    first: str | None = None
    parts, context = prepared(session, step, micro_batches)
    for batch, inputs in zip(micro_batches, parts, strict=True):
        with accelerator.no_sync(session.network), _watching(network) as seen:
            with accelerator.autocast():
                value = loss_of(session, network, inputs, context)
            accelerator.backward(value.total / len(parts))
        image = [] if _finite(inputs[0]) else ["the image"]
        what = [*image, *seen.outputs, *_bad_parts(value), *seen.gradients, *_bad_parameters(network)]
        if first is None and what:
            first = f"{what[0]} ({', '.join(batch.cases)})"
    network.zero_grad(set_to_none=True)
    return first


@dataclass
class _Seen:
    """What was not finite, in the order of the computation."""

    outputs: list[str] = field(default_factory=list)
    gradients: list[str] = field(default_factory=list)


@contextmanager
def _watching(network: nn.Module) -> Iterator[_Seen]:
    """Notes every module whose output, or gradient of the output, is not finite. The host waits for each."""
    seen = _Seen()

    def note(name: str, module: nn.Module, inputs: Any, result: Any) -> None:
        kind = type(module).__name__
        for tensor in _tensors(result):
            if not _finite(tensor):
                origin = "" if all(map(_finite, _tensors(inputs))) else ", from inputs that are not finite"
                seen.outputs.append(f"the output of {name} ({kind}){origin}")
            if tensor.requires_grad:
                tensor.register_hook(partial(note_gradient, name, kind))

    def note_gradient(name: str, kind: str, gradient: Tensor) -> None:
        if not _finite(gradient):
            seen.gradients.append(f"the gradient at the output of {name} ({kind})")

    with ExitStack() as stack:
        for name, module in network.named_modules():
            shown = name or "the network"
            handle = module.register_forward_hook(
                lambda module, inputs, result, shown=shown: note(shown, module, inputs, result)
            )
            stack.callback(handle.remove)
        yield seen


def _bad_parts(value: LossValue) -> list[str]:
    return [f"the number {name} of the loss" for name, number in value.named().items() if not _finite(number)]


def _bad_parameters(network: nn.Module) -> list[str]:
    return [
        f"the gradient of the parameter {name}"
        for name, parameter in network.named_parameters()
        if parameter.grad is not None and not _finite(parameter.grad)
    ]


def _tensors(result: Any) -> Iterator[Tensor]:
    """Yields the floating-point tensors of an output of any form."""
    if isinstance(result, Tensor):
        if result.is_floating_point():
            yield result
    elif isinstance(result, (tuple, list)):
        for part in result:
            yield from _tensors(part)
    elif is_dataclass(result) and not isinstance(result, type):
        for entry in fields(result):
            yield from _tensors(getattr(result, entry.name))


def _finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())
