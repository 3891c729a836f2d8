"""Writes the page's glossary: the regions and scores that stand on it, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from mets3d.reporting.html_page import Section
from mets3d.reporting.rendering import render
from mets3d.reporting.run_record import RunRecord

SHORT = {"WT": "whole tumour", "TC": "tumour core", "ET": "enhancing tumour", "RC": "resection cavity"}
REGIONS = {
    "WT": "all that belongs to a metastasis, that is TC and the oedema around it; seen best on FLAIR (t2f)",
    "TC": "the metastasis without the oedema, that is ET and the necrosis inside it",
    "ET": "what takes up contrast medium; seen best on T1 with contrast (t1c)",
    "RC": "the hole that an operation has left; it belongs to no other region",
}
LABELS = {
    "NETC": "non-enhancing tumour core: the part of TC without ET, for the most part necrosis; label 1",
    "SNFH": "surrounding non-enhancing FLAIR hyperintensity: the part of WT without TC, the oedema; label 2",
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
    "Found, missed lesion": "a lesion of the reference that the prediction meets, and one that it does not meet",
    "False lesion": "a predicted lesion where the reference has none",
    "Held-out case": "a case that the network has not seen in training, on which it is therefore scored",
    "Fold": "one of the parts that the cases are divided into: each part is held out once, and the others train",
    "Seed": (
        "the number that all chance in a training is drawn from; the same settings with other seeds show how much of a "
        "difference is luck"
    ),
    "Arm": "all runs with the same settings, which differ in seed and fold alone; a case's score is its mean over them",
    "95 % interval": (
        "the values that the data are compatible with: of 100 such studies about 95 have the true value inside theirs"
    ),
    "p (Holm)": (
        "how often chance alone gives a difference at least this large, raised for the number of tests; below 0.05 a "
        "difference counts as shown"
    ),
    "Effect": (
        "rank-biserial correlation: 1 where a method is better in every patient, −1 where it is worse in every one, 0 "
        "where neither prevails"
    ),
    "Design effect": (
        "lesions of one patient are alike, so they tell less than as many lesions of different patients: their number "
        "is divided by this factor before an interval is computed"
    ),
}


def glossary_section(records: Sequence[RunRecord]) -> Section:
    """Explains the regions that the page shows, and the words of its scores."""
    regions = {name: f"{short}: {REGIONS[name]}" for name, short in regions_in_words(records[0]).items()}
    return Section("glossary", "Glossary", render("glossary.html", terms=regions | LABELS | TERMS))


def regions_in_words(record: RunRecord) -> dict[str, str]:
    """Returns what the names of the regions that the page shows stand for."""
    return {region.name: SHORT[region.name] for region in record.regions}
