"""Gives the viewer's scripts: our own, which stands in every page, and NiiVue, where the installation has it."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

from markupsafe import Markup

from mets3d.reporting.viewer.fetch import TARGET as NIIVUE

HERE = Path(__file__).parent
VIEWER = ("volumes.js", "planes.js", "screen.js", "viewer.js")
LICENCE = HERE / "niivue_license.txt"
NOT_BUILT_IN = "Plain viewer: this installation was built without NiiVue."
NOT_BESIDE = "Plain viewer: the file viewer/niivue.js is not beside this report."


def has_niivue() -> bool:
    """Returns whether NiiVue came with the installation."""
    return NIIVUE.is_file()


@cache
def viewer_script() -> Markup:
    """Reads our viewer, a classic script, from its files in the order in which they need each other."""
    parts = "\n".join((HERE / name).read_text(encoding="utf-8") for name in VIEWER)
    return Markup(f'"use strict";\n\n(() => {{\n{parts}}})();\n')


def niivue_script() -> Markup:
    """Reads NiiVue to stand in a page; nothing where it is not there."""
    if not has_niivue():
        return Markup()
    # A page's script ends at the first closing tag, also inside a string.
    return Markup(NIIVUE.read_text(encoding="utf-8").replace("</script", "<\\/script"))


def write_niivue(folder: Path) -> bool:
    """Writes NiiVue with its licence into a report's folder `viewer`; does nothing and returns False without it."""
    if not has_niivue():
        return False
    folder.mkdir(parents=True)
    shutil.copyfile(NIIVUE, folder / NIIVUE.name)
    shutil.copyfile(LICENCE, folder / "LICENSE.txt")
    return True
