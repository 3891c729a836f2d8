"""Reads the configuration of a verb that trains nothing: `--config` and `--section.key=value`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mets3d.config import Config


def configuration(options: argparse.Namespace, *, sections: Sequence[str]) -> Config:
    """Reads the configuration file, or takes the defaults, and lays overrides of these sections over it.

    Raises ValueError with every fault, a line each.
    """
    from mets3d.config import Config, ConfigError, load_file, overridden
    from mets3d.shipped import CONFIGS, file_or_name

    file: Path | None = options.config
    try:
        config = load_file(file_or_name(str(file), CONFIGS)) if file else Config()
    except ConfigError as error:
        named = [fault if fault.startswith(f"{file}: ") else f"{file}: {fault}" for fault in error.faults]
        raise ValueError("\n".join(named)) from None
    try:
        return overridden(config, options.overrides, sections=sections)
    except ConfigError as error:
        raise ValueError(str(error)) from None
