"""The notebook runs from top to bottom, and the site shows what its cells gave."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.builders.runs import ROOT


@pytest.mark.slow
def test_the_notebook_runs_and_the_page_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "site" / "notebook_page.py"), "run.ipynb"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path / "ipython")},
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = pages_of(tmp_path / "run.ipynb", monkeypatch)
    page = pages["notebook.md"]
    dice, hausdorff = zip(*re.findall(r"Dice loss ([\d.]+)   Hausdorff loss (\S+)", page), strict=True)
    far = [float(value) for value in hausdorff]
    assert dice[-3:] == ("1.000",) * 3, "Dice cannot tell near from far"
    assert far == sorted(set(far)), "the distance loss can"
    first, last = map(float, re.findall(r"loss ([\d.]+) -> ([\d.]+)", page)[0])
    assert last < first
    assert "data:image/png;base64," in page
    assert f'src="{next(iter(set(pages) - {"notebook.md"}))}"' in page
    assert "<html" in pages["notebook/view_1.html"]


def test_without_a_run_the_page_has_the_cells_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = pages_of(tmp_path / "nothing.ipynb", monkeypatch)["notebook.md"]
    assert "built without running the notebook" in page
    cells = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    assert page.count("```python") == sum(cell["cell_type"] == "code" for cell in cells)


def test_what_other_code_gave_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "site"))
    import notebook_page

    run = notebook_page.read(notebook_page.NOTEBOOK)
    last = next(cell for cell in reversed(run.cells) if cell.cell_type == "code")
    last.outputs = [nbformat.v4.new_output("stream", name="stdout", text="what a cell gave\n")]
    for digest, shown in ((notebook_page.code_digest(), True), ("that of other code", False)):
        run.metadata[notebook_page.CODE] = digest
        nbformat.write(run, tmp_path / "run.ipynb")
        page = pages_of(tmp_path / "run.ipynb", monkeypatch)["notebook.md"]
        assert ("what a cell gave" in page) is shown
        assert ("built without running the notebook" in page) is not shown


def pages_of(executed: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "site"))
    import notebook_page

    monkeypatch.setattr(notebook_page, "EXECUTED", executed)
    return notebook_page.notebook_pages()
