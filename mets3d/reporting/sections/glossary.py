"""Writes the page's glossary: the regions and scores that stand on it, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from mets3d.reporting.html_page import Section
from mets3d.reporting.rendering import render
from mets3d.reporting.run_record import RunRecord

SHORT = {"WT": "whole tumour", "TC": "tumour core", "ET": "enhancing tumour", "RC": "resection cavity"}
REGIONS = {
    "WT": "everything that belongs to a metastasis, with the oedema around it; seen best on FLAIR (t2f)",
    "TC": "the metastasis without the oedema, that is enhancing tumour and necrosis",
    "ET": "what takes up contrast medium; seen best on T1 with contrast (t1c)",
    "RC": "the hole that an operation has left; it belongs to no other region",
}
TERMS = {
    "Lesion-wise": (
        "each metastasis counts by itself and as much as any other, however small; a case's score is the mean over its "
        "lesions, and each missed or false lesion is in it with the worst value"
    ),
    "Whole-volume": "all voxels of a region in a case are taken together, so that large lesions count most",
    "Dice": "overlap of prediction and reference, from 0 (none) to 1 (the same voxels)",
    "HD95": (
        "95th percentile of the distance between the two surfaces, in mm: how far apart the boundaries are; 0 is best"
    ),
    "NSD": "share of both surfaces that lie within a tolerance of each other, from 0 to 1, which is best",
    "F1": "lesions found, balanced against false ones: 2 found / (2 found + missed + false), from 0 to 1",
    "Found, missed, false": (
        "a lesion of the reference that the prediction meets; one that it does not meet; a predicted lesion where the "
        "reference has none"
    ),
    "95 % interval": (
        "the values that the data are compatible with: of 100 such studies about 95 have the true value inside theirs"
    ),
    "p (Holm)": (
        "how often chance alone gives a difference at least this large, raised for the number of tests; below 0.05 a "
        "difference counts as shown"
    ),
}


def glossary_section(records: Sequence[RunRecord]) -> Section:
    """Explains the regions that the page shows, and the words of its scores."""
    regions = {name: f"{short}: {REGIONS[name]}" for name, short in regions_in_words(records[0]).items()}
    return Section("glossary", "Glossary", render("glossary.html", terms=regions | TERMS))


def regions_in_words(record: RunRecord) -> dict[str, str]:
    """Returns what the names of the regions that the page shows stand for."""
    return {region.name: SHORT[region.name] for region in record.regions}
