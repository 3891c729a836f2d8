"""Makes rows of scores from two label volumes, with NumPy and in float64. docs/evaluation.md has a reading order."""
