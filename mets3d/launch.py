"""Runs `accelerate launch` so that a stop loses nothing: python -m mets3d.launch [its options] train.py ...

It takes the arguments of `accelerate launch`. SIGTERM, SIGINT, SIGHUP and SIGUSR1 are passed on to the training, and
the exit code is the training's own. It is the entry of the image.
"""

from __future__ import annotations

import sys

from mets3d.console import in_utf8
from mets3d.training.launcher import launch

if __name__ == "__main__":
    in_utf8()
    sys.exit(launch(sys.argv[1:], program="mets3d.launch"))
