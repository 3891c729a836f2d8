"""Writes the page's sections, one a file: each turns run records into the HTML of its part of the page."""
