"""Shares this machine among the runs of a sweep: one GPU each, or a part of the cores."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mets3d.processes import cores

FOR_ONE_GPU = (None, "single_gpu")  # launch files under which a run takes one GPU; others take what they see


@dataclass(frozen=True)
class Machine:
    """What the runs share: how many run at once, and the GPUs by the names that CUDA_VISIBLE_DEVICES takes."""

    jobs: int
    gpus: tuple[str, ...]

    def free_gpu(self, taken: Sequence[str]) -> str | None:
        """Returns the GPU with the fewest runs, the first of several; None without GPUs to share."""
        return min(self.gpus, key=taken.count) if self.gpus else None

    def environment(self, gpu: str | None) -> dict[str, str]:
        """Returns the variables of a run on this GPU; on the CPU it gets its part of the cores."""
        if gpu is not None:
            return {"CUDA_VISIBLE_DEVICES": gpu}
        if "OMP_NUM_THREADS" in os.environ:
            return {}
        return {"OMP_NUM_THREADS": str(max(1, cores() // self.jobs))}


def this_machine(jobs: int | None, launch: str | None) -> Machine:
    """Returns this machine for a number of jobs; None: one for each GPU, or one."""
    gpus = visible_gpus(os.environ, _gpu_count()) if launch in FOR_ONE_GPU else ()
    return Machine(jobs or max(1, len(gpus)), gpus)


def visible_gpus(variables: Mapping[str, str], count: int) -> tuple[str, ...]:
    """Returns the GPUs by name: those of CUDA_VISIBLE_DEVICES where it is set, which may be UUIDs, else by number."""
    named = [name.strip() for name in variables.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return tuple(named[:count] if named else map(str, range(count)))


def _gpu_count() -> int:
    if os.environ.get("ACCELERATE_USE_CPU", "false").lower() in ("true", "1", "yes"):
        return 0
    import torch

    return torch.cuda.device_count()
