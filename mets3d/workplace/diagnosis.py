"""Says what is installed and what the machine has, with what needs mending: for a bug report."""

from __future__ import annotations

import locale
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from mets3d import __version__
from mets3d.processes import cores
from mets3d.shipped import CONFIGS, LAUNCH_FILES, names_in
from mets3d.workplace.devices import distances, gpus, torch_build

GB = 1e9
SHARED_GB, DISK_GB, OPEN_FILES = 1.0, 10.0, 1024  # with less than that something fails sooner or later
SHARED_MEMORY = Path("/dev/shm")  # where the loader's workers put batches, on Linux
KEY = "WANDB_API_KEY"


@dataclass(frozen=True)
class Diagnosis:
    """What was found. facts: section -> name -> value, all for JSON. findings: what needs mending, a sentence each."""

    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yields the lines to be shown, findings last."""
        for section, facts in self.facts.items():
            yield section
            width = max(map(len, facts), default=0)
            for name, value in facts.items():
                yield f"  {name:{width}}  {_shown(value)}"
        yield ""
        yield from [f"! {finding}" for finding in self.findings] or ["nothing to mend"]


def diagnose(folder: Path = Path()) -> Diagnosis:
    """Returns what this machine and this installation have; `folder` is where runs are to be written."""
    found = Diagnosis()
    found.facts["mets3d"] = _installation(found.findings)
    found.facts["packages"] = _packages(found.findings)
    found.facts["devices"] = {**torch_build(), **gpus(found.findings)}
    found.facts["distances"] = distances(found.findings)
    found.facts["machine"] = _machine(found.findings)
    found.facts["folders"] = _folders(folder, found.findings)
    found.facts["W&B"] = _wandb()
    found.facts["files"] = {"configurations": names_in(CONFIGS), "launch files": names_in(LAUNCH_FILES)}
    for name, listed in found.facts["files"].items():
        if not listed:
            found.findings.append(f"no {name}: mets3d was installed without them; install it anew from a wheel")
    return found


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "-" if value is None else str(value)


def _installation(findings: list[str]) -> dict[str, Any]:
    encoding = locale.getencoding()
    if sys.version_info[:2] not in ((3, 11), (3, 12), (3, 13)):
        findings.append(f"Python {platform.python_version()}: expected 3.11 to 3.13")
    return {
        "version": __version__,
        "folder": str(Path(__file__).parents[1]),
        "Python": f"{platform.python_version()}, {sys.executable}",
        "system": platform.platform(),
        "encoding": encoding,
    }


def _packages(findings: list[str]) -> dict[str, Any]:
    """Returns the versions of what mets3d needs, and of what its extras need where it is there."""
    found: dict[str, Any] = {}
    try:
        needed = [Requirement(line) for line in requires("mets3d") or []]
    except PackageNotFoundError:
        findings.append("mets3d is not installed, it is only on Python's path: pip install it, or run `make setup`")
        return found
    for requirement in needed:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        there = _version(requirement.name)
        found[requirement.name] = there
        if there is None or not requirement.specifier.contains(there, prereleases=True):
            findings.append(f"{requirement.name}: expected {requirement.specifier}, found {there or 'none'}")
    return found | {f"extra {name}": _extra(name, needed) for name in _extras(needed)}


def _extras(needed: list[Requirement]) -> list[str]:
    known = ("formats", "onnx", "sweep", "tensorboard", "trackio")
    return [name for name in known if any(_is_of(requirement, name) for requirement in needed)]


def _extra(name: str, needed: list[Requirement]) -> str:
    missing = [each.name for each in needed if _is_of(each, name) and _version(each.name) is None]
    return f"not installed: pip install 'mets3d[{name}]'" if missing else "installed"


def _is_of(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return bool(marker and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""}))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _machine(findings: list[str]) -> dict[str, Any]:
    import psutil

    from mets3d.free_memory import free_memory

    found: dict[str, Any] = {
        "cores": f"{cores()} of {os.cpu_count()} may be used",
        "memory": f"{psutil.virtual_memory().total / GB:.1f} GB, {free_memory() / GB:.1f} GB of it free for us",
    }
    if SHARED_MEMORY.is_dir():
        usage = shutil.disk_usage(SHARED_MEMORY)
        found["shared memory"] = f"{usage.total / GB:.1f} GB, {usage.free / GB:.1f} GB free"
        if usage.free < SHARED_GB * GB:
            findings.append(
                f"{SHARED_MEMORY} has {usage.free / GB:.2f} GB free, too little for the loader's workers: start the "
                "container with --ipc=host or a larger --shm-size, or set data.workers=0"
            )
    if hasattr(os, "sysconf"):
        files = os.sysconf("SC_OPEN_MAX")
        found["open files"] = files
        if files < OPEN_FILES:
            findings.append(f"a process may open {files} files only; raise it with `ulimit -n 4096`")
    return found


def _folders(folder: Path, findings: list[str]) -> dict[str, Any]:
    """Returns the room where runs, temporary files and caches are written."""
    found = {}
    for name, place in {"here": folder, "temporary": Path(tempfile.gettempdir()), "home": _home()}.items():
        if place is None:
            found[name] = "none"
            continue
        existing = next(parent for parent in [place.absolute(), *place.absolute().parents] if parent.is_dir())
        free = shutil.disk_usage(existing).free / GB
        writable = os.access(existing, os.W_OK)
        found[name] = f"{place.absolute()}, {free:.1f} GB free" + ("" if writable else ", cannot be written")
        if name == "here" and not writable:
            findings.append(f"{existing} cannot be written: change into a folder of yours, or set `output`")
        if name == "here" and free < DISK_GB:
            findings.append(f"{existing} has {free:.1f} GB free; a store and a run need {DISK_GB:.0f} GB and more")
    return found


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # no HOME, and no entry for this user
        return None


def _wandb(variables: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Returns how W&B is set up; of the key only whether there is one."""
    host = variables.get("WANDB_BASE_URL", "https://api.wandb.ai").rpartition("//")[2].partition("/")[0]
    return {
        "mode": variables.get("WANDB_MODE", "not set"),
        "key": f"in {KEY}" if variables.get(KEY) else "in the netrc file" if _has_netrc(host) else "none",
    }


def _has_netrc(host: str) -> bool:
    from netrc import NetrcParseError, netrc

    try:
        return netrc().authenticators(host) is not None
    except (OSError, NetrcParseError, RuntimeError):
        return False
