"""NiiVue comes from npm as the package is made, checked, never into the repository; without npm one line says so."""

from __future__ import annotations

import base64
import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from mets3d.reporting.viewer import fetch
from tests.builders.runs import ROOT

SCRIPT = b"var niivue = {};"


def package(file: Path, content: bytes) -> Path:
    member = tarfile.TarInfo(fetch.MEMBER)
    member.size = len(content)
    with tarfile.open(file, "w:gz") as archive:
        archive.addfile(member, io.BytesIO(content))
    return file


def sha512(file: Path) -> str:
    return f"sha512-{base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()}"


def pretend_npm(folder: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """An npm on the path that does what one line of a shell says."""
    npm = folder / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:/usr/bin:/bin")


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package that the script takes for the pinned one."""
    file = package(tmp_path / "niivue.tgz", SCRIPT)
    monkeypatch.setattr(fetch, "INTEGRITY", sha512(file))
    monkeypatch.setattr(fetch, "MEMBER_SHA256", hashlib.sha256(SCRIPT).hexdigest())
    return file


@pytest.mark.skipif(sys.platform == "win32", reason="pretends an npm by a shell script")
def test_the_browser_file_is_taken_out_of_the_package_once(
    tmp_path: Path, pinned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, calls = tmp_path / "package" / "niivue.js", tmp_path / "calls"
    pretend_npm(tmp_path, monkeypatch, f'echo "$@" >> {calls}; cp {pinned} .')
    assert fetch.fetch(target) == f"{fetch.PACKAGE} is now in {target}"
    assert target.read_bytes() == SCRIPT
    assert [file.name for file in target.parent.iterdir()] == ["niivue.js"]
    assert fetch.fetch(target) == f"{fetch.PACKAGE} is in {target}"
    (call,) = calls.read_text().splitlines()
    assert call.startswith("pack ")
    assert call.endswith(fetch.PACKAGE)


@pytest.mark.skipif(sys.platform == "win32", reason="pretends an npm by a shell script")
def test_another_package_or_file_than_the_pinned_is_not_kept(
    tmp_path: Path, pinned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "niivue.js"
    target.write_bytes(b"an older one")
    other = package(tmp_path / "other.tgz", b"something else")
    pretend_npm(tmp_path, monkeypatch, f"cp {other} .")
    assert "expected a package with sha512" in fetch.fetch(target)
    assert not target.exists()
    monkeypatch.setattr(fetch, "INTEGRITY", sha512(other))
    assert f"expected {fetch.MEMBER} with sha256" in fetch.fetch(target)
    assert not target.exists()


@pytest.mark.parametrize(
    ("npm", "said"),
    [
        (None, "npm is not installed"),
        ("exit 7", "npm cannot fetch it (exit code 7)"),
        ("exec sleep 30", "npm did not answer in 0 s"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="pretends an npm by a shell script")
def test_without_npm_or_registry_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, npm: str | None, said: str
) -> None:
    if npm is None:
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        pretend_npm(tmp_path, monkeypatch, npm)
    monkeypatch.setattr(fetch, "TIMEOUT_S", 0.4 if "sleep" in (npm or "") else 30)
    line = fetch.fetch(tmp_path / "niivue.js")
    assert said in line
    assert "plain viewer" in line
    assert "\n" not in line
    assert not (tmp_path / "niivue.js").exists()


def test_the_repository_holds_no_copy(tmp_path: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-s"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [line.split("\t")[1] for line in listed.stdout.splitlines()]
    assert not [path for path in paths if path.endswith(".js") and "niivue" in path.lower()]
    ignored = subprocess.run(
        ["git", "check-ignore", "-q", str(fetch.TARGET.relative_to(ROOT))], cwd=ROOT, check=False, timeout=30
    )
    assert ignored.returncode == 0


def test_its_licence_is_named_and_comes_along() -> None:
    licence = (ROOT / "mets3d" / "reporting" / "viewer" / "niivue_license.txt").read_text(encoding="utf-8")
    for words in ("BSD 2-Clause License", "Copyright (c) 2021, Niivue", "THIS SOFTWARE IS PROVIDED"):
        assert words in licence
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    assert "NiiVue" in notice
    assert "BSD 2-Clause" in notice
