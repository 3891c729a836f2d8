"""`mets3d convert` on the command line."""

from pathlib import Path

import pytest

from mets3d.__main__ import main
from mets3d.data.convert import FORMS
from mets3d.verbs.convert import TARGETS
from tests.builders.cases import make_case


def test_it_says_what_it_did_and_what_it_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_case(tmp_path / "D", "A 1")
    make_case(tmp_path / "D", "B", volumes={"t2w": None})
    target = tmp_path / "out"
    assert main(["convert", str(tmp_path / "D"), str(target), "--to", "nnunet-v2"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("layout: BraTS-METS")
    assert f"1 case with reference and 0 without in {target}; files: 5 linked" in said
    assert f"1 name changed to what nnU-Net can have, see {target / 'names.csv'}" in said
    assert "nnU-Net wants the folder to be named as Dataset001_Mets" in said
    assert said[-2] == "1 case not converted:"
    assert said[-1].startswith("  B: expected t1n, t1c, t2w, t2f, found no t2w")
    settings = "--data.sequences=[t1c, t2f]"
    assert main(["convert", str(tmp_path / "D"), str(tmp_path / "two"), "--to", "nnunet-v2", settings]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "nnunet-v3"], "invalid choice"),
        ([], "--to"),
        (["--to", "brats", "--data.labels={1: x}"], "data.labels"),
        (["--to", "brats", "--model.mode=cnn"], "model.mode"),
    ],
)
def test_wrong_arguments_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    make_case(tmp_path / "D", "A")
    try:
        code = main(["convert", str(tmp_path / "D"), str(tmp_path / "out"), *words])
    except SystemExit as leaving:
        code = int(str(leaving.code))
    assert code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_its_choices_are_those_that_are_built() -> None:
    assert TARGETS == FORMS
