"""Writes the section of pictures: telling cases, each with the reason why it is shown."""

from __future__ import annotations

from markupsafe import Markup

from mets3d.data.check import read_case
from mets3d.data.describe import DataSet
from mets3d.reporting.explore.chart import framed
from mets3d.reporting.explore.montage import montage, sequences_to_show
from mets3d.reporting.explore.regions_shown import regions_of
from mets3d.reporting.explore.telling_cases import TellingCase, telling_cases
from mets3d.reporting.html_page import Section
from mets3d.reporting.pictures.case_volumes import CaseVolumes, shown
from mets3d.reporting.rendering import render

HOW = (
    "ET, TC and RC are outlined on t1c, WT on t2f, or on the nearest sequence that there is; each on the slice with "
    "most of it, whole and enlarged. Radiological: the patient's right (R) is on the left. Grey levels from the "
    "0.5 to the 99.5 percentile."
)


def pictures_section(data: DataSet) -> Section | None:
    """Draws the telling cases, which are read once more; None where there is none with a reference."""
    chosen = telling_cases(data.labelled)
    if not chosen:
        return None
    drawn = [_figure(data, case) for case in chosen]
    html = render("pictures.html", how=HOW, regions=regions_of(data.labelled), drawn=drawn)
    return Section("pictures", "Pictures", html)


def _figure(data: DataSet, case: TellingCase) -> Markup:
    numbers = case.numbers
    title = f"{numbers.name}: {case.why}"
    sequences = list(dict.fromkeys(sequences_to_show(numbers.sequences).values()))
    source = next(source for source in data.sources if source.name == numbers.name)
    checked = read_case(source, data.settings)  # on the grid, and with the labels, that the numbers are of
    images = {name: shown(checked.images[name]) for name in sequences if name in checked.images}
    labels = checked.labels
    if labels is None or not images or any(image.shape != labels.shape for image in images.values()):
        return framed(title, None, "No picture: scans and reference are not on one grid, or cannot be read.", "montage")
    volumes = CaseVolumes(numbers.name, labels.spacing_mm, images, labels.labels, {})
    return framed(title, montage(volumes, focus=case.focus), kind="montage")
