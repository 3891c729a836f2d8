"""Knows BraTS 2018-2021: CASE/CASE_{t1,t1ce,t2,flair,seg}.nii.gz or .nii, also below HGG and LGG. Label 4 is ET."""

from mets3d.data.layouts.case_folders import CaseFolders
from mets3d.regions import ET_LABEL

LABELS = "labels 1 NETC, 2 oedema, 4 ET"
LABEL_MAP = {4: ET_LABEL}

LAYOUT = CaseFolders(
    name="BraTS 2018-2021",
    labels=LABELS,
    separator="_",
    words={"t1": "t1n", "t1ce": "t1c", "t2": "t2w", "flair": "t2f", "seg": "seg"},
    label_map=LABEL_MAP,
    other_reference=r".*_segm",  # W39_1998.09.19_Segm.nii of BraTS20_Training_355
).layout()
