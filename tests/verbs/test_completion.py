"""`mets3d completion`: bash completes verbs, options and files as the parser has them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mets3d.__main__ import main


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["completion", "bash"]) == 0
    file = tmp_path / "completion.sh"
    file.write_text(capsys.readouterr().out, encoding="utf-8")
    return file


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "proposed"),
    [
        (["pre"], {"preprocess", "predict"}),
        (["evaluate", "--ru"], {"--rules"}),
        (["check", "case"], {"cases"}),
        (["synth", "out", "--cases", "case"], set()),
    ],
)
def test_bash_proposes(script: Path, words: list[str], proposed: set[str]) -> None:
    (script.parent / "cases").mkdir()
    line = " ".join(["mets3d", *words])
    code = f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _shtab_mets3d; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(
        ["bash", "-c", code], cwd=script.parent, capture_output=True, text=True, timeout=20, check=True
    )
    assert set(done.stdout.split()) == proposed
