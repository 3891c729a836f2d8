"""Knows BIDS: sub-01/ses-02/anat/sub-01_ses-02_{T1w,ce-gadolinium_T1w,T2w,FLAIR}.nii.gz, raw or below derivatives/.

A T1w with the entity `ce` is t1c. Where a session is there in several variants (raw, pipelines below derivatives/,
`space-` and `desc-` entities), the one with most sequences is read, of equals a derivative before raw; what it lacks
comes from the others. References are `_dseg` or `_mask`, one about lesions before others; masks of the brain are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from mets3d.data.case import SEQUENCES, Finding
from mets3d.data.layouts.layout import Files, Found, Layout, Placed, twice
from mets3d.data.layouts.words import REFERENCE, kind_of
from mets3d.data.tree import Tree, by_suffix, stem_of

_NAME = re.compile(r"(?P<entities>sub-[A-Za-z0-9+]+(?:_[A-Za-z]+-[A-Za-z0-9+]+)*)_(?P<suffix>[A-Za-z0-9]+)")
_LESION = re.compile(r"lesion|tumou?r|met(s|astas[ei]s)?|gtv|glioma|gt|manual|seg", re.IGNORECASE)
_NOT_LESION = re.compile(r"brain|head|aseg|aparc|tissue|csf|gm|wm|bg|skull|hemi|ventric|hippo", re.IGNORECASE)
_LABELS = "labels 1 NETC, 2 SNFH, 3 ET, 4 RC"

Variant = tuple[str, str, str]  # pipeline, space, description


@dataclass(frozen=True)
class _Image:
    """An image with a BIDS name: its session, what it shows and in which variant."""

    path: Path
    subject: str
    session: str
    kind: str
    entities: dict[str, str]
    variant: Variant

    @property
    def case(self) -> str:
        """The subject, and the session where there is one."""
        return "_".join(filter(None, (self.subject, self.session)))


def _find(tree: Tree, found: Found) -> None:
    sessions: dict[str, list[_Image]] = {}
    for folder in tree.folders:
        images = [image for name in folder.images if (image := _image(tree.root, folder.place / name))]
        folder.take([image.path.name for image in images])
        for image in images:
            sessions.setdefault(image.case, []).append(image)
    for name, images in sorted(sessions.items()):
        if any(image.kind in SEQUENCES for image in images):
            _add_case(name, images, tree, found)


def _image(root: Path, path: Path) -> _Image | None:
    """Returns the image if its name is a BIDS name of something that is read."""
    parts = _NAME.fullmatch(stem_of(path.name) or "")
    kind = kind_of(parts["suffix"]) if parts else None
    if parts is None or kind is None:
        return None
    entities = dict(entity.split("-", 1) for entity in parts["entities"].split("_"))
    if kind == "t1n" and "ce" in entities:
        kind = "t1c"
    session = f"ses-{entities['ses']}" if "ses" in entities else ""
    variant = _pipeline(path.relative_to(root)), entities.get("space", ""), entities.get("desc", "")
    return _Image(path, f"sub-{entities['sub']}", session, kind, entities, variant)


def _pipeline(path: PurePath) -> str:
    """Returns the folder below derivatives/ that a path lies in, nothing for raw data."""
    parts = path.parts
    return parts[parts.index("derivatives") + 1] if "derivatives" in parts[:-2] else ""


def _add_case(name: str, images: list[_Image], tree: Tree, found: Found) -> None:
    files = Files()
    variants = _by_preference([image for image in images if image.kind in SEQUENCES])
    for sequence in SEQUENCES:
        candidates = [image for variant in variants for image in images if _shows(image, sequence, variant)]
        if candidates:
            chosen = candidates[0]
            files.add(sequence, chosen.path)
            same = [image.path for image in candidates[1:] if image.variant == chosen.variant]
            found.findings += [twice(name, chosen.path, same)] if same else []
    if len(variants) > 1:
        detail = f"its sequences are there in {len(variants)} variants; those of {_variant(variants[0])} are read first"
        found.findings.append(Finding(name, "note", "several variants", detail))
    reference = _reference(name, images, variants, found)
    if reference is not None:
        files.add(REFERENCE, reference)
    first = next(iter(files.by_kind.values()))[0]
    case = files.case(name, first.parent, {}, found, patient=images[0].subject)
    found.cases.append(Placed(case, f"BIDS ({_LABELS})", tree.root))


def _by_preference(images: Iterable[_Image]) -> list[Variant]:
    """Returns the variants of a session: most sequences first, of equals derivatives first, then by name."""
    kinds: dict[Variant, set[str]] = {}
    for image in images:
        kinds.setdefault(image.variant, set()).add(image.kind)
    return sorted(kinds, key=lambda variant: (-len(kinds[variant]), not variant[0], variant))


def _shows(image: _Image, sequence: str, variant: Variant) -> bool:
    return image.kind == sequence and image.variant == variant


def _variant(variant: Variant) -> str:
    pipeline, space, description = variant
    words = [f"derivatives/{pipeline}" if pipeline else "the raw data"]
    words += [f"{key}-{value}" for key, value in (("space", space), ("desc", description)) if value]
    return ", ".join(words)


# ---------------------------------------------------------------- references


def _reference(name: str, images: list[_Image], variants: list[Variant], found: Found) -> Path | None:
    """Returns the session's reference; others of equal rank are a finding."""
    ranked = sorted(
        (_rank(image, variants[0]), by_suffix(image.path.name), image.path)
        for image in images
        if image.kind == REFERENCE and not _NOT_LESION.search(_meaning(image))
    )
    if not ranked:
        return None
    best = [path for rank, _, path in ranked if rank == ranked[0][0]]
    if len(best) > 1:
        found.findings.append(twice(name, best[0], best[1:]))
    return best[0]


def _rank(image: _Image, variant: Variant) -> tuple[bool, bool, bool]:
    """Returns how well a reference fits, least first: about lesions, in the images' space, with labels for all."""
    return (
        not _LESION.search(_meaning(image)),
        image.variant[1] != variant[1],
        not image.path.name.lower().count("dseg"),
    )


def _meaning(image: _Image) -> str:
    """Returns the entities that say what a mask is of."""
    return " ".join(image.entities.get(key, "") for key in ("desc", "label", "seg"))


LAYOUT = Layout("BIDS", _find)
