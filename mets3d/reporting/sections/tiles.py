"""Writes the page's tiles: the main result of a run at a glance, a tile per region."""

from __future__ import annotations

from html import escape

from markupsafe import Markup

from mets3d.regions import Region
from mets3d.reporting.html_page import Section
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sections.threshold import threshold_tile
from mets3d.reporting.sentences import score_number
from mets3d.statistics.cohort import summarise
from mets3d.statistics.lesion_counts import lesion_counts


def tiles(record: RunRecord) -> Section | None:
    """Writes a tile per region with a lesion-wise Dice, and one for the best threshold; None without any."""
    parts = [*(_tile(record, region) for region in record.regions), threshold_tile(record)]
    html = "".join(parts)
    return Section("glance", "At a glance", Markup(f'<div class="tiles">{html}</div>')) if html else None


def _tile(record: RunRecord, region: Region) -> str:
    dice = summarise(record.values(region.name, "lesion_wise_dice"), record.patients)
    hd95 = summarise(record.values(region.name, "lesion_wise_hd95"), record.patients)
    if dice is None:
        return ""
    below = f"lesion-wise HD95 {score_number('lesion_wise_hd95', hd95.mean)} mm" if hd95 else ""
    counts = lesion_counts(record.score_rows(region.name))
    return (
        f'<div class="tile" style="border-top-color:{region.colour}"><strong>{escape(region.name)}</strong>'
        f"<b>{score_number('lesion_wise_dice', dice.mean)}</b><span>mean lesion-wise Dice</span><span>{below}</span>"
        f"<span>{counts.found or 0:.0f} of {counts.lesions or 0:.0f} lesions found, "
        f"{counts.false or 0:.0f} false</span></div>"
    )
