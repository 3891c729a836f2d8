"""Measures memory in bytes: what a device, or the host for its CPU, has left and what this process has taken of it."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import torch

from mets3d.free_memory import free_memory

PEAK_TO_NOW = "5"  # to /proc/self/clear_refs, see proc(5): the peak of the resident memory begins anew


def available(device: torch.device) -> float:
    """Returns what this process may have in all: what it has and what is free, within a container's limit."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device))
    return free_memory() + in_use(device)


def in_use(device: torch.device) -> float:
    """Returns what this process has now."""
    if device.type == "cuda":
        return float(torch.cuda.memory_allocated(device))
    return float(psutil.Process().memory_info().rss)


def forget_peak(device: torch.device) -> None:
    """Begins the measurement of a peak. Where the system cannot, it is that of the whole process so far."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text(PEAK_TO_NOW, encoding="ascii")


def peak(device: torch.device) -> float:
    """Returns the largest number of bytes in use since `forget_peak`."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(largest * (1 if sys.platform == "darwin" else 1024))
