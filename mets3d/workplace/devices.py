"""Looks for GPUs, and at what computes distances on them and on the CPU."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

GB = 1e9
DRIVER = Path("/proc/driver/nvidia/version")


def torch_build() -> dict[str, Any]:
    """Returns which torch there is, and for what it was built."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return {"torch": f"cannot be imported: {error}"}
    built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for CPUs"
    return {
        "torch": f"{torch.__version__}, built {built}",
        "Triton": _triton(),
        "processor": torch.backends.cpu.get_cpu_capability(),
    }


def _triton() -> str:
    try:
        return version("triton")
    except PackageNotFoundError:
        return "none"


def gpus(findings: list[str]) -> dict[str, Any]:
    """Returns the GPUs that torch sees; notes a GPU that it does not see."""
    try:
        import torch
    except (ImportError, OSError) as error:
        findings.append(f"torch cannot be imported ({error}): install it anew, see the README")
        return {}
    with warnings.catch_warnings(record=True) as told:  # a driver that is too old is a warning
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found = {f"GPU {index}": _gpu(index, findings) for index in range(count)}
    if torch.backends.mps.is_available():
        found["GPU"] = "Apple's, by MPS"
    if count == 0 and _has_driver():
        why = str(told[0].message).splitlines()[0] if told else "torch sees none"
        if not torch.version.cuda:
            why = "torch is a build for CPUs; install the CUDA build of the same version"
        findings.append(f"there is an NVIDIA driver, but no GPU can be used: {why}")
    elif count == 0 and torch.version.cuda:
        findings.append(
            "torch is a CUDA build and sees no GPU: in a container start it with --gpus all (needs the NVIDIA "
            "Container Toolkit on the host), else look at nvidia-smi"
        )
    return found or {"GPUs": "none"}


def _gpu(index: int, findings: list[str]) -> str:
    import torch

    try:
        properties = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
    except RuntimeError as error:  # a device that is lost, or in a mode that lets nobody in
        findings.append(f"GPU {index} cannot be used: {str(error).splitlines()[0]}; look at nvidia-smi")
        return "cannot be used"
    half = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16, no bf16"
    return (
        f"{properties.name}, {total / GB:.1f} GB, {free / GB:.1f} GB of it free, capability "
        f"{properties.major}.{properties.minor}, {half}"
    )


def _has_driver() -> bool:
    return DRIVER.exists() or shutil.which("nvidia-smi") is not None


def distances(findings: list[str], devices: Sequence[str] = ("cpu", "cuda")) -> dict[str, Any]:
    """Returns what computes distance transforms on each kind of device; each is tried."""
    try:
        import torch

        from mets3d.ops.distance import backend_for_device
    except (ImportError, OSError):
        return {}
    found = {}
    for device in devices:
        if device == "cuda" and not torch.cuda.is_available():
            continue
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            backend = backend_for_device(device)
        found[device] = backend.__module__.rpartition("distance_")[2]
        findings += [str(each.message) for each in told if "distances" in str(each.message)]
    return found
