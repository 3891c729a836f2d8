"""Writes names and colours of the labels as 3D Slicer and ITK-SNAP read them, beside label maps.

docs/viewing.md says how they are loaded.
"""

from __future__ import annotations

from mets3d.files import replacing
from mets3d.regions import BACKGROUND, LABEL_MEANINGS, LABEL_NAMES, Target, label_colours
from mets3d.rundir import ExportDir, PredictionsDir


def write_colour_tables(folder: PredictionsDir | ExportDir, target: Target) -> None:
    """Writes both tables, of the labels that predictions with this target can hold; one that is there is kept."""
    for file, table in ((folder.slicer_table, slicer_table), (folder.itk_snap_table, itk_snap_table)):
        with replacing(file, keep_equal=True) as temporary:
            temporary.write_text(table(target), encoding="utf-8")


def slicer_table(target: Target) -> str:
    """Returns a colour table of 3D Slicer: label, name, red, green, blue and opacity (0 to 255), by spaces."""
    colours = {BACKGROUND: (0, 0, 0), **label_colours(target.labels)}
    rows = [
        f"{label} {_name(label).replace(' ', '_')} {' '.join(map(str, colour))} {0 if label == BACKGROUND else 255}"
        for label, colour in colours.items()
    ]
    return "\n".join(["# Color table file", f"# {len(rows)} values", *rows, ""])


def itk_snap_table(target: Target) -> str:
    """Returns a label description file of ITK-SNAP.

    Label, red, green, blue (0 to 255), opacity (0 to 1), whether it is seen in slices and as a surface, name.
    """
    rule = "#" * 48
    rows = [f'{BACKGROUND:5} {0:5} {0:4} {0:4} {0:8} {0:2} {0:2}    "Clear Label"']
    for label, (red, green, blue) in label_colours(target.labels).items():
        rows.append(f'{label:5} {red:5} {green:4} {blue:4} {1:8} {1:2} {1:2}    "{_name(label)}"')
    columns = "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL"
    return "\n".join([rule, "# ITK-SnAP Label Description File", "# File format:", columns, rule, *rows, ""])


def _name(label: int) -> str:
    return LABEL_NAMES[label] if label == BACKGROUND else f"{LABEL_NAMES[label]} {LABEL_MEANINGS[label]}"
