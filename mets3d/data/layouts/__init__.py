"""Knows how data sets lay out their files: one file a layout, and the table that lists them. Imports no nibabel."""

from mets3d.data.layouts import bids, brainmetshare, brats_2018, brats_mets, flat, msd, nnunet_v1, nnunet_v2, ucsf_bmsr
from mets3d.data.layouts.layout import Found, Layout, Placed
from mets3d.data.layouts.own import own_layout
from mets3d.data.layouts.proposal import propose

__all__ = ["KNOWN", "Found", "Layout", "Placed", "own_layout", "propose"]

# In this order each takes its files out of the tree: what is surest comes first, what takes any name comes last.
KNOWN: tuple[Layout, ...] = (
    msd.LAYOUT,
    nnunet_v2.LAYOUT,
    nnunet_v1.LAYOUT,
    brats_mets.LAYOUT,
    bids.LAYOUT,
    ucsf_bmsr.LAYOUT,
    brainmetshare.LAYOUT,
    brats_2018.LAYOUT,
    flat.LAYOUT,
)
