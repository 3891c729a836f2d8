"""What several GPUs can gain at most: bytes that the gradient's all-reduce moves against the time of a step.

    .venv/bin/python benchmarks/scaling.py [--mode decoder] [--step-ms 120] [--batch 2]

A calculation, no measurement. DDP sums fp32 gradients, 4 bytes a trainable parameter. A ring over p GPUs sends and
receives 2 (p - 1) / p times that on every GPU, at the speed of the slowest link. Eight GPUs a host; a ring enters and
leaves each host once, and there is one ring a network card. The batch of a GPU stays the same. Efficiency is given
without any overlap of the sum with the backward pass, the worst case, and with as much as fits beside it, the best.
"""

from __future__ import annotations

import argparse
import json
import math

from harness import RESULTS, print_table

from mets3d import models
from mets3d.regions import Target
from mets3d.settings import Model

GPUS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
A_HOST = 8
# Assumptions: bytes a second over all rings, and seconds a message. NVLink inside a host; between hosts 80 % of the
# cards' rate, and no more than inside.
INSIDE = (300e9, 5e-6)
NETWORKS = {"8 x 400 Gbit/s a host": (300e9, 20e-6), "100 Gbit/s a host": (10e9, 20e-6)}


def main() -> None:
    options = arguments()
    bytes_of_gradient = 4 * trainable(options.mode)
    step_s = options.step_ms / 1000 if options.step_ms else measured_step_s(options.mode)
    print(f"{options.mode}: {bytes_of_gradient / 1e6:.0f} MB of gradients; a step of {1000 * step_s:.1f} ms on one GPU")
    heads = ["GPUs", "MB sent by each", *(part for name in NETWORKS for part in (f"ms, {name}", "efficiency"))]
    rows = []
    for gpus in GPUS:
        row = [str(gpus), f"{sent(bytes_of_gradient, gpus) / 1e6:.0f}"]
        for network in NETWORKS.values():
            seconds = all_reduce_s(bytes_of_gradient, gpus, network)
            row += [f"{1000 * seconds:.1f}", f"{step_s / (step_s + seconds):.0%} to {hidden(step_s, seconds):.0%}"]
        rows.append(row)
    print_table(f"weak scaling, batch {options.batch} a GPU", heads, rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", default="decoder", choices=["cnn", "encoder", "decoder", "both"])
    parser.add_argument("--step-ms", type=float, help="of one GPU; by default what step.py measured in bf16")
    parser.add_argument("--batch", type=int, default=2)
    return parser.parse_args()


def trainable(mode: str) -> int:
    network = models.build(Model(mode=mode), in_channels=4, target=Target(), patch=(128, 128, 128))
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def measured_step_s(mode: str) -> float:
    results = json.loads((RESULTS / "step.json").read_text(encoding="utf-8"))
    return float(results["cuda bf16 naive"]["seconds"][mode]["median"])


def sent(size: float, gpus: int) -> float:
    """Bytes that each GPU of a ring sends to sum `size` bytes."""
    return 2 * (gpus - 1) / gpus * size


def all_reduce_s(size: float, gpus: int, network: tuple[float, float]) -> float:
    if gpus == 1:
        return 0.0
    bandwidth, latency = INSIDE if gpus <= A_HOST else network
    # Within a host the messages of a ring are short; between hosts NCCL's trees take log2 of the hosts.
    messages = 2 * (gpus - 1) if gpus <= A_HOST else 2 * math.ceil(math.log2(gpus))
    return sent(size, gpus) / bandwidth + messages * latency


def hidden(step_s: float, seconds: float) -> float:
    """Efficiency if the sum runs beside the backward pass, two thirds of a step, as far as it fits."""
    return step_s / (step_s + max(0.0, seconds - 2 / 3 * step_s))


if __name__ == "__main__":
    main()
