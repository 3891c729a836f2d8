"""Orientations, world frames and voxel sizes over a set."""

import pytest

from mets3d.data.set_findings.geometry import geometry_findings
from tests.builders.summaries import summary


def whats(*cases: object) -> list[str]:
    return [finding.what for finding in geometry_findings(cases)]  # type: ignore[arg-type]


def test_one_cohort_is_silent() -> None:
    assert whats(*(summary(number) for number in range(4))) == []


def test_atlas_files_of_two_challenges() -> None:
    """RAS and LPS with the origin (0, 239, 0): y from 239 to 478, and from 0 to 239."""
    glioma = [
        summary(9 + number, orientation="LPS", first_mm=(-239.0, 0.0, 0.0), last_mm=(0.0, 239.0, 154.0))
        for number in (0, 1)
    ]
    orientations, frames = geometry_findings([summary(1), *glioma])
    assert (orientations.severity, frames.severity) == ("note", "note")
    assert "LPS in 2 cases (BraTS-MET-00009-000, BraTS-MET-00010-000); RAS in 1 case" in orientations.detail
    assert "x -239..0 y 0..239 z 0..154 mm in 2 cases" in frames.detail


@pytest.mark.parametrize(
    ("spacing_mm", "found"),
    [
        ((0.41, 0.41, 6.0), []),
        ((4.1, 1.0, 1.0), []),
        ((0.2, 1.0, 1.0), ["voxel size unlike the others'"]),
        ((1.0, 1.0, 13.0), ["voxel size unlike the others'"]),
    ],
)
def test_a_voxel_size_unlike_the_others(spacing_mm: tuple[float, float, float], found: list[str]) -> None:
    assert whats(summary(1), summary(2), summary(3, spacing_mm=spacing_mm, brain_voxels=None)) == found


def test_a_brain_of_another_size() -> None:
    small = summary(3, brain_voxels=700_000)
    assert [(one.case, one.what) for one in geometry_findings([summary(1), summary(2), small])] == [
        (small.name, "brain volume unlike the others'")
    ]
    assert whats(summary(1), summary(2), summary(3, brain_voxels=800_000)) == []


def test_cases_that_cannot_be_read_are_left_out() -> None:
    unread = summary(3, shape=None, spacing_mm=None, first_mm=None, last_mm=None, orientation="")
    assert whats(summary(1), unread) == []
