"""Makes the folder of a new project: configuration, launch files, job scripts, train.py, a Makefile of the stages."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from mets3d.files import is_empty, read_text, replacing, write_text
from mets3d.shipped import CONFIGS, JOBS, LAUNCH_FILES, TRAIN, file_or_name, names_in, shipped

MAKEFILE = Path(__file__).parent / "project.mk"
GIT_IGNORES = "data/\nexplore/\noutputs/\nruns/\nstores/\nwandb/\n__pycache__/\n"
BASE = "brats_mets"
NEW = ".new"  # where an empty folder is filled from


def write_project(folder: Path, base: str = BASE) -> list[str]:
    """Writes the folder, named as the project is, and returns the commands that come next.

    base: the packaged configuration, by name, that the project's own lies over. Raises FileExistsError for a folder
    that holds something, FileNotFoundError for an unknown base, and ValueError for a name that no run could have.
    """
    folder = folder.absolute()
    name = folder.name
    if not re.fullmatch(r"[A-Za-z0-9_][\w.+-]*", name, re.ASCII):
        raise ValueError(f"{name!r}: expected a folder name of letters, digits and . _ + -, as runs get it too")
    if base not in names_in(CONFIGS):
        raise FileNotFoundError(f"{base}: no such configuration; expected one of {', '.join(names_in(CONFIGS))}")
    if folder.exists() and not (folder.is_dir() and is_empty(folder)):
        raise FileExistsError(f"{folder}: is there and not empty; expected a new folder, or an empty one")
    if name in names_in(CONFIGS):
        raise ValueError(f"{name}: a configuration that comes with mets3d has this name; expected another one")
    made = folder.is_dir()
    with replacing(folder / NEW if made else folder) as temporary:
        ignored = shutil.ignore_patterns("__pycache__")
        for part in (CONFIGS, LAUNCH_FILES):
            shutil.copytree(shipped(part), temporary / part, ignore=ignored)
        for part in (TRAIN, *JOBS):
            source, target = shipped(part), temporary / part
            target.parent.mkdir(exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
        write_text(temporary / CONFIGS / f"{name}.yaml", _configuration(name, base))
        for file in (temporary / CONFIGS).rglob("*.yaml"):  # all of them read the project's store
            write_text(file, read_text(file).replace(f"stores/{BASE}", f"stores/{name}"))
        for file in (temporary / CONFIGS / "sweeps").glob("*.yaml"):
            write_text(file, read_text(file).replace(f"{CONFIGS}/{BASE}.yaml", f"{CONFIGS}/{name}.yaml"))
        write_text(temporary / "Makefile", read_text(MAKEFILE).replace("{name}", name))
        write_text(temporary / ".gitignore", GIT_IGNORES)
    if made:  # an empty folder is filled and not replaced: a shell may stand in it
        for path in (folder / NEW).iterdir():
            path.rename(folder / path.name)
        (folder / NEW).rmdir()
    return [f"cd {shlex.quote(str(folder))}", "make", "make all DATA=/path/to/your/cases"]


def _configuration(name: str, base: str) -> str:
    file = file_or_name(base, CONFIGS)
    return (
        f"# What {name} changes; everything else is in {base}.yaml and, with one line of meaning each, in base.yaml.\n"
        f"base: {file.relative_to(shipped(CONFIGS)).as_posix()}\n"
        f"name: {name}\n"
        "data:\n"
        f"  store: stores/{name}\n"
    )
