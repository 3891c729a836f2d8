"""Knows the words by which data sets name sequences, references and labels. Upper case and separators do not matter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mets3d.regions import ET_LABEL, NETC, RC_LABEL, SNFH

REFERENCE = "seg"

FILE_WORDS = {
    "t1n": (
        "t1n", "t1", "t1w", "t1wi", "t1pre", "pret1", "pret1w", "t1wpre", "t1native", "nativet1", "t1nativ",
        "t1precontrast", "t1noncontrast", "t1nocontrast", "t1nc", "t1unenhanced",
    ),
    "t1c": (
        "t1c", "t1ce", "t1wce", "cet1", "cet1w", "t1gd", "t1wgd", "gdt1", "gdt1w", "t1gad", "t1gado", "t1gadolinium",
        "cegadoliniumt1w", "cegdt1w", "t1post", "postt1", "postt1w", "t1wpost", "t1postcontrast", "t1contrast",
        "t1contrastenhanced", "t1wc", "t1cw", "t1enhanced", "t1km", "t1+", "t1+c", "t1c+", "t1wc+", "t1+gd",
    ),
    "t2w": ("t2w", "t2", "t2wi", "t2synth", "t2tse", "t2fse"),
    "t2f": ("t2f", "flair", "t2flair", "t2wflair", "flairt2", "flairw"),
    REFERENCE: (
        "seg", "segm", "segmentation", "label", "labels", "labelmap", "mask", "dseg", "gt", "groundtruth", "reference",
        "lesion", "lesions", "lesionmask", "lesionseg", "tumormask", "tumourmask", "tumorseg", "tumourseg", "tumor",
        "tumour", "roi", "annotation", "manualseg", "finalseg",
    ),
}  # fmt: skip

REGION_WORDS = {
    "WT": ("wt", "whole", "wholetumor", "wholetumour"),
    "TC": ("tc", "core", "tumorcore", "tumourcore"),
    "ET": (
        "et", "at", "enhancing", "enhancingtumor", "enhancingtumour", "activetumor", "activetumour", "enhancingcore",
        "enhancinglesion", "gdenhancingtumor", "tumor", "tumour", "lesion", "lesions", "metastasis", "metastases",
        "brainmetastasis", "brainmetastases", "met", "mets", "gtv",
    ),
    "NETC": (
        "netc", "ncr", "net", "ncrnet", "necrosis", "necrotic", "necroticcore", "necrotictumorcore",
        "necrotictumourcore", "nonenhancing", "nonenhancingtumor", "nonenhancingtumour", "nonenhancingtumorcore",
        "nonenhancingtumourcore", "necroticandnonenhancingtumorcore", "necroticandnonenhancingtumourcore",
        "necroticnonenhancingtumorcore", "nec", "nonenhancingcore",
    ),
    "SNFH": (
        "snfh", "ed", "edema", "oedema", "peritumoraledema", "peritumouraloedema", "peritumoraloedema",
        "surroundingnonenhancingflairhyperintensity", "flairhyperintensity", "peritumoraledematoustissue",
    ),
    "RC": ("rc", "cavity", "resectioncavity", "resection"),
}  # fmt: skip

# The region that says most comes first: a voxel of ET is in TC and WT, too.
LABEL_OF_REGION = {
    "ET": ET_LABEL, "NETC": NETC, "SNFH": SNFH, "RC": RC_LABEL, "TC": NETC, "WT": SNFH,
}  # fmt: skip

_SEPARATOR = re.compile(r"[-_. ]+")
_KIND_OF = {word: kind for kind, words in FILE_WORDS.items() for word in words}
_REGION_OF = {word: region for region, words in REGION_WORDS.items() for word in words}


@dataclass(frozen=True)
class NameParts:
    """A file's name without suffix, cut in two: what belongs to the case, and the word for sequence or reference."""

    case: str
    word: str
    kind: str


def kind_of(word: str) -> str | None:
    """Returns the sequence that a word names, `seg` for a reference, None for any other word."""
    return _KIND_OF.get(_plain(word))


def region_of(word: str) -> str | None:
    """Returns the label or region that a word names, such as SNFH for oedema, None for any other word."""
    return _REGION_OF.get(re.sub(r"[^a-z0-9]", "", word.lower()))


def cut(stem: str) -> NameParts | None:
    """Cuts a name such as `P1_t2_flair` before its longest ending that names a sequence or reference.

    The case's part is empty where the whole name is such a word.
    """
    starts = [0, *(match.end() for match in _SEPARATOR.finditer(stem))]
    for start in starts:
        kind = kind_of(stem[start:])
        if kind is not None:
            return NameParts(stem[:start].rstrip("-_. "), stem[start:], kind)
    return None


def label_of(regions: Sequence[str]) -> int:
    """Returns our label of a voxel that lies in these regions. Raises ValueError if there is none."""
    for region, label in LABEL_OF_REGION.items():
        if region in regions:
            return label
    raise ValueError("expected at least one region")


def _plain(word: str) -> str:
    return _SEPARATOR.sub("", word).lower()
