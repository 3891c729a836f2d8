"""Finds what comes with the package beside its code: configurations, launch files, job scripts and train.py.

In a checkout they lie beside the package; a wheel holds them inside it, where setup.py puts them.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent
INSIDE = PACKAGE / "shipped_files"

CONFIGS, LAUNCH_FILES, TRAIN = "configs", "accelerate_configs", "train.py"
RECIPES = "recipes"  # a folder of CONFIGS
JOBS = ("deploy/slurm", "deploy/trainjob.yaml", "deploy/two_hosts.sh")  # for clusters and hosts without a checkout
REMEDY = "install it anew from a wheel or a checkout"


def shipped(name: str) -> Path:
    """Returns the path of a file or folder that comes with the package: CONFIGS, LAUNCH_FILES, TRAIN or one of JOBS."""
    if INSIDE.is_dir():
        return INSIDE / name
    # Beside an installed package may lie other packages' files of these names.
    return (PACKAGE.parent if (PACKAGE.parent / TRAIN).is_file() else INSIDE) / name


def names_in(folder: str) -> list[str]:
    """Lists the names of the YAML files in CONFIGS or LAUNCH_FILES, without .yaml, those of `recipes/` too."""
    place = shipped(folder)
    files = [*place.glob("*.yaml"), *(place / RECIPES).glob("*.yaml")]
    return sorted(file.relative_to(place).with_suffix("").as_posix() for file in files)


def file_or_name(word: str, folder: str) -> Path:
    """Returns the file that a word means: a path, or the name of one of `names_in(folder)`.

    A file in the current folder goes before a name. Raises FileNotFoundError, with the names that exist, for a word
    that is neither and looks like no path, and for a missing path whose end is such a name; any other missing path is
    for the reader to report.
    """
    path, names = Path(word), names_in(folder)
    if not names and not path.exists():
        raise FileNotFoundError(f"{word}: mets3d was installed without its {folder}; {REMEDY}")
    named = word.removeprefix(f"{folder}/").removesuffix(".yaml")
    if named != word and named in names and not path.exists():
        raise FileNotFoundError(f"{word}: no such file; did you mean {named}, which comes with the package?")
    if path.is_file() or path.suffix or (len(path.parts) != 1 and word not in names and path.parts[:1] != (RECIPES,)):
        return path
    if word not in names:
        raise FileNotFoundError(f"{word}: no such file or name; expected a file or one of {', '.join(names)}")
    return shipped(folder) / f"{word}.yaml"
