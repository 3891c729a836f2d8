"""Overrides among a verb's arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from mets3d.__main__ import main
from mets3d.config import leaves
from mets3d.verbs.parser import TOP, VerbParser


def parser() -> VerbParser:
    parser = VerbParser(prog="mets3d verb")
    parser.add_argument("data")
    parser.add_argument("--also", nargs="+")
    parser.takes_overrides("settings to change", also=["precision"])
    return parser


def test_overrides_stand_anywhere_and_keep_their_order() -> None:
    words = ["--a.b=1", "DATA", "--also", "x", "--a.b.c=[1, 2]", "y", "--precision=bf16", "--a.b=\n"]
    with pytest.raises(SystemExit):  # y belongs to nothing
        parser().parse_args([*words, "--other"])
    options = parser().parse_args([word for word in words if word != "y"])
    assert options.overrides == ["--a.b=1", "--a.b.c=[1, 2]", "--precision=bf16", "--a.b=\n"]
    assert (options.data, options.also) == ("DATA", ["x"])
    assert parser().parse_args(["DATA"]).overrides == []


@pytest.mark.parametrize("word", ["--a.b", "--precision"])
def test_an_override_without_a_value_is_not_taken_for_something_else(
    capsys: pytest.CaptureFixture[str], word: str
) -> None:
    with pytest.raises(SystemExit) as leaving:
        parser().parse_args(["DATA", word, "0.5"])
    assert leaving.value.code == 2
    assert f"{word}: a value is missing; expected {word}=VALUE" in capsys.readouterr().err


def test_every_setting_without_a_section_is_an_override_of_training_and_plan(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert set(TOP) == {key for key, _, _ in leaves() if "." not in key}
    with pytest.raises(SystemExit) as leaving:
        main(["train", "--config", "base", "--weights=runs/a", "--weights_keep=[step]", "--print-config"])
    assert leaving.value.code == 0
    assert "weights_keep: [step]" in capsys.readouterr().out


def test_a_verb_without_a_configuration_takes_none(capsys: pytest.CaptureFixture[str]) -> None:
    plain = VerbParser(prog="mets3d verb")
    with pytest.raises(SystemExit):
        plain.parse_args(["--a.b=1"])
    assert "unrecognized arguments: --a.b=1" in capsys.readouterr().err


def test_help_names_the_overrides() -> None:
    assert "--SECTION.KEY=VALUE ... settings to change" in " ".join(parser().format_help().split())


@pytest.mark.parametrize("verb", ["check", "preprocess", "tune", "evaluate"])
@pytest.mark.parametrize("jobs", ["0", "-3", "nan", "1.5", ""])
def test_the_number_of_processes_is_from_1(capsys: pytest.CaptureFixture[str], verb: str, jobs: str) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([verb, "a", "b", f"--jobs={jobs}"])
    assert leaving.value.code == 2
    assert f"--jobs: expected a whole number from 1, found '{jobs}'" in capsys.readouterr().err


THROUGH, FOLDER, FILE = "FILE/x: FILE is a file, not a folder", "FOLDER is a folder; name a file", "FILE is a file"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("synth FILE", FILE),
        ("synth FILE/x", THROUGH),
        ("check DATA --json FOLDER", FOLDER),
        ("check DATA --json FILE/x", THROUGH),
        ("preprocess DATA FILE/x", THROUGH),
        ("predict RUN DATA FILE", FILE),
        ("predict RUN DATA FILE/x", THROUGH),
        ("tune RUN DATA --out FOLDER", FOLDER),
        ("tune RUN DATA --out FILE/x", THROUGH),
        ("export RUN FILE/x", THROUGH),
        ("evaluate A B --out FILE/x", THROUGH),
        ("compare A B --out FOLDER", FOLDER),
        ("compare A B --out FILE/x", THROUGH),
        ("report RUN --out FILE/x", THROUGH),
        ("import-weights F --patch 1 1 1 --out FILE/x", THROUGH),
    ],
)
def test_a_path_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("FILE").touch()
    Path("FOLDER").mkdir()
    with pytest.raises(SystemExit) as leaving:
        main(words.split())
    assert leaving.value.code == 2
    assert message in capsys.readouterr().err


def test_a_path_that_may_not_be_looked_at_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["synth", "x" * 5000])
    assert leaving.value.code == 2
    assert "too long" in capsys.readouterr().err
