"""Shows a case's scans, reference and predictions in a browser, in a page of a report or in a notebook."""
