"""Logs a run's numbers to metrics.jsonl, the terminal and W&B.

`tracker.py` writes metrics.jsonl. W&B is a reader of that file: `wandb_process.py` runs beside the training and sends
what the file holds, `wandb_link.py` starts, watches and, where need be, replaces it. Nothing that W&B does or fails to
do is waited for while the network trains.
"""

from mets3d.training.track.tracker import Tracker

__all__ = ["Tracker"]
