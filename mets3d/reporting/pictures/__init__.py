"""Draws slices and lesions of cases, as SVG."""
