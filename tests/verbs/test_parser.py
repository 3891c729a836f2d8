"""Overrides among a verb's arguments."""

from __future__ import annotations

import pytest

from mets3d.verbs.parser import VerbParser


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


def test_a_verb_without_a_configuration_takes_none(capsys: pytest.CaptureFixture[str]) -> None:
    plain = VerbParser(prog="mets3d verb")
    with pytest.raises(SystemExit):
        plain.parse_args(["--a.b=1"])
    assert "unrecognized arguments: --a.b=1" in capsys.readouterr().err


def test_help_names_the_overrides() -> None:
    assert "--SECTION.KEY=VALUE ... settings to change" in " ".join(parser().format_help().split())
