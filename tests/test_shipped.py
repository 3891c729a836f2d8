"""What comes with the package beside its code is found by name, in a checkout and in an installed wheel."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mets3d.__main__ import main
from mets3d.config import ConfigError, load
from mets3d.reporting.viewer.fetch import MEMBER_SHA256
from mets3d.shipped import CONFIGS, JOBS, LAUNCH_FILES, TRAIN, file_or_name, names_in, shipped
from tests.builders.runs import ROOT


def test_a_checkout_has_them_beside_the_package() -> None:
    assert shipped(TRAIN) == ROOT / "train.py"
    recipes = [f"recipes/{file.stem}" for file in (ROOT / "configs" / "recipes").glob("*.yaml")]
    assert {"recipes/original", "recipes/nnunet", "recipes/short"} <= set(recipes)
    assert names_in(CONFIGS) == sorted([*(file.stem for file in (ROOT / "configs").glob("*.yaml")), *recipes])
    assert names_in(LAUNCH_FILES) == sorted(file.stem for file in (ROOT / "accelerate_configs").glob("*.yaml"))


def test_a_word_is_a_file_first_and_then_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert file_or_name("quickstart", CONFIGS) == ROOT / "configs" / "quickstart.yaml"
    (tmp_path / "quickstart").write_text("seed: 7")
    assert file_or_name("quickstart", CONFIGS) == Path("quickstart")
    for path in ("no/where", "nowhere.yaml"):  # for the reader to report
        assert file_or_name(path, CONFIGS) == Path(path)
    assert file_or_name("recipes/short", CONFIGS) == ROOT / "configs" / "recipes" / "short.yaml"
    with pytest.raises(FileNotFoundError, match=r"recipes/long: no such file or name; .*recipes/short"):
        file_or_name("recipes/long", CONFIGS)
    with pytest.raises(FileNotFoundError, match="quick: no such file or name; expected a file or one of base, "):
        file_or_name("quick", CONFIGS)


def test_a_package_without_its_files_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mets3d.shipped.PACKAGE", tmp_path / "mets3d")
    monkeypatch.setattr("mets3d.shipped.INSIDE", tmp_path / "mets3d" / "shipped_files")
    (tmp_path / "configs").mkdir()  # of another package, beside ours
    (tmp_path / "configs" / "quickstart.yaml").write_text("seed: 7")
    with pytest.raises(FileNotFoundError, match=r"quickstart: mets3d was installed without its configs; install it"):
        file_or_name("quickstart", CONFIGS)


@pytest.mark.parametrize("word", ["quickstart.yaml", "configs/quickstart.yaml", "recipes/short.yaml"])
def test_a_path_whose_end_is_a_name_leads_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.chdir(tmp_path)
    name = word.removeprefix("configs/").removesuffix(".yaml")
    with pytest.raises(ConfigError, match=rf"{word}: no such file; did you mean {name}, which comes with the package"):
        load(["--config", word])
    (tmp_path / word).parent.mkdir(exist_ok=True)
    (tmp_path / word).write_text("seed: 7", encoding="utf-8")
    assert load(["--config", word]).seed == 7


def test_a_configuration_by_name_is_that_of_its_file() -> None:
    assert load(["--config", "quickstart"]) == load(["--config", str(ROOT / "configs" / "quickstart.yaml")])


def test_preprocessing_takes_the_names_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preprocess", str(tmp_path), str(tmp_path / "store"), "--config", "brats"]) == 2
    assert "brats: no such file or name; expected a file or one of base, " in capsys.readouterr().err
    assert main(["preprocess", str(tmp_path), str(tmp_path / "store"), "--config", "brats_mets"]) == 2
    assert "brats_mets" not in capsys.readouterr().err, "it is the data that are missing"


@pytest.mark.slow
def test_a_wheel_trains_without_the_checkout(tmp_path: Path, phantom_store: Path) -> None:
    pytest.importorskip("setuptools", reason="builds the wheel")
    source, site, work = (tmp_path / name for name in ("source", "site", "work"))
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("mets3d", "configs", "accelerate_configs", "deploy"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("train.py", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    work.mkdir()
    niivue = _as_if_fetched(source)
    build = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", build, str(tmp_path)],
        cwd=source, check=True, capture_output=True, timeout=200,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    viewer = site / niivue.parent.relative_to(source)
    assert (viewer / niivue.name).read_bytes() == niivue.read_bytes()
    assert "BSD 2-Clause" in (viewer.parent / "niivue_license.txt").read_text(encoding="utf-8")
    assert not (source / "mets3d" / "shipped_files").exists()
    for name in JOBS:
        assert (site / "mets3d" / "shipped_files" / name).exists(), name
    templates = {file.name for file in (ROOT / "mets3d" / "reporting" / "templates").iterdir()}
    assert {file.name for file in (site / "mets3d" / "reporting" / "templates").iterdir()} == templates
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mets3d", "train", "--launch", "cpu", "--config", "quickstart", "--train.steps=1"),
            *(f"--data.store={phantom_store}", "--data.patch=[16,16,16]", "--preprocess.spacing_mm=[4,4,4]"),
            *("--data.folds=3", "--validate.cases=1", "--predict.overlap=0"),
        ],
        cwd=work, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (work / "runs" / "quickstart" / "model.safetensors").exists()


def _as_if_fetched(source: Path) -> Path:
    """Puts a file in the place of NiiVue's and pins it, so that building the wheel asks no registry."""
    script = source / "mets3d" / "reporting" / "viewer" / "fetch.py"
    niivue = script.parent / "niivue" / "niivue.js"
    niivue.parent.mkdir(exist_ok=True)
    niivue.write_bytes(b"var niivue = {};")
    pinned = hashlib.sha256(niivue.read_bytes()).hexdigest()
    script.write_text(script.read_text(encoding="utf-8").replace(MEMBER_SHA256, pinned), encoding="utf-8")
    return niivue
