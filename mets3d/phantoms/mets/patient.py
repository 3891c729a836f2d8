"""Makes a patient: head, mimics, cavity, metastases, and the scan of the site where he was seen."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Int16, UInt8

from mets3d.ops.voxels import Shape3, Spacing
from mets3d.phantoms.anatomy import Frame, Volume, frame_of, random_field
from mets3d.phantoms.mets.burden import BLOCK, LARGEST_MM3, lesion_count, lesion_volume, place_in_block
from mets3d.phantoms.mets.cavity import CAVITIES, make_cavity, paint_cavity
from mets3d.phantoms.mets.head import Anatomy, Images, make_anatomy, paint_tissue
from mets3d.phantoms.mets.mimics import paint_mimics
from mets3d.phantoms.mets.places import Places
from mets3d.phantoms.mets.shapes import Blob, blob, fine_field
from mets3d.phantoms.mets.tumour import Labels, Tumour, make_tumour, paint_oedema, paint_tumour
from mets3d.phantoms.sites import SITES, Site, scan

# Random streams of a patient; those of easy phantoms are 0, 1 and 2.
HEAD, MIMICS, BURDEN, CAVITY, FIELDS, SCANNER, LESION = 10, 11, 12, 13, 14, 15, 16
BY_COUNT, BY_SITE, BY_CAVITY = 20, 21, 22  # orders within a block of patients


def site_of(seed: int, index: int) -> Site:
    """Returns a patient's site; of as many patients in a row as there are sites, each site has one."""
    return SITES[place_in_block(seed, index, len(SITES), BY_SITE)]


def make_patient(
    seed: int, index: int, shape: Shape3, spacing_mm: Spacing
) -> tuple[Int16[np.ndarray, "4 X Y Z"], UInt8[np.ndarray, "X Y Z"], Frame]:
    """Returns scans and labels of the box that holds the head, and where on the grid that is."""
    frame = frame_of(shape, spacing_mm)
    head = make_anatomy(_stream(seed, index, HEAD), frame)
    images = paint_tissue(_stream(seed, index, HEAD, 1), head, frame)
    mimics = paint_mimics(_stream(seed, index, MIMICS), head, frame, images)
    labels = _grow(seed, index, head, frame, mimics, images)
    return scan(_stream(seed, index, SCANNER), site_of(seed, index), images, head.brain, frame), labels, frame


def _stream(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def _grow(seed: int, index: int, head: Anatomy, frame: Frame, mimics: Volume, images: Images) -> Labels:
    """Paints cavity and metastases, oedema before tumours, and returns the labels."""
    labels = np.zeros(head.brain.shape, dtype=np.uint8)
    places = Places(head, frame, mimics)
    fields = _stream(seed, index, FIELDS)
    fingers, texture = random_field(fields, frame, 14, 40), fine_field(fields, frame, 4, 12)
    rng = _stream(seed, index, CAVITY)
    if (place_in_block(seed, index, BLOCK, BY_CAVITY) + rng.random()) / BLOCK < CAVITIES:
        body = make_cavity(rng, places, frame)
        if body is not None:
            paint_cavity(rng, body, head, frame, texture, images, labels)
    lesions = [(_stream(seed, index, LESION, number), tumour) for number, tumour in _place(seed, index, places, frame)]
    for stream, tumour in lesions:
        paint_oedema(stream, tumour, head, frame, fingers, images, labels)
    for stream, tumour in lesions:
        paint_tumour(stream, tumour, head, frame, texture, images, labels)
    return labels


def _place(seed: int, index: int, places: Places, frame: Frame) -> list[tuple[int, Tumour]]:
    """Draws the metastases and puts them where there is room, the largest first."""
    count = lesion_count(_stream(seed, index, BURDEN), place_in_block(seed, index, BLOCK, BY_COUNT))
    streams = [_stream(seed, index, LESION, number, 0) for number in range(count)]
    largest = max(LARGEST_MM3 * frame.scale**3, 8 * math.prod(frame.spacing_mm))
    volumes = [lesion_volume(stream, largest) for stream in streams]
    found = []
    for number in sorted(range(count), key=lambda k: -volumes[k]):
        stream, volume = streams[number], volumes[number]
        body = blob(stream, (0.0, 0.0, 0.0), volume, bumps=0.2 if volume > 200 else 0.12)
        centre = places.find(stream, body.radius, body.reach)
        if centre is not None:
            placed = Blob(centre, body.radius, body.stretch, body.waves)
            found.append((number, make_tumour(stream, placed, volume)))
    return found
