"""How many processes share the cases: by cores, by memory within control groups, by how much there is to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from mets3d.data import memory
from mets3d.data.cases import Case
from mets3d.data.memory import bytes_of_worker, choose_workers, free_memory, voxels_of
from tests.builders.cases import make_case

HUGE = 161_000_000


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A host of 16 cores and 64 GB, and a data set of 100 cases that all have the same size."""
    facts = {"cores": 16, "free": 64_000_000_000, "voxels": HUGE}
    monkeypatch.setattr(memory, "cores", lambda: facts["cores"])
    monkeypatch.setattr(memory, "free_memory", lambda: facts["free"])
    monkeypatch.setattr(memory, "voxels_of", lambda _case: facts["voxels"])
    return facts


CASES = [Case("A", Path(), {}, None, "A")] * 100


def test_memory_or_cores_set_the_number_and_memory_is_said(host: dict[str, int]) -> None:
    need = bytes_of_worker(HUGE, 4)
    fit = host["free"] // need
    assert 6 < fit < 16
    chosen = choose_workers(None, CASES, 4)
    assert chosen.jobs == fit
    assert f"{fit} processes of the 16 that the cores allow: 64.0 GB are free, a case of 161 million" in chosen.remark
    host["free"] = 17 * need
    assert (choose_workers(None, CASES, 4).jobs, choose_workers(None, CASES, 4).remark) == (16, "")
    host["free"] = need // 2
    assert choose_workers(None, CASES, 4).jobs == 1


def test_more_than_fit_are_given_with_a_warning(host: dict[str, int]) -> None:
    chosen = choose_workers(16, CASES, 4)
    assert chosen.jobs == 16
    assert chosen.remark.startswith("--jobs 16: memory holds ")
    assert choose_workers(4, CASES, 4).remark == ""
    assert choose_workers(16, CASES[:2], 4).remark == "", "two cases take two of them"


def test_a_little_work_is_done_by_one(host: dict[str, int]) -> None:
    host["voxels"] = 1680
    assert choose_workers(None, CASES, 4).jobs == 1


def test_two_sequences_need_less_than_four() -> None:
    assert bytes_of_worker(HUGE, 2) < bytes_of_worker(HUGE, 4)


def test_voxels_are_of_the_header(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    assert voxels_of(case) == 12 * 14 * 10
    for file in case.files:
        file.write_bytes(b"no header")
    assert voxels_of(case) == 0


def group(path: Path, limit: str, used: str, cached: int, names: tuple[str, str]) -> None:
    path.mkdir(parents=True, exist_ok=True)
    (path / names[0]).write_text(f"{limit}\n")
    (path / names[1]).write_text(f"{used}\n")
    (path / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")


def test_the_smallest_control_group_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 10_000}))
    assert free_memory(tmp_path) == 10_000
    names = ("memory.max", "memory.current")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/job/step\n")
    top = tmp_path / "sys/fs/cgroup"
    group(top / "job/step", "max", "5", 0, names)
    assert free_memory(tmp_path) == 10_000
    group(top / "job", "6000", "4000", 1500, names)
    assert free_memory(tmp_path) == 3500, "cached files can be dropped"
    group(top / "job/step", "1000", "4000", 0, names)
    assert free_memory(tmp_path) == 0


def test_version_1_and_a_container_whose_path_is_the_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 10_000}))
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("5:cpu:/x\n4:memory:/docker/0123\n0::/\n")
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    group(tmp_path / "sys/fs/cgroup/memory", "9223372036854771712", "5", 0, names)
    assert free_memory(tmp_path) == 10_000
    group(tmp_path / "sys/fs/cgroup/memory", "7000", "5000", 0, names)
    assert free_memory(tmp_path) == 2000
