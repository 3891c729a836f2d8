"""Loader workers: unreachable for signals, gone with their parent, and never waited for in vain."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from mets3d.data import DataError, workers
from mets3d.data.loader import Samples, batches
from mets3d.data.workers import PREFETCH, _lost, _Making, _next, check_shared_memory, fetched
from mets3d.processes import STOP_SIGNALS

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more processes than cores


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@dataclass
class Item:
    """A batch without tensors."""

    number: int

    def share_memory(self) -> Item:
        return self

    def pin_memory(self) -> Item:
        return self


def make(order: int) -> Item:
    if order == 13:
        raise DataError("thirteen is not in the store")
    if order == 14:
        raise ZeroDivisionError("a mistake in the code")
    return Item(order)


@pytest.fixture
def running() -> Iterator[Any]:
    with closing(fetched(make, range(100), workers=2)) as items:
        assert next(items) == Item(0)
        yield items


def test_workers_ignore_what_stops_a_training_and_give_errors_as_their_message_alone(running: Any) -> None:
    children = multiprocessing.active_children()
    assert len(children) == 2
    for worker in children:
        for number in STOP_SIGNALS:
            os.kill(worker.pid or 0, number)
    assert [next(running).number for _ in range(12)] == list(range(1, 13))
    with pytest.raises(DataError, match=r"^thirteen is not in the store$"):
        next(running)
    assert all(not worker.is_alive() for worker in children), "none is left"


def test_a_mistake_in_the_code_keeps_its_traceback() -> None:
    text = _Making(make)[14].text
    assert "in make" in text
    assert text.endswith("ZeroDivisionError: a mistake in the code")


def test_without_workers_errors_are_their_own() -> None:
    assert [item.number for item in fetched(make, [3, 1], workers=0)] == [3, 1]
    with pytest.raises(ZeroDivisionError):
        next(fetched(make, [14], workers=0))


def test_a_killed_worker_is_one_message_where_a_batch_is_asked_for_and_nowhere_else(running: Any) -> None:
    assert signal.getsignal(signal.SIGCHLD) in (signal.SIG_DFL, None)  # torch's handler would raise in the join
    for worker in multiprocessing.active_children():
        worker.kill()
        worker.join(10)
    with pytest.raises(DataError, match="killed, most likely by the system because memory ran out"):
        list(running)


def test_a_connection_that_breaks_before_its_worker_is_known_to_be_dead_is_the_workers_death() -> None:
    reader, writer = os.pipe()
    worker = SimpleNamespace(sentinel=reader, exitcode=None)

    def join(_seconds: float) -> None:  # until then a process that dies has closed its files and no exit code
        worker.exitcode = -signal.SIGKILL

    worker.join = join

    def reset() -> Iterator[Item]:
        threading.Timer(0.2, os.close, [writer]).start()
        raise ConnectionResetError(104, "Connection reset by peer")
        yield

    with pytest.raises(DataError, match="killed, most likely"):
        _next(reset(), [worker])
    os.close(reader)


@pytest.mark.parametrize(
    ("codes", "message"),
    [([None, -7], "ended by a bus error: /dev/shm is full"), ([3, None], "lost with exit code 3"), ([None], None)],
)
def test_what_a_worker_ended_by_is_said(codes: list[int | None], message: str | None) -> None:
    said = _lost([SimpleNamespace(exitcode=code) for code in codes])
    assert said == message or (message is not None and said is not None and message in said)


ORPHANS = """
import multiprocessing, time
from mets3d.data.workers import fetched
from tests.data.test_workers import make
if __name__ == "__main__":
    items = fetched(make, range(100), workers=2)
    next(items)
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    time.sleep(100)
"""


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(ORPHANS, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT
    ) as parent:
        assert parent.stdout is not None
        orphans = [psutil.Process(int(word)) for word in parent.stdout.readline().split()]
        assert len(orphans) == 2
        parent.kill()
        _, alive = psutil.wait_procs(orphans, timeout=30)
        assert not alive


def test_shared_memory_is_counted_before_workers_start(phantom_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Default patch and batch: 2 samples of 128^3 voxels, four float16 images and a label each."""
    samples = Samples(phantom_store, ["BraTS-MET-90001-000"], patch=(128, 128, 128), seed=0)
    batch = 2 * 128**3 * (4 * 2 + 1)
    assert samples.bytes * 2 == batch
    needed = batch * (PREFETCH * 4 + 1)
    usage = shutil.disk_usage(phantom_store)
    monkeypatch.setattr(workers, "SHARED_MEMORY", phantom_store)
    for free, fits in ((needed, True), (needed - 1, False), (64 * 2**20, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _path, free=free: usage._replace(free=free))
        if fits:
            check_shared_memory(batch, workers=4, held=1)
        else:
            with pytest.raises(DataError, match="--ipc=host") as error:
                batches(samples, steps=range(3), batch_size=2, workers=4)
            assert f"{needed / 1e6:.0f} MB" in str(error.value)
            assert "data.workers=0" in str(error.value)
        check_shared_memory(batch, workers=0, held=1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=2 * needed - 1))
    with pytest.raises(DataError, match="2 processes"):
        check_shared_memory(batch, workers=4, held=1, processes=2)


FULL = """
import sys
from pathlib import Path
from types import SimpleNamespace
from mets3d.data import DataError, workers
from mets3d.data.loader import Samples, batches
if __name__ == "__main__":
    workers.check_shared_memory = lambda *_arguments, **_options: None
    import mets3d.data.loader
    mets3d.data.loader.check_shared_memory = workers.check_shared_memory
    store = Path(sys.argv[1])
    cases = [file.stem for file in (store / "cases").iterdir()]
    samples = Samples(store, cases, patch=(64, 64, 64), seed=0)
    try:
        list(batches(samples, steps=range(9), batch_size=2, workers=2))
    except DataError as error:
        sys.exit(f"said: {error}")
"""


@pytest.mark.slow
def test_a_full_shared_memory_is_an_error_and_no_end_without_a_word(phantom_store: Path, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", "/dev/shm"],
                      capture_output=True, check=False).returncode != 0:  # fmt: skip
        pytest.skip("may not mount a file system in a namespace of its own")
    script = tmp_path / "script.py"
    script.write_text(FULL, encoding="utf-8")
    command = f"mount -t tmpfs -o size=4m tmpfs /dev/shm && exec {sys.executable} {script} {phantom_store}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", command], capture_output=True, text=True, timeout=400,
                          check=False, env=ENVIRONMENT)  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "/dev/shm is full" in done.stderr
    assert "--ipc=host" in done.stderr
