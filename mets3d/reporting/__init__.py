"""Turns run directories and score tables into figures and a page. Imports no torch."""

from mets3d.reporting.page import read_arms, report, write_page
from mets3d.reporting.summary import summary_of, summary_text

__all__ = ["read_arms", "report", "summary_of", "summary_text", "write_page"]
