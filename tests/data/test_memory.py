"""How many processes share the cases: by cores, by memory within control groups, by how much there is to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from mets3d.data import memory
from mets3d.data.cases import Case
from mets3d.data.memory import bytes_of_worker, choose_workers, voxels_of
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
