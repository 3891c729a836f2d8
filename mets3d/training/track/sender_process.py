"""Starts a program of `sender` beside the training, and writes it orders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ABOVE_PACKAGE = Path(__file__).parents[3]

Program = subprocess.Popen[str]


def spawn(program: str) -> Program:
    """Starts a program of `sender` by its name, with pipes on its input and output."""
    path = os.pathsep.join(filter(None, [str(ABOVE_PACKAGE), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", f"mets3d.training.track.sender.{program}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
        text=True,
        encoding="utf-8",
        start_new_session=True,  # a Ctrl-C is for the training
    )


def write(process: Program, order: Mapping[str, Any]) -> None:
    """Writes an order; a process that has ended gets none, and who reads its output has noticed, or will."""
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
    except (OSError, ValueError):  # a broken pipe, or one that is closed
        pass
