"""Turns run directories and score tables into figures and a page. Imports no torch."""

from mets3d.reporting.page import report
from mets3d.reporting.summary import summary_text

__all__ = ["report", "summary_text"]
