"""Draws numbers with matplotlib, as SVG."""
