"""What a scan's own voxels show, and what is fine."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mets3d.data import header_findings
from mets3d.data.cases import Case, Finding
from mets3d.data.check import check_case
from mets3d.data.voxel_findings import intensity_findings
from mets3d.settings import Data
from tests.builders.cases import SHAPE, make_case, scan, two_lesions
from tests.builders.oddities import patient


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return make_case(tmp_path_factory.mktemp("case"))


def whats(findings: list[Finding]) -> list[str]:
    return [finding.what for finding in findings]


def brain_values(count: int = 100_000) -> np.ndarray:
    return np.random.default_rng(0).normal(500, 100, count).astype(np.float32)


@pytest.mark.parametrize("deviations", [3, 14, 40])
def test_peaks_of_real_scans_are_silent(case: Case, deviations: int) -> None:
    values = brain_values()
    values[:50] = 500 + 100 * deviations
    assert intensity_findings(case, "t1c", values, 0.0) == []


@pytest.mark.parametrize(("value", "voxels"), [(1e7, 1), (-1e7, 1), (1e5, 1), (1e4, 2000)])
def test_outliers_that_take_the_scale(case: Case, value: float, voxels: int) -> None:
    values = brain_values()
    values[:voxels] = value
    (finding,) = intensity_findings(case, "t1c", values, 0.0)
    assert (finding.severity, finding.what) == ("warning", "outlier takes the scale")
    assert f"t1c has {voxels:,} of 100,000 brain voxels up to {value:g}" in finding.detail
    assert "preprocess.clip_percentile" in finding.advice


def test_heavy_tails_are_silent(case: Case) -> None:
    values = np.random.default_rng(0).standard_t(3, 100_000).astype(np.float32) * 50 + 500
    assert intensity_findings(case, "t1c", values, 0.0) == []


@pytest.mark.parametrize(("zeros", "found"), [(9_000, []), (24_000, []), (30_000, ["part of the brain"])])
def test_how_much_of_the_brain_a_sequence_shows(case: Case, zeros: int, found: list[str]) -> None:
    values = brain_values()
    values[:zeros] = 0
    assert whats(intensity_findings(case, "t2w", values, 0.0)) == found


def test_a_hole_open_to_the_outside_is_none(tmp_path: Path) -> None:
    notched = scan(0)
    notched[5:7, 9:12, 4:6] = 0
    assert check_case(make_case(tmp_path / "open", volumes={"t2f": notched}), Data()) == []
    closed = scan(0)
    closed[5:7, 9:11, 4:6] = 0
    (finding,) = check_case(make_case(tmp_path / "closed", volumes={"t2f": closed}), Data())
    assert finding.what == "zeros inside the brain"
    assert "t2f in 8" in finding.detail


def test_few_zeros_inside_are_silent(tmp_path: Path) -> None:
    speckled = scan(0)
    speckled[5, 9, 4:8:2] = 0
    assert check_case(make_case(tmp_path, volumes={"t2f": speckled}), Data()) == []


def test_a_brain_in_its_own_box_is_not_cut(tmp_path: Path) -> None:
    """A ball meets the sides of its box with a few voxels."""
    shape = (20, 20, 20)
    ball = np.linalg.norm(np.indices(shape) - 9.5, axis=0) < 10
    volumes = {
        kind: np.where(ball, np.random.default_rng(number).integers(100, 900, shape), 0).astype(np.int16)
        for number, kind in enumerate(("t1n", "t1c", "t2w", "t2f"))
    }
    assert check_case(make_case(tmp_path, volumes={**volumes, "seg": None}), Data()) == []


@pytest.mark.parametrize(
    ("voxels", "severity"),
    [
        ([(0, 0, 0)], "warning"),  # a lesion of its own, all of it outside
        ([(1, 4, 4)], "warning"),  # one of 38 voxels
        ([(1, 4, 4), (1, 4, 3)], "error"),
        ([(0, 0, 0), (11, 13, 9), (0, 13, 0)], "warning"),  # three stray voxels
    ],
)
def test_one_voxel_of_a_lesion_outside_is_a_warning(
    tmp_path: Path, voxels: list[tuple[int, int, int]], severity: str
) -> None:
    labels = two_lesions()
    for voxel in voxels:
        labels[voxel] = 2
    (finding,) = check_case(make_case(tmp_path, volumes={"seg": labels}), Data())
    assert (finding.severity, finding.what) == (severity, "label outside the brain")
    assert finding.detail.startswith("1 label voxel lies" if len(voxels) == 1 else f"{len(voxels)} label voxels lie")


def test_up_to_a_hundredth_of_a_large_lesion_is_a_warning(tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[2:10, 2:12, 2:8] = 2  # 480 voxels, the whole brain
    labels[1, 5, 4:8] = 2
    (finding,) = check_case(make_case(tmp_path / "four", volumes={"seg": labels}), Data())
    assert finding.severity == "warning"
    labels[1, 6, 4:6] = 2
    (finding,) = check_case(make_case(tmp_path / "six", volumes={"seg": labels}), Data())
    assert finding.severity == "error"


def test_illegal_labels_become_background_with_their_number(tmp_path: Path) -> None:
    volumes = patient(1)
    volumes["seg"] = volumes["seg"].astype(np.int16)
    volumes["seg"][5, 5, 5:7] = 6
    volumes["seg"][5, 5, 4] = -3
    (finding,) = check_case(make_case(tmp_path, volumes=volumes), Data(illegal_labels="background"))
    assert (finding.severity, finding.what) == ("warning", "unknown label")
    assert "label 6 in 2 voxels, label 255 or outside 0 to 255 in 1 voxel" in finding.detail
    assert finding.detail.endswith("became background")


@pytest.mark.parametrize(
    ("memory", "found"),
    [(107_520, []), (107_519, ["huge case"]), (26_880, ["huge case"]), (26_879, ["larger than the memory"])],
)
def test_a_case_that_is_too_large_for_the_machine(
    case: Case, monkeypatch: pytest.MonkeyPatch, memory: int, found: list[str]
) -> None:
    """12 x 14 x 10 voxels, four scans of 4 bytes: 26,880 bytes, of which a worker may hold four times as much."""
    machine = SimpleNamespace(virtual_memory=lambda: SimpleNamespace(total=memory))
    monkeypatch.setattr(header_findings, "psutil", machine)
    assert whats(check_case(case, Data())) == found
