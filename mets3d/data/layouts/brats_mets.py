"""Knows BraTS-METS 2023-2026, and what else BraTS has named in this way since 2023.

CASE/CASE-{t1n,t1c,t2w,t2f,seg}.nii.gz at any depth, so that the UCSD subfolder of a download is read too.
"""

from mets3d.data.layouts.case_folders import CaseFolders

LAYOUT = CaseFolders(
    name="BraTS-METS 2023-2026",
    labels="labels 1 NETC, 2 SNFH, 3 ET, 4 RC",
    separator="-",
    words={word: word for word in ("t1n", "t1c", "t2w", "t2f", "seg")},
).layout()
