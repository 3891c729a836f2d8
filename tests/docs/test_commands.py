"""Commands of the tutorial and the how-to pages are run, page by page, on small phantoms and with a tiny network.

A training runs in this process, as `train.py` with the settings of the command and those of TINY behind them; whatever
starts it, launcher or scheduler, is tested elsewhere. What is not run is parsed against the real command line, as every
command of every other page is (`tests/test_contracts.py`).
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mets3d.__main__ import main
from mets3d.config import load
from mets3d.data.cases import find_cases
from mets3d.phantoms.synth import synthesise
from mets3d.verbs.table import parser_of, verb_table
from tests.builders.runs import ROOT, train

HOW_TO = ROOT / "docs" / "howto"
PAGES = ["tutorial.md", "howto/own-data.md", "howto/folds.md", "howto/tuning.md", "howto/fine-tuning.md"]
# A rate of nothing: the heads keep their bias, nothing is found, and scores and pages are quick to make.
TINY = (
    *("--data.patch=[16,16,16]", "--data.workers=0", "--preprocess.spacing_mm=[5,5,5]", "--model.mode=cnn"),
    *("--model.strides=[[2,2,2],[2,2,2]]", "--model.kernels=null", "--model.features=4", "--model.max_features=8"),
    *(
        "--optim.lr=1e-6",
        "--train.steps=2",
        "--train.accumulation=1",
        "--train.recompute=0",
        "--optim.warmup_steps=1",
        "--precision=no",
    ),
    *("--validate.every=2", "--validate.cases=null", "--validate.all_every=null", "--validate.mirror=[]"),
    *("--predict.mirror=[]", "--predict.overlap=0", "--predict.threshold=0.99", "--track.wandb=disabled"),
)
ROUNDS = 2  # of a loop over folds; an average then leaves out the runs of the others
# Exit codes other than 0 that a page announces.
MAY_END_WITH = {"tune": {0, 1}}
NOT_RUN = {
    "import-weights": "needs a checkpoint of the original code; tests/release has made ones",
    "explore": "tests/reporting runs it, and it draws for seconds",
    "plan": "writes a network for 24 GB; its file is made by the test",
    "report": "draws for seconds; one page, of the comparison, stands for all",
}


def commands(page: Path) -> Iterator[str]:
    """Yields the commands of a page's indented blocks in order, the first rounds of loops written out."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    loop: list[str] = []
    variable, values = "", [""]
    for line in (line.strip() for line in text.splitlines() if line.startswith("    ")):
        if begin := re.fullmatch(r"for (\w+) in ([\w ]+); do", line):
            variable, values, loop = begin[1], begin[2].split(), []
        elif line == "done":
            yield from (one.replace(f"${variable}", value) for value in values[:ROUNDS] for one in loop)
            variable = ""
        elif re.match(r"mets3d ", line):
            if variable:
                loop.append(line)
            else:
                yield line


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with DATA, its first case without the reference as NEW, and the configuration of the own-data page."""
    folder = tmp_path_factory.mktemp("workspace")
    synthesise(folder / "DATA", 5, 5, shape=(30, 34, 28), spacing_mm=(5.0, 5.0, 5.0))
    case = find_cases(folder / "DATA")[0]
    shutil.copytree(case.folder, folder / "NEW" / case.name, ignore=shutil.ignore_patterns("*-seg*"))
    own = {"base": "base", "data": {"sequences": ["t1c", "t2f"], "folds": 3}}
    (folder / "mine.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    return folder


def run(words: list[str]) -> int:
    """Runs a command with the tiny network; the exit code."""
    verb = words[0]
    if verb == "train":
        return train(Path(words[words.index("--config") + 1]), *settings(words))
    if verb == "preprocess":
        words = [*words, "--preprocess.spacing_mm=[5,5,5]"]
        words = [word for place, word in enumerate(words) if word != "--jobs" and words[place - 1] != "--jobs"]
    if "--also" in words:
        words = [word for word in words if not word.startswith("runs/") or Path(word).is_dir()]
    return main(words)


def settings(words: list[str]) -> list[str]:
    """The settings of a training's command, with those of the tiny network in the place of others of the same keys."""
    own = [word for word in words if word.startswith("--") and "=" in word]
    tiny = dict(word.split("=", 1) for word in TINY)
    return [*(word for word in own if word.split("=", 1)[0] not in tiny), *TINY]


@pytest.mark.slow
def test_commands_of_the_tutorial_and_the_how_to_pages_run(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    done: dict[str, str] = {}
    for page in PAGES:
        for command in commands(ROOT / "docs" / page):
            words = shlex.split(command)[1:]
            if (words[0] in NOT_RUN and "runs/comparison" not in words) or command in done or " ..." in command:
                continue
            code = run(words)
            assert code in MAY_END_WITH.get(words[0], {0}), f"{page}: {command} ended with {code}"
            done[command] = page
    assert set(done.values()) == set(PAGES)
    for made in ("comparison/index.html", "comparison/figures", "mine/scores.csv", "fold1/scores.csv"):
        assert (workspace / "runs" / made).exists(), made
    assert list((workspace / "predictions" / "five").glob("*.nii.gz"))


def test_commands_for_containers_and_schedulers_are_those_of_the_command_line() -> None:
    """What stands behind the image's name, or a job script's, is read by the parser of the verb that is called."""
    called = {"folds.sbatch": ["train"], "sweep.sbatch": ["sweep"], "nodes.sbatch": ["train"]}
    read = 0
    for number in ("0", "1"):
        text = (HOW_TO / "clusters.md").read_text(encoding="utf-8")
        (line,) = re.findall(rf"^    GPUS=4 (deploy/two_hosts.sh {number} .*)$", text, re.M)
        script, rank, _, *words = shlex.split(line)
        assert ((ROOT / script).is_file(), rank) == (True, number)
        load(words)
    for file in re.findall(r"^    (?:kubectl apply --filename|sky jobs launch) (\S+)", text, re.M):
        assert (ROOT / file).is_file(), file
    for page in ("docker.md", "slurm.md"):
        text = (HOW_TO / page).read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"^    (docker run|sbatch) (.*)$", text, re.M):
            words = shlex.split(line[1])
            if line[0] == "sbatch":
                script = ROOT / words[0]
                assert script.is_file(), script
                words = [*called[script.name], *words[1:]]
            else:
                words = words[words.index("mets3d") + 1 :]
            parser_of(verb_table()).parse_args(words)
            read += 1
    assert read >= 6


def test_every_page_that_is_run_has_commands_and_others_say_why() -> None:
    pages = {f"howto/{file.name}" for file in HOW_TO.glob("*.md")} | {"tutorial.md"}
    run_here = {page for page in pages if page in PAGES}
    assert run_here == set(PAGES)
    assert pages - run_here <= {
        "howto/index.md",  # no command
        "howto/coming-from.md",  # tables of names
        "howto/gpus.md",  # needs GPUs
        "howto/slurm.md",  # needs a scheduler
        "howto/docker.md",  # needs an engine
        "howto/clusters.md",  # needs several hosts
    }
    for page in PAGES:
        assert len(list(commands(ROOT / "docs" / page))) >= 2, page


def test_settings_named_on_the_pages_exist() -> None:
    """A setting in backticks, such as `data.patch` or `--data.patch=...`, on any page of the site."""
    from mets3d.config.keys import leaves

    known = {key for key, _, _ in leaves()}
    sections = {key.partition(".")[0] for key in known if "." in key}
    for page in (ROOT / "docs").rglob("*.md"):
        for word in re.findall(r"`(?:--)?([a-z]+\.[a-z_]+)(?:[=:][^`]*)?`", page.read_text(encoding="utf-8")):
            section, _, name = word.partition(".")
            if section in sections and name not in ("py", "md", "yaml", "json", "lock", "safetensors", "onnx"):
                assert word in known, f"{page.name}: {word}"
