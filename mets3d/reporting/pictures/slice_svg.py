"""Draws a case's slices with the outlines of its regions, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from mets3d.regions import Region
from mets3d.reporting.pictures import svg
from mets3d.reporting.pictures.frames import Frame, ShownMask
from mets3d.reporting.pictures.outlines import outline_path
from mets3d.reporting.pictures.slices import SliceView
from mets3d.reporting.sentences import shortened

WIDTH, GAP, HEADING, LEGEND = 1080.0, 8.0, 24.0, 30.0

Masks = Mapping[str, ShownMask]


def case_svg(name: str, slices: Sequence[SliceView], regions: Sequence[Region], runs: Sequence[str]) -> str:
    """Draws a row per slice: whole slice, zoom, reference in the zoom, then the prediction of each run in the zoom."""
    side = (WIDTH - GAP * (2 + len(runs))) / (3 + len(runs))
    headings = [name, "zoom", "reference", *(runs if len(runs) > 1 else ["prediction"] * len(runs))]
    body = [_heading(text, column, side, bold=column == 0) for column, text in enumerate(headings)]
    colours = {region.name: region.colour for region in regions}
    for row, view in enumerate(slices):
        for column, panel in enumerate(_panels(view, colours, runs, side, f"zoom{row}")):
            body.append(svg.panel(column * (side + GAP), HEADING + row * (side + GAP), side, side, panel))
    bottom = HEADING + len(slices) * (side + GAP)
    body.append(_legend(regions, [view.sequence for view in slices], bottom, several=len(runs) > 1))
    return svg.document(name, WIDTH, bottom + LEGEND, "".join(body))


def _panels(view: SliceView, colours: Mapping[str, str], runs: Sequence[str], side: float, name: str) -> list[str]:
    """Draws the panels of a row; the enlarged image is held once, under `name`."""
    only = view.predictions[runs[0]] if len(runs) == 1 else {}
    whole = _whole(view, only, colours, side)
    if view.zoom is None:
        return [whole]
    bar = svg.scale_bar(view.zoom, view.voxel_mm[1], side, 10)
    zoomed, image = svg.image(view.zoom.cut(view.grey), side, name), svg.again(name)
    reference = _reference(view.reference, view.zoom, colours, side, width=2.0)
    missing = "" if view.reference else svg.label("no reference", 8.0, 17.0)
    shaded = _reference(view.reference, view.zoom, colours, side, width=0.0)
    predicted = [shaded + _prediction(view.predictions[run], view.zoom, colours, side, width=2.0) for run in runs]
    return [whole, zoomed + bar, image + reference + missing, *(image + outlines for outlines in predicted)]


def _whole(view: SliceView, prediction: Masks, colours: Mapping[str, str], side: float) -> str:
    return (
        svg.image(view.whole.cut(view.grey), side)
        + _reference(view.reference, view.whole, colours, side, width=1.1)
        + _prediction(prediction, view.whole, colours, side, width=1.1)
        + _zoom_box(view, side)
        + svg.sides(side)
        + svg.scale_bar(view.whole, view.voxel_mm[1], side, 50)
        + svg.label(f"{view.sequence}, axial slice {view.index + 1} of {view.slices}", 8.0, 17.0)
    )


def _heading(text: str, column: int, side: float, *, bold: bool) -> str:
    x, weight = column * (side + GAP), "600" if bold else "400"
    return (
        f'<svg x="{x:.1f}" y="0" width="{side:.1f}" height="{HEADING:.0f}"><text x="1" y="16" font-size="13" '
        f'font-weight="{weight}" fill="#22272e">{escape(shortened(text, int(side / 8.2)))}</text></svg>'
    )


def _reference(masks: Masks, frame: Frame, colours: Mapping[str, str], side: float, *, width: float) -> str:
    """Draws masks shaded and, with a width, outlined by a solid line."""
    drawn = []
    for name, path in _paths(masks, frame, side):
        shade = f'fill="{colours[name]}" fill-opacity="0.22" fill-rule="evenodd"'
        drawn.append(svg.line(path, colours[name], width, shade) if width else f'<path d="{path}" {shade}/>')
    return "".join(drawn)


def _prediction(masks: Masks, frame: Frame, colours: Mapping[str, str], side: float, *, width: float) -> str:
    """Draws masks outlined by a dashed line."""
    return "".join(svg.dashed_line(path, colours[name], width) for name, path in _paths(masks, frame, side))


def _paths(masks: Masks, frame: Frame, side: float) -> list[tuple[str, str]]:
    paths = [(name, outline_path(mask, frame, side)) for name, mask in masks.items()]
    return [(name, path) for name, path in paths if path]


def _zoom_box(view: SliceView, side: float) -> str:
    if view.zoom is None:
        return ""
    across, down = side / view.whole.columns, side / view.whole.rows
    x, y = (view.zoom.column - view.whole.column) * across, (view.zoom.row - view.whole.row) * down
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{view.zoom.columns * across:.1f}" '
        f'height="{view.zoom.rows * down:.1f}" fill="none" stroke="#fff" stroke-opacity="0.75" stroke-width="1"/>'
    )


def _legend(regions: Sequence[Region], sequences: Sequence[str], top: float, *, several: bool) -> str:
    y, x, parts = top + 10, 1.0, []
    for region in regions:
        parts.append(f'<rect x="{x:.0f}" y="{y - 7:.0f}" width="14" height="12" rx="2" fill="{region.colour}"/>')
        parts.append(svg.ink(f"{region.name}, on {region.background(sequences)}", x + 19, y + 3))
        x += 100
    parts.append(f'<rect x="{x:.0f}" y="{y - 7:.0f}" width="22" height="12" fill="#57606a" fill-opacity="0.22"/>')
    parts.append(
        f'<rect x="{x:.0f}" y="{y - 7:.0f}" width="22" height="12" fill="none" stroke="#57606a" stroke-width="2"/>'
    )
    parts.append(svg.ink("reference (solid, shaded)", x + 29, y + 3))
    x += 195
    parts.append(
        f'<path d="M{x:.0f} {y - 1:.0f}h26" stroke="#57606a" stroke-width="2" stroke-dasharray="6.4 4" fill="none"/>'
    )
    parts.append(svg.ink("prediction of the run (dashed)" if several else "prediction (dashed)", x + 33, y + 3))
    return "".join(parts)
