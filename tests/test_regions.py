"""Labels to channels and back."""

import numpy as np
import pytest
import torch

from mets3d.regions import ET, RC, TC, WT, Target, scored_regions

LABELS = np.array([0, 1, 2, 3, 4])


def test_regions_are_the_challenges_unions_of_labels() -> None:
    # BraTS-METS 2023: WT = 1+2+3, TC = 1+3, ET = 3; RC = 4 since 2024.
    assert WT.mask(LABELS).tolist() == [False, True, True, True, False]
    assert TC.mask(LABELS).tolist() == [False, True, False, True, False]
    assert ET.mask(LABELS).tolist() == [False, False, False, True, False]
    assert RC.mask(LABELS).tolist() == [False, False, False, False, True]


def test_cavity_is_a_fourth_region_only_when_switched_on() -> None:
    assert [region.name for region in scored_regions()] == ["WT", "TC", "ET"]
    assert Target("regions", cavity=True).names == ("WT", "TC", "ET", "RC")
    assert Target("labels", cavity=True).names == ("background", "NETC", "SNFH", "ET", "RC")


@pytest.mark.parametrize("kind", ["regions", "labels"])
@pytest.mark.parametrize("cavity", [False, True])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_decoding_the_masks_of_a_label_map_gives_the_label_map(kind: str, cavity: bool, library: str) -> None:
    target = Target(kind, cavity)  # type: ignore[arg-type]
    labels = np.random.default_rng(0).integers(0, 5 if cavity else 4, size=(5, 6, 7)).astype(np.uint8)
    if library == "torch":
        masks = torch.stack(target.masks(torch.from_numpy(labels))).float()
        assert torch.equal(target.decode(masks).to(torch.uint8), torch.from_numpy(labels))
    else:
        decoded = target.decode(np.stack(target.masks(labels)).astype(np.float32))
        assert np.array_equal(decoded, labels)


def test_inner_region_is_painted_over_outer_whatever_its_probability() -> None:
    probabilities = np.array([0.9, 0.2, 0.6])[:, None]  # WT, TC, ET of one voxel
    assert Target().decode(probabilities).tolist() == [3]
    assert Target().decode(probabilities, threshold=0.7).tolist() == [2]


def test_threshold_is_exceeded_not_reached() -> None:
    assert Target().decode(np.full((3, 1), 0.5)).tolist() == [0]


def test_background_is_no_foreground_channel() -> None:
    assert Target("labels").names[Target("labels").foreground] == ("NETC", "SNFH", "ET")
    assert Target("regions").names[Target("regions").foreground] == ("WT", "TC", "ET")
