"""Refuses the launch files of libraries that would own what the training loop owns. Imports nothing heavy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mets3d.config import Config

# Accelerate's distributed types that the loop does not run under.
FOREIGN = {"DEEPSPEED": "DeepSpeed", "MEGATRON_LM": "Megatron-LM", "XLA": "XLA", "TPU": "XLA", "MULTI_NEURON": "Neuron"}


def is_sharded(environment: Mapping[str, str] = os.environ) -> bool:
    """Returns whether the launch file asks for a network spread over the processes."""
    return _on(environment, "ACCELERATE_USE_FSDP")


def check_file(kind: str, fsdp: Mapping[str, Any]) -> None:
    """Raises ValueError for a launch file of this distributed type and with these settings of FSDP."""
    if kind in FOREIGN:
        raise ValueError(
            f"the launch file asks for {FOREIGN[kind]}, which clips and steps by itself; here the training loop does, "
            "for a step that is not finite is skipped on all processes. Use multi_gpu, or fsdp2 to spread the network"
        )
    if kind == "FSDP" and str(fsdp.get("fsdp_version", 1)) != "2":
        raise ValueError("the launch file asks for FSDP version 1; expected fsdp_version: 2, as in fsdp2")


def check_launch(config: Config, environment: Mapping[str, str] = os.environ) -> None:
    """Raises ValueError where the launch shards the network as it cannot be, or as the settings do not suit."""
    if not is_sharded(environment):
        return
    check_file("FSDP", {"fsdp_version": environment.get("FSDP_VERSION", "1")})
    for key in ("FSDP_OFFLOAD_PARAMS", "FSDP_ACTIVATION_CHECKPOINTING"):
        if _on(environment, key):
            raise ValueError(
                f"the launch file sets {key.lower()}, which has no effect here; leave it out, and raise "
                "train.accumulation where memory is short"
            )
    _check_settings(config, config.precision or environment.get("ACCELERATE_MIXED_PRECISION"))


def _check_settings(config: Config, precision: str | None) -> None:
    """Raises ValueError for settings that do not go together with a sharded network; PyTorch 2.13 is the reason."""
    reasons = {
        "precision fp16: the loss scaler has not been tried there; use bf16 or no": precision == "fp16",
        "optim.name sgd: its fused form has no sharding strategy in PyTorch; use adamw or adam": config.optim.name
        == "sgd",
        "train.channels_last: sharded parameters are contiguous; switch it off": config.train.channels_last,
        "train.compile: it has not been tried there; switch it off": config.train.compile,
    }
    found = [reason for reason, holds in reasons.items() if holds]
    if found:
        raise ValueError("the launch file shards the network, which excludes " + "; ".join(found))


def _on(environment: Mapping[str, str], name: str) -> bool:
    return environment.get(name, "false").lower() in ("true", "1", "yes")
