"""Which preparations a MONAI bundle can hold."""

import pytest

from mets3d.data.cases import SEQUENCES
from mets3d.data.normalise import Normalisation
from mets3d.data.plan import Plan
from mets3d.release.bundle import check_plan


def test_one_voxel_size_and_z_scores_alone() -> None:
    check_plan(Plan(SEQUENCES, (1.0, 1.0, 1.0), 2))
    with pytest.raises(ValueError, match=r"--bundle: .* this run has voxels in each case's own plane; leave out"):
        check_plan(Plan(SEQUENCES, "in_plane", 0))
    with pytest.raises(ValueError, match=r"--bundle: .* this run has z-score inside the brain.*; clipped at the 99"):
        check_plan(Plan(SEQUENCES, (1.0, 1.0, 1.0), 0, intensities=Normalisation(clip_percentile=99.0)))
