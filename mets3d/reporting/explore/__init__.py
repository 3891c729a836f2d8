"""Turns the numbers of a data set into the page about it."""

from mets3d.reporting.explore.page import explore

__all__ = ["explore"]
