"""Files that are whole or absent, on disk before their name is, and UTF-8 whatever the locale says."""

import errno
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from mets3d import files
from mets3d.files import leftovers, read_json, read_text, replacing, sync, write_json, write_text, write_with
from tests.builders.runs import ROOT


def write_folder(target: Path, *names: str) -> None:
    with replacing(target) as temporary:
        temporary.mkdir()
        for name in names:
            (temporary / name).write_text(name, encoding="utf-8")


# ---------------------------------------------------------------- whole or absent


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"kept": 1})
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(target) == {"kept": 1}
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for content in ("old", "new"):
        write_folder(target, content)
    assert [file.name for file in target.iterdir()] == ["new"]
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.mkdir()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_name_keeps_the_suffixes(tmp_path: Path) -> None:
    # nibabel and others choose the format by the name's end.
    with replacing(tmp_path / "a.nii.gz") as temporary:
        assert temporary.name.endswith("a.nii.gz")
        temporary.write_text("x")


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    write_with(tmp_path / "a" / "b" / "c.txt", lambda path: path.write_bytes(b"c"))
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == b"c"


def test_an_equal_file_keeps_its_time(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_bytes(b"same")
    os.utime(target, (1, 1))
    for content, touched in ((b"same", False), (b"other", True)):
        with replacing(target, keep_equal=True) as temporary:
            temporary.write_bytes(content)
        assert (target.stat().st_mtime != 1) is touched
    assert list(tmp_path.iterdir()) == [target]


# ---------------------------------------------------------------- order of what reaches the disk


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced, renamed and removed, in order, by the name of the file or folder."""
    found: list[str] = []

    def watched(word: str, real: Callable[..., Any], name_of: Callable[..., str]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            found.append(f"{word} {name_of(*arguments)}".replace(f".{os.getpid()}", ".PID"))
            return real(*arguments, **keywords)

        return call

    def of_descriptor(descriptor: int) -> str:
        return Path(f"/proc/self/fd/{descriptor}").readlink().name

    def of_path(path: Any, *rest: Any) -> str:
        return Path(path).name

    monkeypatch.setattr(os, "fsync", watched("sync", os.fsync, of_descriptor))
    for word in ("replace", "rename"):
        monkeypatch.setattr(os, word, watched("rename", getattr(os, word), of_path))
    monkeypatch.setattr(files.shutil, "rmtree", watched("remove", files.shutil.rmtree, of_path))
    return found


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="names of open files are read from /proc")


@needs_proc
def test_a_file_is_on_disk_before_it_has_its_name_and_its_name_after(tmp_path: Path, events: list[str]) -> None:
    write_text(tmp_path / "a.txt", "a")
    assert events == ["sync .PID.tmp.a.txt", "rename .PID.tmp.a.txt", f"sync {tmp_path.name}"]


@needs_proc
def test_a_folder_is_on_disk_with_all_that_it_holds_before_it_has_its_name(tmp_path: Path, events: list[str]) -> None:
    write_folder(tmp_path / "new", "a", "b")
    *inside, folder, rename, entry = events
    assert sorted(inside) == ["sync a", "sync b"]
    assert (folder, rename, entry) == ("sync .PID.tmp.new", "rename .PID.tmp.new", f"sync {tmp_path.name}")


@needs_proc
def test_an_old_folder_goes_when_the_new_one_is_whole_and_nothing_lies_between_the_two_renames(
    tmp_path: Path, events: list[str]
) -> None:
    write_folder(tmp_path / "folder", "old")
    events.clear()
    write_folder(tmp_path / "folder", "new")
    synced = events.index("sync .PID.tmp.folder")
    aside = events.index("rename folder")
    assert synced < aside
    assert events[aside + 1] == "rename .PID.tmp.folder"
    assert events[aside + 2 :] == ["remove .PID.tmp.old.folder", f"sync {tmp_path.name}"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_two_processes_that_write_one_folder_both_succeed(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from mets3d.files import replacing\n"
        "for turn in range(60):\n"
        "    with replacing(pathlib.Path('folder')) as temporary:\n"
        "        temporary.mkdir()\n"
        "        [(temporary / name).write_text(sys.argv[1]) for name in 'ab']\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    writers = [
        subprocess.Popen([sys.executable, "-c", program, name], cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
        for name in "xy"
    ]
    said = [writer.communicate(timeout=120)[1].decode() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], said
    folder = tmp_path / "folder"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (folder / "a").read_text() == (folder / "b").read_text() in "xy"


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").touch()
    rename = Path.rename

    def refused(self: Path, to: Path) -> Path:
        if self.name == f".{os.getpid()}.tmp.folder":
            raise PermissionError(errno.EACCES, "no")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(PermissionError), replacing(target) as temporary:
        temporary.mkdir()
    assert [path.name for path in target.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_folder_that_cannot_be_made_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "folder", "old")

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(files, "sync", full)
    with pytest.raises(OSError, match="No space left"):
        write_folder(tmp_path / "folder", "new")
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(("number", "passes"), [(errno.EINVAL, True), (errno.EACCES, True), (errno.ENOSPC, False)])
def test_a_file_system_that_syncs_no_folders_is_no_reason_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, passes: bool
) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with nullcontext() if passes else pytest.raises(OSError, match=os.strerror(number)):
        write_text(tmp_path / "a.txt", "a")
    assert read_text(tmp_path / "a.txt") == "a"


@needs_proc
def test_links_are_not_followed_when_a_folder_is_synced(tmp_path: Path, events: list[str]) -> None:
    (tmp_path / "elsewhere.txt").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "elsewhere.txt")
    sync(tmp_path / "folder")
    assert events == ["sync folder"]


# ---------------------------------------------------------------- leftovers


def test_an_old_folder_that_a_kill_left_aside_is_a_leftover(tmp_path: Path) -> None:
    """Killed between the renames and the removal: the aside folder is found as soon as its process is dead."""
    code = (
        "import os, sys, pathlib, shutil\nfrom mets3d import files\n"
        "target = pathlib.Path(sys.argv[1])\n"
        "target.mkdir(); (target / 'old').touch()\n"
        "files.shutil.rmtree = lambda *_, **__: os._exit(9)\n"
        "with files.replacing(target) as temporary:\n    temporary.mkdir(); (temporary / 'new').touch()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "folder")], cwd=ROOT, check=False)
    assert done.returncode == 9
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["new"]
    (aside,) = leftovers(tmp_path)
    assert aside.name.endswith(".tmp.old.folder")
    assert [file.name for file in aside.iterdir()] == ["old"]


@pytest.mark.parametrize("new_is_there", [False, True])
def test_a_folder_that_a_kill_left_aside_comes_back_and_nothing_else_stays(tmp_path: Path, new_is_there: bool) -> None:
    """Killed between the two renames, or after the second: what is in place then is the new one."""
    dead, living = 2**22 + 7, os.getppid()  # no system has as many processes
    target = tmp_path / "report"
    elsewhere = f".{dead}.tmp.0123abcd@report"  # a process of another machine, whose number says nothing here
    ours = f".{dead}.tmp.{files.machine_mark()}report"
    names = (f".{dead}.tmp.old.report", f".{dead}.tmp.report", f".{living}.tmp.report", f".{dead}.tmp.old.other")
    for name in (*names, ours, elsewhere):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").write_text(name)
    if new_is_there:
        target.mkdir()
        (target / "content").write_text("new")
    files.recover(target)
    assert (target / "content").read_text() == ("new" if new_is_there else f".{dead}.tmp.old.report")
    others = {f".{living}.tmp.report", f".{dead}.tmp.old.other", elsewhere}
    assert {path.name for path in tmp_path.iterdir()} == {"report", *others}
    files.recover(tmp_path / "nowhere" / "report")


@pytest.mark.parametrize("mark", ["", "0123abcd@"])
def test_what_a_killed_process_left_of_a_file_goes_when_it_is_written_again(tmp_path: Path, mark: str) -> None:
    dead, living = 2**22 + 7, os.getppid()  # no system has as many processes
    other_mark = "" if mark else "0123abcd@"
    stay = {f".{living}.tmp.{mark}a.csv", f".{dead}.tmp.{mark}b.csv", f".{dead}.tmp.{other_mark}a.csv"}
    for name in (*stay, f".{dead}.tmp.{mark}a.csv"):
        (tmp_path / name).touch()
    with files.replacing(tmp_path / "a.csv", mark=mark) as temporary:
        temporary.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", *stay}


def test_a_folder_is_empty_where_nothing_has_come_to_be(tmp_path: Path) -> None:
    for name in (".7.tmp.a.csv", ".7.tmp.0123abcd@a.csv", ".7.tmp.old.folder"):
        (tmp_path / name).touch()
        assert files.is_empty(tmp_path)
    (tmp_path / ".tmp.a.csv").touch()
    assert not files.is_empty(tmp_path)


def test_what_a_living_process_writes_is_left_alone_for_a_day(tmp_path: Path) -> None:
    file = tmp_path / f".{os.getpid()}.tmp.a"
    file.touch()
    assert leftovers(tmp_path) == []
    yesterday = time.time() - files.LEFT_BEHIND_S - 5
    os.utime(file, (yesterday, yesterday))
    assert leftovers(tmp_path) == [file]


# ---------------------------------------------------------------- UTF-8

WORDS = "Ödem · 脳 · naïve"


@pytest.mark.parametrize("environment", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"}])
def test_text_is_utf8_under_any_locale(tmp_path: Path, environment: dict[str, str]) -> None:
    code = (
        "import sys, locale, pathlib\nfrom mets3d.files import read_object, read_text, write_json, write_text\n"
        "assert locale.getpreferredencoding(False).lower() not in ('utf-8', 'utf8'), locale.getpreferredencoding()\n"
        "folder, words = pathlib.Path(sys.argv[1]), sys.argv[2].encode('ascii').decode('unicode_escape')\n"
        "write_text(folder / 'a.txt', words); assert read_text(folder / 'a.txt') == words\n"
        "(folder / 'b.json').write_bytes(('{\"name\": \"' + words + '\"}').encode()); "
        "assert read_object(folder / 'b.json')['name'] == words\n"
    )
    escaped = WORDS.encode("unicode_escape").decode("ascii")
    variables = {**os.environ, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", **environment}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), escaped],
        cwd=ROOT,
        env=variables,
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.txt").read_bytes() == WORDS.encode()
    assert read_text(tmp_path / "a.txt") == WORDS
