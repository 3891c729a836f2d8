"""Processes that compile at once: each runs the code of its own source."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from numba.core.caching import IndexDataCacheFile

from tests.builders.runs import ROOT

SOURCE = """
from mets3d.ops.numba_cache import compiled

@compiled
def f(x):
    return x + {added}
"""
OTHER = """
import sys
sys.path.insert(0, {folder!r})
import counted
print("asks", flush=True)
print(counted.f(1), flush=True)
"""


def module(folder: Path, added: int) -> Any:
    """Writes the source, as an installation does, and imports it."""
    file = folder / "counted.py"
    file.write_text(SOURCE.format(added=added), encoding="utf-8")
    os.utime(file, (added, added))
    sys.modules.pop("counted", None)
    importlib.invalidate_caches()
    return importlib.import_module("counted")


@pytest.fixture(autouse=True)
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    sys.modules.pop("counted", None)


def other_process(folder: Path) -> subprocess.Popen[str]:
    """Starts a process that calls the function, and waits until it is about to."""
    words = [sys.executable, "-B", "-c", OTHER.format(folder=str(folder))]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == "asks\n"
    return process


def let_it_come(process: subprocess.Popen[str]) -> None:
    """Waits until a process has read what is half-written, or waits for its turn."""
    until = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < until:
        locks = Path("/proc/locks").read_text(encoding="utf-8").splitlines()
        if any("->" in line and str(process.pid) in line.split() for line in locks):
            return
        time.sleep(0.05)


def answer(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=120)[0].strip()


def test_a_process_does_not_run_old_code_while_another_writes_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module(tmp_path, 1).f(1) == 2
    new = module(tmp_path, 2)
    begun: list[subprocess.Popen[str]] = []
    save = IndexDataCacheFile._save_data

    def between_index_and_data(self: Any, *arguments: Any) -> None:
        begun.append(other_process(tmp_path))
        let_it_come(begun[0])
        save(self, *arguments)

    monkeypatch.setattr(IndexDataCacheFile, "_save_data", between_index_and_data)
    assert new.f(1) == 3
    assert answer(begun[0]) == "3"
