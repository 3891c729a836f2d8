"""Plans a training for a data set and a memory size: `mets3d plan`."""

from __future__ import annotations

import argparse
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mets3d.console import progress_of
from mets3d.verbs.configuration import configuration
from mets3d.verbs.parser import TOP, VerbParser, output_file

if TYPE_CHECKING:
    from mets3d.config import Config

SUMMARY = "write a configuration for a data set and a memory size, with the reason beside each number"
ORDER = 28
WITHOUT_GPU_GB = 16.0
BASE = "base.yaml"
SECTIONS = ("data", "preprocess", "augment", "model", "loss", "optim", "train", "validate", "predict", "track")


def arguments(parser: VerbParser) -> None:
    parser.add_argument("data", type=Path, metavar="DATA", help="folder with cases at any depth")
    parser.add_argument("--out", type=output_file, required=True, metavar="FILE.yaml", help="configuration to write")
    parser.add_argument("--memory-gb", type=_gigabytes, metavar="N",
                        help="memory of the device in GB (default: that of the GPU here, else 16)")  # fmt: skip
    parser.add_argument("--mode", choices=("cnn", "encoder", "decoder", "both"), help="as --model.mode")
    parser.add_argument("--from-nnunet", type=Path, metavar="PLANS.json",
                        help="take spacing, patch and strides from a plans file of nnU-Net v2")  # fmt: skip
    parser.add_argument("--config", type=Path, metavar="FILE",
                        help="configuration, or its name as for `train`, that the plan is laid over")  # fmt: skip
    parser.takes_jobs()
    parser.takes_overrides("settings to keep, as --data.cavity=true or --precision=no", also=TOP)


def run(options: argparse.Namespace) -> int:
    from mets3d.files import write_text
    from mets3d.planning.fingerprint import take_fingerprint
    from mets3d.planning.nnunet import read_nnunet_plan
    from mets3d.planning.plan import Wish, make_plan

    config, asked = _asked(options)
    nnunet = read_nnunet_plan(options.from_nnunet) if options.from_nnunet else None
    memory_gb = _memory_gb(options.memory_gb)
    fingerprint = take_fingerprint(options.data, config, jobs=options.jobs, progress=progress_of("headers"))
    name = config.name if "name" in asked else re.sub(r"[^\w.+-]", "_", options.out.stem)
    wish = Wish(config, asked, _base(options), name, str(options.out), memory_gb * 1e9, nnunet)
    plan = make_plan(fingerprint, wish, jobs=options.jobs, progress=progress_of("references"))
    write_text(options.out, plan.text)
    print("\n".join(plan.summary))
    print(f"configuration in {options.out}")
    return 1 if plan.left_out else 0


def _asked(options: argparse.Namespace) -> tuple[Config, frozenset[str]]:
    """Returns the base with the overrides laid over it, and the keys of these."""
    from mets3d.planning.plan import DECIDED

    if options.mode is not None:
        options.overrides = [*options.overrides, f"--model.mode={options.mode}"]
    asked = frozenset(word.partition("=")[0].removeprefix("--") for word in options.overrides)
    decided = sorted(asked & set(DECIDED))
    if decided:
        raise ValueError(f"{', '.join(decided)}: decided by the plan; change it in the file that is written")
    return configuration(options, sections=(*TOP, *SECTIONS)), asked


def _base(options: argparse.Namespace) -> str:
    """Returns the word after `base:`: the name of a configuration that comes with the package, or a path to the base
    from where the plan is written.
    """
    from mets3d.shipped import CONFIGS, names_in

    if options.config is None:
        return BASE
    word = str(options.config)
    if not options.config.is_file() and word in names_in(CONFIGS):
        return f"{word}.yaml"
    return Path(os.path.relpath(options.config, options.out.parent)).as_posix()


def _memory_gb(asked: float | None) -> float:
    """Returns the memory to plan for in GB, and says where it is from unless it was asked for."""
    if asked is not None:
        return asked
    import torch

    if not torch.cuda.is_available():
        print(f"no GPU is here: planned for {WITHOUT_GPU_GB:g} GB; --memory-gb N plans for another size")
        return WITHOUT_GPU_GB
    found = torch.cuda.get_device_properties(0)
    memory_gb = math.floor(found.total_memory / 1e8) / 10
    print(f"planned for the GPU that is here: {found.name}, {memory_gb:g} GB")
    return memory_gb


def _gigabytes(text: str) -> float:
    """Reads a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"expected a number of GB above 0, found {text!r}")
    return value
