"""Names and colours of the labels, read back as 3D Slicer and ITK-SNAP document their files."""

from __future__ import annotations

import re

import pytest

from mets3d.data.nifti import write_image
from mets3d.evaluation.folders import References, file_pairs
from mets3d.inference.colour_tables import itk_snap_table, slicer_table, write_colour_tables
from mets3d.regions import Target
from mets3d.rundir import PredictionsDir, mapped_cases
from tests.builders.cases import RAS, two_lesions

# Okabe and Ito's orange, reddish purple, sky blue and bluish green, in their own numbers.
COLOURS = {1: (204, 121, 167), 2: (230, 159, 0), 3: (86, 180, 233), 4: (0, 158, 115)}
SHORT = {1: "NETC", 2: "SNFH", 3: "ET", 4: "RC"}


@pytest.mark.parametrize("kind", ["regions", "labels"])
@pytest.mark.parametrize("cavity", [False, True])
def test_both_tables_name_and_colour_every_label_that_a_prediction_can_hold(kind, cavity):
    target = Target(kind, cavity)
    wanted = {label: COLOURS[label] for label in (1, 2, 3, 4)[: 3 + cavity]}

    head, amount, *rows = slicer_table(target).splitlines()
    assert head.startswith("# Color table file")
    assert amount == f"# {len(rows)} values"
    cells = [row.split(" ") for row in rows]
    assert {len(row) for row in cells} == {6}, "a name has no space"
    assert cells[0] == ["0", "background", "0", "0", "0", "0"]
    assert {int(row[0]): tuple(map(int, row[2:5])) for row in cells[1:]} == wanted
    assert {row[5] for row in cells[1:]} == {"255"}
    assert all(row[1].startswith(f"{SHORT[int(row[0])]}_") for row in cells[1:])

    lines = [line for line in itk_snap_table(target).splitlines() if not line.startswith("#")]
    form = re.compile(r'\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+([01])\s+([01])\s+([01])\s+"([^"]+)"')
    found = [form.fullmatch(line).groups() for line in lines]
    assert found[0] == ("0", "0", "0", "0", "0", "0", "0", "Clear Label")
    assert {int(row[0]): tuple(map(int, row[1:4])) for row in found[1:]} == wanted
    assert {row[4:7] for row in found[1:]} == {("1", "1", "1")}
    assert all(row[7].startswith(f"{SHORT[int(row[0])]} ") for row in found[1:])


def test_the_tables_are_no_predictions(tmp_path):
    """Readers of a folder of predictions see its label maps and nothing else."""
    for folder in ("predictions", "references"):
        for case in ("BraTS-MET-00001-000", "BraTS-MET-00002-000"):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_image(tmp_path / folder / f"{case}.nii.gz", two_lesions(), RAS)
    predictions = PredictionsDir(tmp_path / "predictions")
    before = file_pairs(predictions.path, References(tmp_path / "references"))
    write_colour_tables(predictions, Target())
    assert {file.name for file in predictions.path.iterdir()} >= {"labels_3d_slicer.ctbl", "labels_itk_snap.txt"}
    after = file_pairs(predictions.path, References(tmp_path / "references"))
    assert after == before
    assert file_pairs(tmp_path / "references", References(predictions.path)).problems == []
    assert mapped_cases(predictions.path) == {"BraTS-MET-00001-000", "BraTS-MET-00002-000"}
