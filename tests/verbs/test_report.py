"""Where the page goes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mets3d.__main__ import main


def test_a_page_of_one_run_goes_into_the_run(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "tiny"
    shutil.copytree(trained_run, run)
    assert main(["report", str(run)]) == 0
    page = run / "report" / "index.html"
    assert capsys.readouterr().out.splitlines()[-1] == str(page)
    assert page.is_file()


def test_a_comparison_needs_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "a", "b"]) == 2
    assert "--out: expected a folder for the page that compares 2 runs" in capsys.readouterr().err
