"""Logs a run's numbers to metrics.jsonl, the terminal, W&B, TensorBoard and trackio.

`tracker.py` writes metrics.jsonl, and `validation_files.py` the pictures and tables of each validation. Everybody else
reads those files, in a process of its own that runs beside the training (`sender`): `wandb_link.py` starts, watches
and, where need be, replaces that of W&B, `other_link.py` those of the others, `page_link.py` that of the page. Nothing
that they do or fail to do is waited for while the network trains.
"""
