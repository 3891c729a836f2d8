"""Chooses decoding settings (thresholds, smallest components) on held-out predictions."""
