"""Agreement of processes: real gloo processes with different signals and errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from accelerate import Accelerator

from mets3d.training.failure import TrainingError
from mets3d.training.stop import StopWish
from mets3d.training.together import StepBoundary, together
from tests.builders.runs import forget_accelerator
from tests.builders.warm import launch

SCRIPT = """
import json, signal, sys
from pathlib import Path
from accelerate import Accelerator
from mets3d.training.failure import TrainingError
from mets3d.training.stop import StopWish
from mets3d.training.together import StepBoundary, is_first_to_fail, together

accelerator = Accelerator()
rank, said = accelerator.process_index, []

def note(work):
    try:
        said.append(work())
    except TrainingError as error:
        said.append(f"TrainingError: {error}")

def raise_in(ranks, error):
    with together(accelerator):
        if rank in ranks:
            raise error

def nested():
    with together(accelerator):
        if rank == 0:
            raise ValueError("before the inner block")
        raise_in((), None)

boundary, wish = StepBoundary(accelerator), StopWish()
note(lambda: boundary.agreed(wish))
wish.signal = signal.SIGHUP if rank == 0 else signal.SIGTERM
note(lambda: boundary.agreed(wish))
note(lambda: raise_in((), None))
note(lambda: raise_in((1,), OSError("of rank 1")))
note(lambda: raise_in((0, 1), ValueError(f"of rank {rank}")))
note(nested)
if rank == 1:
    with wish.noting(KeyError, OSError):
        raise OSError("a case is gone")
note(lambda: boundary.agreed(wish))
accelerator.wait_for_everyone()
said.append(is_first_to_fail())
Path(sys.argv[1], str(rank)).write_text(json.dumps(said))
"""


@pytest.mark.slow
def test_two_processes_say_the_same(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    done = launch(str(script), str(tmp_path))
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / str(rank)).read_text(encoding="utf-8")) for rank in range(2))
    assert first[:-1] == second[:-1]
    assert first[:-1] == [
        0,
        15,  # SIGHUP is 1, SIGTERM 15
        None,
        "TrainingError: of rank 1",
        "TrainingError: of rank 0",
        "TrainingError: before the inner block",
        "TrainingError: a case is gone",
    ]
    assert sorted([first[-1], second[-1]]) == [False, True]


def test_one_process_keeps_its_errors() -> None:
    forget_accelerator()
    accelerator = Accelerator(cpu=True)
    with pytest.raises(KeyError), together(accelerator):
        raise KeyError("mine")
    wish = StopWish()
    assert StepBoundary(accelerator).agreed(wish) == 0
    with wish.noting(OSError):
        raise OSError("gone")
    assert wish
    with pytest.raises(TrainingError, match="gone") as raised:
        StepBoundary(accelerator).agreed(wish)
    assert isinstance(raised.value.__cause__, OSError)
    forget_accelerator()
