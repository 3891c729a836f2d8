"""The hostile day finds what is lost: of small programs, the sound one alone passes."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mets3d.files import write_text
from tests.builders.runs import ROOT
from tests.faults import stages
from tests.faults.day import FAULTS
from tests.faults.stages import Bench, Stage, bench
from tests.faults.steps import Look, growing

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="faults are made in forks"),
    # Of Python 3.12; a fork runs one of the programs below, which wait for no other thread.
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),
]
KILLED, FULL = "killed at every file-system operation", "disk full from every such operation on"


def sound(folder: Path) -> int:
    """Writes two files, each whole or not at all, and says what hindered it."""
    try:
        return with_tracebacks(folder)
    except OSError as error:
        print(error)
        return 1


def with_tracebacks(folder: Path) -> int:
    for name in ("a.txt", "b.txt"):
        write_text(folder / name, "whole")
    return 0


def silent(folder: Path) -> int:
    try:
        return with_tracebacks(folder)
    except OSError:
        return 1


def hiding(folder: Path) -> int:
    sound(folder)
    return 0


def in_place(folder: Path) -> int:
    with (folder / "a.txt").open("w") as file:
        file.write("wh")
        file.flush()
        write_text(folder / "b.txt", "whole")
        file.write("ole")
    return 0


def littering(folder: Path) -> int:
    own = folder / f"{os.getpid()}.txt"
    own.write_text("whole")
    own.replace(folder / "a.txt")
    return 0


def refusing(folder: Path) -> int:
    return 2 if any(folder.iterdir()) else sound(folder)


@pytest.fixture
def on_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Path], int]], Bench]:
    def laid_out(program: Callable[[Path], int]) -> Bench:
        monkeypatch.setattr(stages, "mets3d", lambda words: program(Path(words[0])))
        place = tmp_path / "place"
        return bench(Stage("program", (str(place),), None, jobs=False), place)

    return laid_out


@pytest.mark.parametrize(
    ("program", "fault", "words"),
    [
        (in_place, KILLED, "a.txt is half-written"),
        (littering, KILLED, ".txt is there"),
        (refusing, KILLED, "given again it ends with 2"),
        (with_tracebacks, FULL, "a traceback: "),
        (silent, FULL, "exit code 1, and nothing says 'No space left on device'"),
        (hiding, FULL, "it ends as if all were well: b.txt is gone"),
    ],
)
def test_what_a_program_loses_is_found(
    on_bench: Callable[[Callable[[Path], int]], Bench], program: Callable[[Path], int], fault: str, words: str
) -> None:
    cell = FAULTS[fault](on_bench(program), 1)
    assert cell.tried >= 2
    assert words in "\n".join(cell.faults)


def test_a_sound_program_loses_nothing(on_bench: Callable[[Callable[[Path], int]], Bench]) -> None:
    at = on_bench(sound)
    cells = {fault: make(at, 1) for fault, make in FAULTS.items()}
    assert {fault: cell.faults for fault, cell in cells.items() if cell.faults} == {}
    assert cells[KILLED].tried >= 4  # to open and to rename each of two files
    assert cells[FULL].tried >= 2


@pytest.mark.parametrize(
    ("looks", "grows"),
    [
        ([Look(5000 * n, 405 + n % 2, 7 + n % 2, 2) for n in range(20)], []),
        ([Look(5000 * n, 411 + 0.9 * n, 7, 2) for n in range(20)], ["memory"]),
        ([Look(5000 * n, 405 + 8 * (n >= 7), 7, 2) for n in range(20)], []),
        ([Look(5000 * n, 300 + min(n, 4) * 50, 7 + n // 8, 2 + n // 8) for n in range(20)], ["handles", "threads"]),
    ],
    ids=["flat", "180 bytes a step", "a rise", "handles and threads"],
)
def test_what_grows_over_many_steps_is_named(looks: list[Look], grows: list[str]) -> None:
    assert growing(looks) == grows


@pytest.mark.slow
def test_evaluate_loses_nothing() -> None:
    # In a process of its own: forks of this one would inherit the threads of other tests.
    words = ["day", "--stage", "evaluate", "--fault", "killed at", "--stride", "6", "--jobs", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", *words],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| killed at every file-system operation | 3: nothing lost |" in done.stdout
