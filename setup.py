"""Puts what lies beside the package, and NiiVue, into what is built; everything else is in pyproject.toml."""

import runpy
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

JOBS = ("deploy/slurm", "deploy/trainjob.yaml", "deploy/two_hosts.sh")
SHIPPED = ("configs", "accelerate_configs", "train.py", *JOBS)  # see mets3d/shipped.py
FETCH = Path(__file__).parent / "mets3d" / "reporting" / "viewer" / "fetch.py"


def fetch_niivue() -> None:
    """Puts NiiVue into the package where npm has it; its own line says so where not."""
    print(runpy.run_path(str(FETCH))["fetch"]())


class BuildWithFiles(build_py):
    """Copies the files into the package as it is built; an editable install finds them in the checkout."""

    def run(self) -> None:
        if self.editable_mode:  # `make setup` fetches it where its line is seen
            super().run()
            return
        fetch_niivue()
        super().run()
        inside = Path(self.build_lib) / "mets3d" / "shipped_files"
        shutil.rmtree(inside, ignore_errors=True)
        inside.mkdir(parents=True)
        for name in SHIPPED:
            source = Path(__file__).parent / name
            (inside / name).parent.mkdir(exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy)(source, inside / name)


class SdistWithFiles(sdist):
    """Fetches before the files are listed, so that a wheel can be built from the archive without npm."""

    def run(self) -> None:
        fetch_niivue()
        super().run()


setup(cmdclass={"build_py": BuildWithFiles, "sdist": SdistWithFiles})
