"""Prints what is to be installed beside a base image's torch, one requirement a line; used while the image is built.

    python3 deploy/check_base.py > wanted.txt

Ends with one line and exit code 1 where the base has another Python or another torch than pyproject.toml and
requirements.lock ask for.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> int:
    """Prints the requirements, or what is wrong with the base; returns the exit code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    torch = re.search(r"^torch==(\S+)$", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.M)
    fault = fault_of(project["requires-python"], torch[1] if torch else "")
    if fault:
        print(f"base image: {fault}; give another one with --build-arg BASE_IMAGE=...", file=sys.stderr)
        return 1
    print("\n".join(line for line in project["dependencies"] if not line.startswith("torch")))
    return 0


def fault_of(pythons: str, wanted: str) -> str | None:
    """Returns what is wrong with this Python and its torch, None if nothing is. pythons: as in `>=3.11,<3.14`."""
    lowest, above = (tuple(map(int, version.split("."))) for version in re.findall(r"3\.\d+", pythons))
    if not lowest <= sys.version_info[:2] < above:
        return f"expected Python {pythons}, found {sys.version_info[0]}.{sys.version_info[1]}"
    try:
        from torch import __version__ as found
    except ImportError:
        return f"expected torch {wanted}, found none"
    return None if found.split("+")[0] == wanted else f"expected torch {wanted}, found {found}"


if __name__ == "__main__":
    sys.exit(main())
