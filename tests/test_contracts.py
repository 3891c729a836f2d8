"""What the project promises about itself: layers that hold and go red, light imports, a quick command line."""

from __future__ import annotations

import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mets3d
from tests.builders.runs import ROOT

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

# For each contract a line that breaks it, and the file it is put into: one that is there, and one of tomorrow.
VIOLATIONS = {
    "layers": [
        ("mets3d/ops/distance.py", "import mets3d.losses.region"),
        ("mets3d/inference/of_tomorrow.py", "import mets3d.evaluation.lesions"),
        ("mets3d/room_of_tomorrow/__init__.py", ""),  # a package without a layer
    ],
    "no circles inside a room": [
        ("mets3d/training/readback.py", "import mets3d.training.loop"),
        ("mets3d/data/nifti/__init__.py", "import mets3d.data.check"),
    ],
    "evaluation knows no config, model, trainer or statistics": [
        ("mets3d/evaluation/rules.py", "import mets3d.config"),
        ("mets3d/evaluation/of_tomorrow.py", "import mets3d.settings"),
    ],
    "evaluation, statistics and reporting import no torch, not even indirectly": [
        ("mets3d/reporting/page.py", "import mets3d.ops.distance"),
        ("mets3d/statistics/of_tomorrow.py", "import torch"),
    ],
    "accelerate only in train.py, training and inference.predict": [
        ("mets3d/data/store.py", "import accelerate"),
        ("mets3d/inference/of_tomorrow.py", "import accelerate"),
    ],
    "wandb only in training.track and the study": [
        ("mets3d/training/balance.py", "import wandb"),
        ("mets3d/training/of_tomorrow.py", "import wandb"),
    ],
    "nibabel only in data.nifti": [
        ("mets3d/__main__.py", "import nibabel"),
        ("mets3d/verbs/of_tomorrow.py", "import nibabel"),
    ],
    "jinja2 and markupsafe only in reporting": [
        ("mets3d/release/card.py", "import jinja2"),
        ("mets3d/verbs/of_tomorrow.py", "import markupsafe"),
    ],
    "files inside models, losses and augment take plain arguments": [
        ("mets3d/losses/region.py", "import mets3d.config"),
        ("mets3d/models/originals/of_tomorrow.py", "import mets3d.settings"),
    ],
}
BROKEN = [(name, file, line) for name, cases in VIOLATIONS.items() for file, line in cases]


def test_every_contract_has_a_violation_to_try() -> None:
    assert {contract["name"] for contract in CONTRACTS} == set(VIOLATIONS)


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "mets3d", folder / "mets3d", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_contracts_hold(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout
    assert f"{len(CONTRACTS)} kept, 0 broken" in done.stdout


@pytest.mark.parametrize(("name", "file", "line"), BROKEN, ids=[f"{file}: {line}" for _, file, line in BROKEN])
def test_contract_goes_red_on_a_violation(copy: Path, name: str, file: str, line: str) -> None:
    path = copy / file
    before = path.read_text(encoding="utf-8") if path.exists() else None
    folder_is_new = not path.parent.exists()
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{before or ''}\n{line}\n", encoding="utf-8")
        done = lint(copy)
    finally:
        if before is not None:
            path.write_text(before, encoding="utf-8")
        elif folder_is_new:
            shutil.rmtree(path.parent)
        else:
            path.unlink()
    assert done.returncode != 0
    assert re.search(rf"{re.escape(name)}\s+BROKEN", done.stdout), done.stdout


def light_modules() -> list[str]:
    """Every package's `__init__`, and the modules that all others may import."""
    packages = [info.name for info in pkgutil.walk_packages(mets3d.__path__, "mets3d.") if info.ispkg]
    bottom = ["regions", "files", "console", "config", "settings", "rundir", "data.nifti", "__main__"]
    top = ["evaluation.evaluate", "statistics.comparison", "reporting.page"]
    return ["mets3d", *packages, *(f"mets3d.{name}" for name in (*bottom, *top))]


def test_rooms_are_entered_without_torch() -> None:
    names = light_modules()
    assert {"mets3d.tuning", "mets3d.models.originals", "mets3d.reporting.charts"} <= set(names)
    code = (
        "import sys\nfrom importlib import import_module\n"
        f"for name in {names}:\n    import_module(name)\n"
        "    heavy = sorted({'torch', 'monai', 'accelerate'} & set(sys.modules))\n"
        "    if heavy: sys.exit(f'{name} imports {heavy}')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, contextlib, io\nfrom mets3d.__main__ import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main(['--help'])\n"
        "print(sorted({'torch', 'numpy', 'nibabel', 'scipy', 'matplotlib', 'pydantic', 'wandb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_train_py_touches_neither_wandb_nor_nibabel() -> None:
    assert not re.search(r"\b(wandb|nibabel)\b", (ROOT / "train.py").read_text())


def test_the_lock_pins_what_is_asked_for_and_the_torch_of_the_image() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "requirements.lock").read_text(), re.M))
    versions = {canonicalize_name(name): version for name, version in pinned.items()}
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(line for name in ("formats", "onnx", "sweep", "dev") for line in extras[name])]
    for requirement in map(Requirement, asked):
        if requirement.name != project["name"]:
            assert versions[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    image = re.search(r"^ARG BASE_IMAGE=pytorch/pytorch:([\d.]+)-", (ROOT / "Dockerfile").read_text(), re.M)
    assert image
    assert image[1] == versions["torch"]


def test_no_file_names_a_machine_or_a_registry() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not listed:
        pytest.skip("not a git checkout")
    wrong = re.compile(
        r"(?<![\w.:/$}])/(?:home|Users|mnt|tmp)/\w|index[-]url|(?:pypi|pythonhosted|npmjs)[.](?:org|com)"
    )
    kinds = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".lock", ".sh", ".sbatch", ".ipynb", ".cff", ".mk", ""}
    for name in listed:
        path = ROOT / name
        if path.suffix in kinds and path.is_file():
            assert not wrong.search(path.read_text(errors="replace")), name


def blocks(document: str) -> list[list[str]]:
    """The indented blocks of a document, each as its lines."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [block.splitlines() for block in re.findall(r"(?:^    .*\n)+", text, re.M)]


def test_the_documents_have_the_layers_and_rooms_that_there_are() -> None:
    layers = [
        {name.strip() for name in line.split("|")}
        for line in next(contract["layers"] for contract in CONTRACTS if contract["name"] == "layers")
    ]
    (shown,) = (lines for lines in blocks("CONTRIBUTING.md") if lines[0].lstrip().startswith("__main__"))
    assert [{name.strip() for name in line.split("|")} - {"train.py"} for line in shown] == layers
    (tour,) = (lines for lines in blocks("docs/explanation/code.md") if "mets3d/" in "".join(lines))
    named = {line.split()[0].rstrip("/").removesuffix(".py") for line in tour if re.match(r" {6}\S", line)}
    assert named == set().union(*layers)
    folders = {line.split()[0].rstrip("/") for line in tour if re.match(r" {4}\S", line)}
    there = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0].isalpha()}
    assert folders - {"train.py"} <= there
    assert {"mets3d", "tests", "benchmarks", "docs", "deploy", "configs", "accelerate_configs"} <= folders


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == mets3d.__version__


def test_every_extra_that_is_named_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    texts = [path for name in listed if (path := ROOT / name).suffix in {".py", ".md", ".yaml", ".toml"}]
    for path in texts:
        for named in re.findall(r"mets3d\[([a-z,]+)\]", path.read_text(encoding="utf-8")):
            assert set(named.split(",")) <= set(extras), (path, named)


def commands(document: Path) -> list[str]:
    """Lines of indented blocks that call one of ours, with continuation lines joined."""
    text = document.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    return [line for line in lines if re.match(r"(mets3d|accelerate launch|make|ACCELERATE_USE_CPU=true) ", line)]


DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_commands_in_the_documents_name_what_exists(document: Path) -> None:
    from mets3d.__main__ import parser_of, verb_table
    from mets3d.config import leaves

    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    keys = {key for key, _, _ in leaves()}
    for command in commands(document):
        words = shlex.split(re.sub(r"\s#.*| \[.*\]", "", command))
        if words[0] == "make":
            assert words[1] in targets, command
        elif words[0] == "mets3d":
            parser_of(verb_table()).parse_args(words[1:])
        else:
            for word in words:
                if word.startswith(("configs/", "accelerate_configs/")):
                    assert (ROOT / word).exists(), command
            for word in words[words.index("train.py") + 1 :]:
                key = word.removeprefix("--").partition("=")[0]
                assert not word.startswith("--") or key in keys | {"config"}, command


def test_the_readme_has_the_commands_a_newcomer_needs() -> None:
    text = " ".join(commands(ROOT / "README.md"))
    for part in ("make train", "make test", "mets3d check", "mets3d preprocess", "train.py --config", "mets3d predict"):
        assert part in text
    assert (ROOT / re.search(r"!\[.*\]\((.*)\)", (ROOT / "README.md").read_text())[1]).exists()  # type: ignore[index]


CONFIGURATIONS = sorted((ROOT / "configs").rglob("*.yaml"))


@pytest.mark.parametrize("file", CONFIGURATIONS, ids=lambda file: file.stem)
def test_the_header_of_a_configuration_says_what_it_is_for_how_long_it_takes_and_what_it_reaches(file: Path) -> None:
    header = file.read_text(encoding="utf-8").partition("\n" + "base:")[0].partition("\nname:")[0]
    is_recipe = file.parent.name == "recipes" or file.stem == "brats_mets"
    figures = ["time", "memory", "score"] if is_recipe else ["time", "score"]
    expected = ["purpose", "command", *([] if file.stem == "base" else figures)]
    assert re.findall(r"^#   (\w+) ", header, re.M) == expected
    for word in re.findall(r"(?:accelerate_)?configs/[\w/]+\.yaml", header):
        assert (ROOT / word).exists(), word
    if file.stem != "base":
        for line in re.findall(r"^#   (?:time|memory|score) +(.*)$", header, re.M):
            known = ("(measured: ", "(derived: ", "not measured yet")
            assert line.startswith(known), "a figure is measured or derived from measured ones, or it is not given"


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=lambda file: file.name)
def test_documents_are_wrapped_at_100_columns(document: Path) -> None:
    for line in document.read_text(encoding="utf-8").splitlines():
        assert len(line) <= 100 or line.startswith(("    ", "|", "![")), line


@pytest.mark.parametrize("file", CONFIGURATIONS, ids=lambda file: file.stem)
def test_comments_in_configurations_are_wrapped_at_100_columns(file: Path) -> None:
    for line in file.read_text(encoding="utf-8").splitlines():
        assert len(line) <= 100 or not line.startswith("#"), line
