"""Computes on arrays and tensors what several rooms need: components, distances, resampling, soft morphology."""
