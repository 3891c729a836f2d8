"""Holds the programs that send a run's numbers to a logger, each in a process of its own beside the training.

They follow metrics.jsonl and what each validation writes. Of the package they import what lies here, and nothing heavy.
"""
