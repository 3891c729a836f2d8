"""Writes every case with its numbers: as a table that a click sorts, and as rows of cases.csv and lesions.csv."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mets3d.data.describe import DataSet
from mets3d.data.describe_case import MM3_IN_ML, PERCENTILES, CaseNumbers
from mets3d.data.describe_lesions import REGIONS
from mets3d.evaluation.lesions import SIZE_EDGES_MM3
from mets3d.evaluation.region_scores import size_class
from mets3d.evaluation.tables import Row
from mets3d.regions import BACKGROUND, LABEL_NAMES, Region
from mets3d.reporting.explore.regions_shown import labels_text, regions_of
from mets3d.reporting.explore.words import millimetres_text, shape_text, short
from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import Cell, Heading, Table, flow, row_head

AXES = ("x", "y", "z")
HOW = "The same numbers and more are in cases.csv and lesions.csv beside this page. A click on a heading sorts."


def case_list_section(data: DataSet) -> Section:
    """Writes the table of all cases, which sorts and filters."""
    regions = regions_of(data.labelled)
    rows = [_row(data, case, regions) for case in data.cases]
    table = Table("", _columns(regions), rows, label="All cases", kind="", rows_are="cases", tall=True)
    return Section("cases", "All cases", flow(HOW, table))


def _columns(regions: Sequence[Region]) -> list[Heading]:
    words = {"Case", "Patient", "Sequences", "Labels"}
    names = [
        *("Case", "Patient", "Time", "Voxels", "Voxel [mm]", "Sequences", "Brain [ml]", "Labels"),
        *(f"{region.name} [ml]" for region in regions),
        *(f"{region.name} lesions" for region in regions),
        *("Smallest [mm³]", "Errors", "Warnings"),
    ]
    return [Heading(name, words=name in words) for name in names]


def _row(data: DataSet, case: CaseNumbers, regions: Sequence[Region]) -> list[Cell]:
    labelled = case.label_mm3 is not None
    spacing_mm = case.spacing_mm or ()
    volume = 1.0
    for side in spacing_mm:
        volume *= side
    sizes = [lesion.volume_mm3 for lesions in case.lesions.values() for lesion in lesions]
    return [
        row_head(case.name),
        Cell(case.patient, words=True),
        Cell(str(data.time_points[case.name])),
        Cell(shape_text(case.shape) or "–", order=case.voxels or None),
        Cell(millimetres_text(spacing_mm) or "–", order=float(f"{volume:.6g}") if spacing_mm else None),
        Cell(" ".join(case.sequences) or "none", words=True),
        Cell(short(case.brain_ml)),
        Cell(labels_text(case.labels) if labelled else "no reference", words=True),
        *(Cell(short(case.volume_mm3(region.labels) / MM3_IN_ML) if labelled else "–") for region in regions),
        *(Cell(str(len(case.lesions.get(region.name, ()))) if labelled else "–") for region in regions),
        Cell(short(min(sizes)) if sizes else "–"),
        *(Cell(str(_findings(data, case, level))) for level in ("error", "warning")),
    ]


def _findings(data: DataSet, case: CaseNumbers, severity: str) -> int:
    return data.severities.get((case.name, severity), 0)


# ---------------------------------------------------------------- files


def case_rows(data: DataSet) -> tuple[list[str], list[Row]]:
    """Returns the columns and rows of cases.csv: one row a case, volumes in mm3, what is unknown left empty."""
    sequences = list(dict.fromkeys(name for case in data.cases for name in case.intensities))
    rows = [_case_row(data, case) for case in data.cases]
    labels = [f"{name}_mm3" for label, name in LABEL_NAMES.items() if label != BACKGROUND]
    statistics = ("mean", "std", "lowest", *(f"p{p}" for p in PERCENTILES), "highest")
    columns = [
        "case", "patient", "time_point", *(f"voxels_{axis}" for axis in AXES), *(f"spacing_{axis}_mm" for axis in AXES),
        "orientation", "sequences", "brain_ml", "reference", "labels", *labels,
        *(f"{region.name}_mm3" for region in REGIONS if len(region.labels) > 1),
        *(f"{region.name}_lesions" for region in REGIONS),
        *(f"{name}_{statistic}" for name in sequences for statistic in statistics), "errors", "warnings", "notes",
    ]  # fmt: skip
    return columns, rows


def lesion_rows(data: DataSet) -> tuple[list[str], list[Row]]:
    """Returns the columns and rows of lesions.csv: one row per lesion and region, largest first in each case.

    x, y, z are the centre in the file's world, RAS+ in mm; the places are shares of the box around the brain.
    """
    columns = ["case", "patient", "region", "lesion", "volume_mm3", "voxels", "size_class", "labels",
               *(f"{axis}_mm" for axis in AXES), *(f"place_{axis}" for axis in AXES)]  # fmt: skip
    return columns, [row for case in data.cases for row in _lesions_of(case)]


def _case_row(data: DataSet, case: CaseNumbers) -> Row:
    row: Row = {
        "case": case.name, "patient": case.patient, "time_point": data.time_points[case.name],
        "orientation": case.orientation, "sequences": " ".join(case.sequences),
        "brain_ml": case.brain_ml if case.sequences else None,
        "reference": "yes" if case.label_mm3 is not None else "no",
    }  # fmt: skip
    row |= {f"voxels_{axis}": voxels for axis, voxels in zip(AXES, case.shape, strict=False)}
    row |= {f"spacing_{axis}_mm": side for axis, side in zip(AXES, case.spacing_mm or (), strict=False)}
    if case.label_mm3 is not None:
        row["labels"] = " ".join(map(str, case.labels))
        row |= {f"{name}_mm3": case.volume_mm3((label,)) for label, name in LABEL_NAMES.items() if label != BACKGROUND}
        row |= {f"{region.name}_mm3": case.volume_mm3(region.labels) for region in REGIONS}
        row |= {f"{region.name}_lesions": len(case.lesions[region.name]) for region in REGIONS}
    for name, values in case.intensities.items():
        row |= {f"{name}_mean": values.mean, f"{name}_std": values.deviation, f"{name}_lowest": values.lowest}
        row |= {f"{name}_highest": values.highest, **{f"{name}_p{p}": value for p, value in values.percentiles.items()}}
    return row | {f"{level}s": _findings(data, case, level) for level in ("error", "warning", "note")}


def _lesions_of(case: CaseNumbers) -> Iterator[Row]:
    for region, lesions in case.lesions.items():
        for number, lesion in enumerate(lesions, 1):
            row: Row = {
                "case": case.name, "patient": case.patient, "region": region, "lesion": number, "voxels": lesion.voxels,
                "volume_mm3": lesion.volume_mm3, "size_class": size_class(lesion.volume_mm3, SIZE_EDGES_MM3),
                "labels": " ".join(map(str, lesion.labels)),
            }  # fmt: skip
            row |= {f"{axis}_mm": value for axis, value in zip(AXES, lesion.centre_mm, strict=True)}
            row |= {f"place_{axis}": value for axis, value in zip(AXES, lesion.place or (), strict=False)}
            yield row
