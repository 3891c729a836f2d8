"""Puts NiiVue's browser file into the package, from npm: a step of `make setup` and of building a wheel.

    python mets3d/reporting/viewer/fetch.py

Nothing that runs later downloads anything. Where there is no npm, or none that finds the package, one line says so, and
pages of cases have the plain viewer. Needs the standard library alone, for it runs before anything is installed.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@niivue/niivue@0.69.0"
INTEGRITY = "sha512-YMjQvJgD1W2b7DuoxkwlC4VxbrgIePRJ5qyQzXKxi2v2MBVg285P/CIQyg46oDDGDIcaNlbd+MhtO/edMbXJkA=="
MEMBER = "package/dist/niivue.umd.js"  # a classic script, which a page opened from a file can load
MEMBER_SHA256 = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"

TARGET = Path(__file__).parent / "niivue" / "niivue.js"  # never in the repository
PATIENCE = ("--fetch-timeout=20000", "--fetch-retries=1")  # a registry that does not answer, in ms
TIMEOUT_S = 120


def fetch(target: Path = TARGET) -> str:
    """Makes `target` NiiVue's browser file, unless it is that already; returns what was done, in one line.

    What is there instead is replaced, and removed where the right one cannot be had.
    """
    if is_niivue(target):
        return f"{PACKAGE} is in {target}"
    try:
        target.unlink(missing_ok=True)
        _write(target, _from_npm())
    except (OSError, ValueError, KeyError, subprocess.SubprocessError, tarfile.TarError) as error:
        return f"No {PACKAGE}, so pages of cases have the plain viewer: {_reason(error)}. To try again: {_command()}"
    return f"{PACKAGE} is now in {target}"


def is_niivue(file: Path) -> bool:
    """Returns whether a file is the browser file of the pinned version."""
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == MEMBER_SHA256


def _from_npm() -> bytes:
    """Returns the browser file out of the package, both checked; raises ValueError for other content than pinned."""
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not installed")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", "--silent", "--ignore-scripts", *PATIENCE, PACKAGE]
        subprocess.run(
            command, cwd=folder, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S
        )
        (archive,) = Path(folder).glob("*.tgz")
        return browser_file(archive)


def browser_file(archive: Path) -> bytes:
    """Returns the browser file out of a package; raises ValueError where either is not what is pinned here."""
    algorithm, _, expected = INTEGRITY.partition("-")
    found = base64.b64encode(hashlib.new(algorithm, archive.read_bytes()).digest()).decode()
    if found != expected:
        raise ValueError(f"expected a package with {algorithm} {expected[:12]}..., found {found[:12]}...")
    with tarfile.open(archive) as package:
        member = package.extractfile(MEMBER)
        content = b"" if member is None else member.read()
    digest = hashlib.sha256(content).hexdigest()
    if digest != MEMBER_SHA256:
        raise ValueError(f"expected {MEMBER} with sha256 {MEMBER_SHA256[:12]}..., found {digest[:12]}...")
    return content


def _write(target: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        temporary.write_bytes(content)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"npm did not answer in {error.timeout:.0f} s"
    if isinstance(error, subprocess.CalledProcessError):
        return f"npm cannot fetch it (exit code {error.returncode})"
    return str(error)


def _command() -> str:
    return f"{Path(sys.executable).name} {Path(__file__).as_posix()}"


if __name__ == "__main__":
    print(fetch())
