"""Every command of every page is run, page by page, on small phantoms and with a tiny network, or NOT_RUN says why not.

A training runs in this process, as `train.py` with the settings of the command and those of TINY behind them; whatever
starts it, launcher or scheduler, is tested elsewhere. What is not run is parsed against the real command line
(`tests/test_contracts.py`), a command of ours behind a container's or scheduler's name below.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from mets3d.__main__ import main
from mets3d.config import load
from mets3d.data.cases import find_cases
from mets3d.phantoms.synth import synthesise
from mets3d.study import runner, study
from mets3d.verbs.table import parser_of, verb_table
from tests.builders.runs import ROOT, train
from tests.study.test_study import Pretended, really

HOW_TO = ROOT / "docs" / "howto"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# In this order: later pages use what earlier ones made. Of the other pages NOT_RUN has every command.
PAGES = [
    *("docs/tutorial.md", "docs/howto/own-data.md", "docs/howto/folds.md", "docs/howto/tuning.md"),
    *("docs/howto/fine-tuning.md", "README.md", "docs/sharing.md", "docs/data.md", "docs/phantoms.md"),
    *("docs/howto/gpus.md", "docs/sweeps.md", "docs/training.md"),
]
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
# How a command begins -> why it is not run here. Words in capitals that are no file of the test make it a pattern.
NOT_RUN = {
    r"mets3d import-weights": "needs a checkpoint of the original code; tests/release has made ones",
    r"mets3d explore": "draws for seconds; tests/reporting/explore runs it",
    r"mets3d plan": "writes a network for 24 GB; its file is made by the test, and tests/planning runs it",
    r"mets3d report (?!runs/base runs/hausdorff )": "draws for seconds; one page, of the comparison, stands for all",
    r"mets3d report --watch": "goes on until it is stopped; tests/reporting/test_watch.py",
    r"mets3d train .*--find-accumulation": "looks for what fits a GPU; tests/training/test_gpu.py",
    r"mets3d train --launch multi_gpu": "needs GPUs; tests/training/test_launcher.py",
    r"mets3d train .*OUT/splits_by_site": "needs a store of the phantoms of many sites; tests/phantoms/test_sites.py",
    r"mets3d sweep (configs/sweeps/)?loss_variants": "hundreds of trainings; the sweep smoke stands for it",
    r"mets3d export .*--onnx": "traces for seconds; tests/release/test_export.py runs the graph, too",
    r"mets3d (predict|tune) RUN|mets3d (evaluate|preprocess) .*(REFERENCES|STORE|OUT)|mets3d compare SCORES": (
        "a pattern of a command that other pages have with names"
    ),
    r"mets3d check DATA .*\.\.\.": "a pattern, too",
    r"accelerate launch": "the same training as by mets3d train; tests/test_line.py",
    r"make |source ": "environment, quickstart and this suite themselves; .ci/run",
    r"docker |kubectl |sky |sbatch |GPUS=4 deploy/": "needs an engine, a cluster or two hosts; parsed, tests/deploy",
    r"(CUDA_VISIBLE_DEVICES=0 )?wandb ": "needs its server; tests/training/test_wandb.py pretends one",
    r"tensorboard ": "a server that does not end; tests/training/test_sender.py reads what it would show",
    r"python -m monai": "tests/release/test_export.py runs the bundle",
    r"(\.venv/bin/)?python -m pip|pip ": "fetches packages",
    r"(\.venv/bin/)?python benchmarks/": "measures, for minutes to days",
    r"python -m tests\.faults": "tests/faults runs a part of it",
}
PROGRAMS = (
    r"(mets3d|make|source|accelerate|docker|kubectl|sky|sbatch|wandb|tensorboard|pip|python|\.venv/bin/python) "
    r"|[A-Z_0-9]+=\S+ \S+ "
)


def reason(command: str) -> str | None:
    """Why a command is not run; None for one that is."""
    return next((why for beginning, why in NOT_RUN.items() if re.match(beginning, command)), None)


def commands(page: Path) -> Iterator[str]:
    """Yields the commands of a page's indented blocks in order, without remarks, the first rounds of loops in full."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    loop: list[str] = []
    variable, values = "", [""]
    for line in (re.sub(r"\s+#.*", "", line.strip()) for line in text.splitlines() if line.startswith("    ")):
        if begin := re.fullmatch(r"for (\w+) in ([\w ]+); do", line):
            variable, values, loop = begin[1], begin[2].split(), []
        elif line == "done":
            yield from (one.replace(f"${variable}", value) for value in values[:ROUNDS] for one in loop)
            variable = ""
        elif re.match(PROGRAMS, line):
            if variable:
                loop.append(line)
            else:
                yield line


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with DATA, its first case without the reference as NEW, and the configuration of the own-data page.

    Its quickstart has the same cases, as `make train` leaves them.
    """
    folder = tmp_path_factory.mktemp("workspace")
    synthesise(folder / "DATA", 5, 5, shape=(30, 34, 28), spacing_mm=(5.0, 5.0, 5.0))
    case = find_cases(folder / "DATA")[0]
    shutil.copytree(case.folder, folder / "NEW" / case.name, ignore=shutil.ignore_patterns("*-seg*"))
    quickstart = folder / "runs" / "quickstart-data"
    quickstart.mkdir(parents=True)
    (quickstart / "cases").symlink_to(folder / "DATA")
    assert run(["preprocess", str(folder / "DATA"), str(quickstart / "store"), "--config", "quickstart"]) == 0
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
    if verb in ("synth", "convert"):
        shutil.rmtree("OUT", ignore_errors=True)  # a name that pages give to several folders
    if verb == "synth":  # the last word counts
        words = [*words, "--cases", "5", "--shape", "30", "34", "28", "--spacing", "5"]
    if verb == "sweep":
        words = [*words, *TINY]
    if "--also" in words:
        words = [word for word in words if not word.startswith("runs/") or Path(word).is_dir()]
    return main(words)


@pytest.fixture
def trained_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs of a sweep train, predict and are scored in this process, in place of one each."""
    monkeypatch.setattr(runner, "POLL_S", 0.001)
    monkeypatch.setattr(study, "Workshop", partial(runner.Workshop, begin=partial(Pretended, really)))


def settings(words: list[str]) -> list[str]:
    """The settings of a training's command, with those of the tiny network in the place of others of the same keys."""
    own = [word for word in words if word.startswith("--") and "=" in word]
    tiny = dict(word.split("=", 1) for word in TINY)
    return [*(word for word in own if word.split("=", 1)[0] not in tiny), *TINY]


@pytest.mark.slow
@pytest.mark.usefixtures("trained_here")
def test_commands_of_the_pages_run(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    done, pages = set[str](), set[str]()
    for page in PAGES:
        for command in commands(ROOT / page):
            if reason(command):
                continue
            pages.add(page)
            if command in done:
                continue
            words = shlex.split(command)[1:]
            code = run(words)
            assert code in MAY_END_WITH.get(words[0], {0}), f"{page}: {command} ended with {code}"
            done.add(command)
    assert pages == set(PAGES)
    for made in ("comparison/index.html", "comparison/figures", "mine/scores.csv", "fold1/scores.csv"):
        assert (workspace / "runs" / made).exists(), made
    assert list((workspace / "predictions" / "five").glob("*.nii.gz"))
    assert (workspace / "share" / "brats_mets_bundle" / "configs" / "inference.json").is_file()
    assert len(list((workspace / "runs" / "smoke").glob("*/*/scores.csv"))) == 6


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
    for page in DOCUMENTS:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
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
    assert read >= 7


def test_every_command_is_run_or_has_a_reason() -> None:
    every = {page.relative_to(ROOT).as_posix(): list(commands(page)) for page in DOCUMENTS}
    run_here = {command for page in PAGES for command in every[page] if not reason(command)}
    for page, own in every.items():
        for command in own:
            assert command in run_here or reason(command), f"{page}: {command}: run it, or say in NOT_RUN why not"
    for beginning, why in NOT_RUN.items():
        assert all((ROOT / test).exists() for test in re.findall(r"tests/[\w/.]+", why)), why
        assert any(re.match(beginning, command) for own in every.values() for command in own), beginning


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
