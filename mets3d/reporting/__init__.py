"""Run directories and score tables to figures and a page. Imports no torch."""

from mets3d.reporting.page import report, summary_text

__all__ = ["report", "summary_text"]
