"""Tells how much memory is free: of this host, and within every control group around this process."""

from __future__ import annotations

from pathlib import Path

import psutil

NO_LIMIT = 1 << 60  # what version 1 of control groups writes where there is none is about 2**63


def free_memory(root: Path = Path("/")) -> int:
    """Returns the bytes that processes may still take: of this host, and within every control group around them."""
    return max(0, min([int(psutil.virtual_memory().available), *_left_in_groups(root)]))


def _left_in_groups(root: Path) -> list[int]:
    """Returns what is left within the limit of each control group that this process is in, of either version."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return []
    left = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        limit, used = _FILES[controllers]
        top = root / "sys/fs/cgroup" / controllers
        # In a container the path can be the host's, which is not there: the top then is the container's own group.
        inner = top.joinpath(*Path(path).parts[1:])
        for group in [inner, *inner.parents]:
            amount = _left_in_group(group, limit, used)
            left += [] if amount is None else [amount]
            if group == top:
                break
    return left


_FILES = {"": ("memory.max", "memory.current"), "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes")}


def _left_in_group(group: Path, limit: str, used: str) -> int | None:
    """Returns what is left in one group, in which cached files count as used and can be dropped; None without limit."""
    try:
        most, taken = (int((group / name).read_text(encoding="ascii")) for name in (limit, used))
        statistics = (group / "memory.stat").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):  # no such group, or `max`
        return None
    cached = next((int(line.split()[1]) for line in statistics if line.startswith("inactive_file ")), 0)
    return None if most > NO_LIMIT else most - taken + cached
