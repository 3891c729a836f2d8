"""The table of verbs: found in their files, in the data's order; the version; a mistyped verb."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import mets3d
from mets3d import verbs
from mets3d.__main__ import HOW_TO_GO_ON, main, verb_table
from tests.builders.runs import ROOT


def leaving(*words: str) -> int:
    """The exit code with which argparse leaves."""
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_every_verb_is_a_file_and_help_lists_them_along_the_data_s_way(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["synth", "check", "preprocess", "predict", "tune", "export", "evaluate", "compare", "report"]
    assert [name for name in verb_table() if name in names] == names
    files = {file.stem.replace("_", "-") for file in (ROOT / "mets3d" / "verbs").glob("*.py")}
    assert set(verb_table()) == files - {"--init--", "parser", "case-folders", "configuration", "table"}
    assert leaving("--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    places = [text.index(verb.SUMMARY) for verb in verb_table().values()]
    assert places == sorted(places)


def test_a_verb_of_tomorrow_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of_tomorrow.py").write_text(
        "SUMMARY, ORDER = 'count words', 35\n"
        "def arguments(parser): parser.add_argument('words', nargs='*')\n"
        "def run(options): return len(options.words)\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(verbs, "__path__", [*verbs.__path__, str(tmp_path)])
    try:
        names = list(verb_table())
        assert names[names.index("preprocess") + 1] == "of-tomorrow"
        assert main(["of-tomorrow", "a", "b", "c"]) == 3
    finally:
        sys.modules.pop("mets3d.verbs.of_tomorrow", None)


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_is_one_line(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert leaving(flag) == 0
    assert capsys.readouterr().out == f"mets3d {mets3d.__version__}\n"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("prdict", "no verb 'prdict'; did you mean predict?"),
        ("reprot", "no verb 'reprot'; did you mean report?"),
        ("import_weights", "no verb 'import_weights'; did you mean import-weights?"),
        ("xyz", "no verb 'xyz'; expected synth, check, explore, convert, plan, preprocess,"),
    ],
)
def test_a_mistyped_verb_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str], word: str, message: str
) -> None:
    assert leaving(word, "--out", "x") == 2
    assert message in capsys.readouterr().err


def test_without_a_verb_one_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert leaving() == 2
    assert "required: VERB" in capsys.readouterr().err


def test_module_and_command_are_the_same() -> None:
    done = subprocess.run([sys.executable, "-m", "mets3d", "-V"], capture_output=True, text=True, check=True)
    assert done.stdout == f"mets3d {mets3d.__version__}\n"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("no such thing"), 2, "mets3d of-today: no such thing\n"),
        (FileNotFoundError("nowhere"), 2, "mets3d of-today: nowhere\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "out"),
            1,
            f"mets3d of-today: [Errno {errno.ENOSPC}] No space left on device: 'out'{HOW_TO_GO_ON}\n",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_are_one_message_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, message: str
) -> None:
    verb = ModuleType("of_today")

    def run(options: object) -> int:
        raise error

    vars(verb).update(SUMMARY="fail", ORDER=1, arguments=lambda parser: None, run=run)
    monkeypatch.setattr("mets3d.__main__.verb_table", lambda: {"of-today": verb})
    assert main(["of-today"]) == code
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("name", verb_table())
def test_each_verb_answers_help(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert leaving(name, "--help") == 0
    assert capsys.readouterr().out.startswith(f"usage: mets3d {name} ")
