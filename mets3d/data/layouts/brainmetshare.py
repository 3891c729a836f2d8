"""Knows Stanford's BrainMetShare: Mets_001/{t1_pre,t1_gd,flair,bravo,seg}.nii.gz, one label.

`bravo`, a gradient echo with contrast, is not read: t1c is the spin echo `t1_gd`.
"""

from mets3d.data.layouts.case_folders import CaseFolders
from mets3d.regions import ET_LABEL

LAYOUT = CaseFolders(
    name="BrainMetShare",
    labels="label 1 ET",
    separator=None,
    words={"t1_pre": "t1n", "t1_gd": "t1c", "flair": "t2f", "seg": "seg", "bravo": None},
    label_map={1: ET_LABEL},
    sure=frozenset({"bravo"}),  # the other words are used by hospitals with labels of their own
    named=r"mets[-_]?\d+",
).layout()
