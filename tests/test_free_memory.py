"""What is free within control groups of either version."""

from pathlib import Path

import psutil
import pytest

from mets3d.free_memory import free_memory


def group(path: Path, limit: str, used: str, cached: int, names: tuple[str, str]) -> None:
    path.mkdir(parents=True, exist_ok=True)
    (path / names[0]).write_text(f"{limit}\n")
    (path / names[1]).write_text(f"{used}\n")
    (path / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")


def test_the_smallest_control_group_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 10_000}))
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
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 10_000}))
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("5:cpu:/x\n4:memory:/docker/0123\n0::/\n")
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    group(tmp_path / "sys/fs/cgroup/memory", "9223372036854771712", "5", 0, names)
    assert free_memory(tmp_path) == 10_000
    group(tmp_path / "sys/fs/cgroup/memory", "7000", "5000", 0, names)
    assert free_memory(tmp_path) == 2000
