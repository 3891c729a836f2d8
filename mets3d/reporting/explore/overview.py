"""Writes the head of the page: what the data set is, and its main numbers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mets3d.data.describe import DataSet
from mets3d.reporting.explore.findings import verdict
from mets3d.reporting.explore.words import millimetres_text, names_text
from mets3d.reporting.html_page import Section
from mets3d.reporting.rendering import render
from mets3d.wording import counted


def overview(data: DataSet) -> Section:
    """Writes tiles and the check's verdict."""
    unusable = bool(data.report.unusable)
    html = render("overview.html", tiles=_tiles(data), verdict=verdict(data), unusable=unusable)
    return Section("overview", "Overview", html)


def lead(data: DataSet) -> str:
    """Says which layout the data set has, and where its cases lie."""
    where = ", ".join(
        f"{amount:,} in {_below(data.folder, folder)}" for folder, amount in sorted(data.sources.where.items())
    )
    return f"Layout: {data.sources.layout}. Cases: {where}."


def title_of(data: DataSet) -> str:
    """Returns the title of the page, which is text."""
    return f"Data set {data.folder.resolve().name}"


def _below(folder: Path, inner: Path) -> str:
    """Names a folder of cases from the data set's own on."""
    return str(inner.relative_to(folder.parent)) if inner.is_relative_to(folder) else str(inner)


def _tiles(data: DataSet) -> list[tuple[str, str, str]]:
    """Returns name, value and what stands below of each tile."""
    labelled = len(data.labelled)
    empty = sum(not case.labels for case in data.labelled)
    lengths = Counter(len(cases) for cases in data.patients.values())
    times = max(lengths)
    sequences = Counter(name for case in data.cases for name in case.sequences)
    missing = [f"{name} in {amount:,}" for name, amount in sequences.items() if amount < len(data.cases)]
    several = sum(amount for length, amount in lengths.items() if length > 1)
    return [
        ("Cases", f"{len(data.cases):,}", f"{counted(len(data.sources.where), 'folder')}"),
        ("Patients", f"{len(data.patients):,}", f"{several:,} with several cases" if several else "one case each"),
        ("Time points", f"1 to {times}" if times > 1 else "1", "a patient"),
        ("References", f"{labelled:,}", f"{empty:,} of them empty" if empty else "none empty" if labelled else ""),
        ("Sequences", names_text(list(sequences), 8) or "none", "; ".join(missing) or "in every case"),
        *_voxels(data),
    ]  # fmt: skip


def _voxels(data: DataSet) -> list[tuple[str, str, str]]:
    """Returns the tile of the most frequent voxel size; none where no scan could be read."""
    sizes = Counter(millimetres_text(case.spacing_mm) for case in data.cases if case.spacing_mm is not None)
    if not sizes:
        return []
    ((size, amount),) = sizes.most_common(1)
    where = "in every case" if amount == len(data.cases) else f"in {amount:,} of {counted(len(data.cases), 'case')}"
    return [("Voxel size", size, f"mm, {where}")]
