"""Knows nnU-Net's raw data, version 1: dataset.json with `modality`, files CASE_0000.nii.gz, one a channel."""

from mets3d.data.layouts.dataset_json import each_dataset
from mets3d.data.layouts.layout import Found, Layout
from mets3d.data.layouts.msd import holds_whole_images
from mets3d.data.layouts.nnunet_raw import add_cases, ending_of
from mets3d.data.tree import Tree

NAME = "nnU-Net raw v1"


def _find(tree: Tree, found: Found) -> None:
    for dataset in each_dataset(tree, found, "modality"):
        if not holds_whole_images(dataset):
            add_cases(dataset, NAME, ending_of(dataset), tree, found)


LAYOUT = Layout(NAME, _find)
