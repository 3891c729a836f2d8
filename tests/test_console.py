"""Who prints, and a reader that leaves before the end, as under `| head`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mets3d.console import READER_LEFT, is_main_process, progress_of
from tests.builders.runs import ROOT

HELP = [["-m", "mets3d", "--help"], ["-m", "mets3d", "predict", "--help"], ["train.py", "--help"]]
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}


def into(output: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs a script with this file as its standard output."""
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=ENVIRONMENT, stdout=output, stderr=subprocess.PIPE, text=True,
        timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("words", HELP, ids=" ".join)
def test_a_reader_that_has_left_is_no_error(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = into(writer, *words)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (READER_LEFT, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a full disk is played by /dev/full")  # noqa: PTH110
@pytest.mark.parametrize("words", HELP, ids=" ".join)
def test_a_full_disk_is_one_message(words: list[str]) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123
        done = into(full.fileno(), *words)
    assert done.returncode == 2
    assert done.stderr.startswith("the output cannot be written: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_closed_output_is_no_error() -> None:
    close = "import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, '-m', 'mets3d', '--help'])"
    done = into(subprocess.DEVNULL, "-c", close)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("rank", "prints"), [(None, True), ("0", True), ("1", False)])
def test_rank_0_alone_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: str | None, prints: bool
) -> None:
    if rank is None:
        monkeypatch.delenv("RANK", raising=False)
    else:
        monkeypatch.setenv("RANK", rank)
    assert is_main_process() is prints
    progress_of("work")(1, 1, "last")
    assert bool(capsys.readouterr().err) is prints


def test_progress_is_a_line_at_every_tenth_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show: Callable[[int, int, str], None] = progress_of("work")
    for done in range(1, 41):
        show(done, 40, f"case {done}")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "work 4/40  case 4"
    assert lines[-1] == "work 40/40  case 40"
    assert len(lines) == 10


ASCII = ENVIRONMENT | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
NEEDS_A_STORE = [["-m", "mets3d", "check"], ["train.py", "--config", "quickstart"], ["-m", "mets3d.launch", "train.py"]]


def answer(words: list[bytes], folder: Path) -> tuple[int, bytes]:
    done = subprocess.run(
        [os.fsencode(sys.executable), *words],
        cwd=ROOT, env=ASCII | {"HOME": str(folder / "none")}, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_paths_are_utf8_whatever_the_locale(tmp_path: Path) -> None:
    code, error = answer([b"-m", b"mets3d", b"check", "Métastases".encode()], tmp_path)
    assert code == 2
    assert "Métastases: no such folder".encode() in error
    code, error = answer([b"train.py", b"--config", b"quickstart", "--data.store=Bâle".encode()], tmp_path)
    assert code == 2
    assert "Bâle".encode() in error


@pytest.mark.parametrize("words", NEEDS_A_STORE, ids=" ".join)
def test_a_path_of_other_bytes_is_refused(words: list[str], tmp_path: Path) -> None:
    code, error = answer([*map(os.fsencode, words), b"--data.store=M\xe9tastases"], tmp_path)
    assert (code, error) == (
        2, b"--data.store=M\\xe9tastases: expected UTF-8, found other bytes; rename the file or folder\n"
    )  # fmt: skip
