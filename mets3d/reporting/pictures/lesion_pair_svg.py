"""Draws lesions as two predictions show them, a tile each side by side, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mets3d.reporting.pictures import svg
from mets3d.reporting.pictures.lesion_picture import LesionTile
from mets3d.reporting.pictures.lesion_svg import CAPTION, TILE, TILES_A_ROW, lesion_caption, lesion_tile_svg
from mets3d.reporting.pictures.slice_svg import GAP, HEADING, WIDTH
from mets3d.reporting.sentences import shortened

LETTERS = 26  # of a run's name above its tile
ROW = 2 * HEADING + TILE + CAPTION + GAP


@dataclass(frozen=True)
class LesionPair:
    """One lesion in two predictions."""

    title: str
    tiles: tuple[LesionTile, LesionTile]


def lesion_pairs_svg(pairs: Sequence[LesionPair]) -> str:
    """Draws three lesions a row, each under its title with a tile of either prediction, named by its run."""
    body = []
    for place, pair in enumerate(pairs):
        row, column = divmod(place, TILES_A_ROW // 2)
        left, top = column * 2 * (TILE + GAP), row * ROW
        body.append(svg.ink(shortened(pair.title, 52), left + 1, top + 16, size=13, colour="#22272e", weight=600))
        for side, tile in enumerate(pair.tiles):
            x, y = left + side * (TILE + GAP), top + 2 * HEADING
            body.append(svg.ink(shortened(tile.run, LETTERS), x + 1, y - 7))
            body.append(svg.panel(x, y, TILE, TILE, lesion_tile_svg(tile.plane)))
            body.append(lesion_caption(tile.lesion, x, y + TILE))
    rows = -(-len(pairs) // (TILES_A_ROW // 2))
    return svg.document("Lesions in two predictions", WIDTH, rows * ROW, "".join(body))
