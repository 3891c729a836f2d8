"""Two label volumes -> rows: overlap, surface distances, lesion-wise scores, score tables. NumPy only, float64."""
