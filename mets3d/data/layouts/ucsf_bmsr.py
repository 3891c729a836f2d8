"""Knows UCSF-BMSR: 100101A/100101A_{T1pre,T1post,T2Synth,FLAIR,seg}.nii.gz, and a subtraction, which is not read.

The letter is the examination, the number the patient. References have the label 1 alone, for enhancing metastases.
"""

from mets3d.data.layouts.case_folders import CaseFolders
from mets3d.regions import ET_LABEL

LAYOUT = CaseFolders(
    name="UCSF-BMSR",
    labels="label 1 ET",
    separator="_",
    words={
        "t1pre": "t1n",
        "t1post": "t1c",
        "t2synth": "t2w",
        "flair": "t2f",
        "seg": "seg",
        "subtraction": None,
        "brainmask": None,
    },
    label_map={1: ET_LABEL},
    sure=frozenset({"t2synth", "subtraction"}),  # the other words are used by hospitals with labels of their own
    named=r"\d{5,7}[a-z]",
).layout()
