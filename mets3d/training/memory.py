"""Recognises errors of exhausted memory, says what lowers the need, and measures it. No heavy imports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

# How PyTorch's allocators and libraries say it where their error is a bare RuntimeError.
SIGNS = ("can't allocate memory", "out of memory", "not enough memory", "_STATUS_ALLOC_FAILED")


class NoMemoryError(RuntimeError):
    """A step for which memory ran out; its message is for the user. No weight was changed."""


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def out_of_memory_message(error: BaseException) -> str:
    """Returns what happened and what to lower, the cheapest first."""
    lines = str(error).strip().splitlines()
    whose = "the device's memory" if type(error).__name__ == "OutOfMemoryError" else "memory"
    found = f" ({lines[0].partition('. ')[0].rstrip('.')})" if lines else ""
    return (
        f"{whose} ran out{found}. The last checkpoint is whole, and the same command goes on from it. What lowers the "
        "need, and changes no result: train.accumulation, for which `mets3d train --find-accumulation` with the same "
        "arguments finds the smallest that fits; train.recompute; fewer data.workers for the host's memory. What "
        "changes the run: precision bf16, a smaller data.patch or model.features, predict.window_batch if it came "
        "in validation, another loss.boundary than hausdorff_erosion"
    )


def memory_gb(device: torch.device) -> float:
    """Returns the memory of this process in 10^9 bytes: on a GPU its tensors' peak since the start, else what it holds.

    Both are read without asking the device: the first from PyTorch's allocator, the second from the system.
    """
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) / 1e9
    return float(psutil.Process().memory_info().rss) / 1e9
