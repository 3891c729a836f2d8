"""Lists every column of lesions.csv with its unit and meaning."""

from __future__ import annotations

from mets3d.columns import Column, names_of
from mets3d.evaluation.scores import KEY_COLUMNS

_NSD = "share of the border voxels within {} of the other border"
LESIONS_TABLE = (
    *KEY_COLUMNS,
    Column("lesion", "number within case and region: lesions of the reference before false ones, the largest first"),
    Column("kind", "found, missed, false, or ignored as too small to count"),
    Column("size_class", "class of the reference's volume, of a false lesion that of the predicted volume"),
    Column("reference_volume_mm3", "volume in the reference; of a false lesion 0", "mm3"),
    Column(
        "prediction_volume_mm3",
        "volume of the predicted components that match it, each in full; of a false lesion its own",
        "mm3",
    ),
    Column(
        "x_mm",
        "towards the right: scanner coordinate (RAS) of the centroid, or of the voxel i, j, k where the "
        "centroid lies outside the lesion",
        "mm",
    ),
    Column("y_mm", "the same towards the front", "mm"),
    Column("z_mm", "the same towards the head", "mm"),
    Column(
        "i", "index from 0 of the lesion's voxel nearest to its centroid, along the first axis of the file", "voxels"
    ),
    Column("j", "the same along the second axis", "voxels"),
    Column("k", "the same along the third axis", "voxels"),
    Column("dice", "Dice of the lesion and what matches it; missed or false: 0"),
    Column("hd95", "95th percentile of the distances between their borders; missed or false: the rules' penalty", "mm"),
    Column("nsd_0.5", f"{_NSD.format('0.5 mm')}; missed or false: 0"),
    Column("nsd_1.0", f"{_NSD.format('1 mm')}; missed or false: 0"),
    Column("nsd_spacing", f"{_NSD.format('the smallest side of a voxel')}; missed or false: 0"),
)
LESION_COLUMNS = names_of(LESIONS_TABLE)
