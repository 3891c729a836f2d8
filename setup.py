"""Puts configurations, launch files and train.py into the wheel; everything else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("configs", "accelerate_configs", "train.py")  # see mets3d/shipped.py


class BuildWithFiles(build_py):
    """Copies the files into the package as it is built; an editable install finds them in the checkout."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        inside = Path(self.build_lib) / "mets3d" / "shipped_files"
        shutil.rmtree(inside, ignore_errors=True)
        inside.mkdir(parents=True)
        for name in SHIPPED:
            source = Path(__file__).parent / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, inside / name)


setup(cmdclass={"build_py": BuildWithFiles})
