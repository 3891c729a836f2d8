"""Shows the notebook as a page: its cells, and what they gave when `make docs` ran them.

    python docs/site/notebook_page.py [OUT]     runs docs/notebook.ipynb, unless OUT is of this notebook and this code

OUT is runs/docs-notebook.ipynb, which MkDocs reads. A site that is built without it has the cells alone, and says so.
"""

from __future__ import annotations

import hashlib
import html
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
EXECUTED = ROOT / "runs" / "docs-notebook.ipynb"
CODE = "mets3d_code"  # in the metadata of a notebook that was run: a digest of the code
KINDS = (".py", ".js", ".html", ".css")
NOT_RUN = "This site was built without running the notebook: `make docs` runs it, and shows what its cells give."


def executed(notebook: Any, folder: Path, seconds: int = 600) -> Any:
    """Runs every cell in a kernel of its own that works in `folder`. Raises CellExecutionError where one fails."""
    client = NotebookClient(notebook, timeout=seconds, kernel_name="python3", resources={"metadata": {"path": folder}})
    return client.execute()


def notebook_pages() -> Mapping[str, str]:
    """Returns the page, and a file for each viewer in it, by address."""
    notebook = read(NOTEBOOK)
    known = read(EXECUTED) if EXECUTED.is_file() else None
    run = known is not None and is_of(known, notebook)
    cells = (known if run and known is not None else notebook).cells
    parts, frames = [] if run else [cells[0].source, NOT_RUN], {}
    for cell in cells if run else cells[1:]:
        parts += [cell.source] if cell.cell_type == "markdown" else [_block("python", cell.source)]
        outputs = cell.get("outputs", ())
        said = "".join(output.text for output in outputs if output.get("name") == "stdout")
        parts += [_block("text", said.rstrip())] if said else []
        for output in outputs:
            parts += _shown(output.get("data", {}), frames)
    return {"notebook.md": "\n\n".join(parts) + "\n", **frames}


def read(file: Path) -> Any:
    """Reads a notebook."""
    return nbformat.read(file, as_version=4)


def sources(notebook: Any) -> Sequence[tuple[str, str]]:
    """Returns the cells as they were written."""
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def is_of(known: Any, notebook: Any) -> bool:
    """Returns whether what was run is this notebook, by the code that is there now."""
    return sources(known) == sources(notebook) and known.metadata.get(CODE) == code_digest()


def code_digest() -> str:
    """Returns a digest of all code that a cell may call: an output is out of date once any of it has changed."""
    digest = hashlib.sha256()
    for file in sorted((ROOT / "mets3d").rglob("*")):
        if file.suffix in KINDS:
            digest.update(f"{file.relative_to(ROOT).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _shown(data: Mapping[str, str], frames: dict[str, str]) -> Iterator[str]:
    """Yields an output as Markdown; a viewer becomes a file, which the page shows in a frame."""
    if framed := re.search(r'srcdoc="([^"]*)"', data.get("text/html", "")):
        address = f"notebook/view_{len(frames) + 1}.html"
        frames[address] = html.unescape(framed[1])
        yield f'<iframe title="Viewer of a case" width="100%" height="860" style="border: 0" src="{address}"></iframe>'
    elif "image/png" in data:
        yield f'<img alt="Figure of the cell above" src="data:image/png;base64,{data["image/png"].strip()}">'
    elif "text/plain" in data:
        yield _block("text", data["text/plain"])


def _block(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def main(out: Path) -> None:
    """Runs the notebook in a new folder, for a run that is there would go on, and writes what its cells gave."""
    notebook = read(NOTEBOOK)
    if not out.is_file() or not is_of(read(out), notebook):
        out.parent.mkdir(parents=True, exist_ok=True)
        digest = code_digest()  # of before the run, which takes minutes
        with TemporaryDirectory() as folder:
            run = executed(notebook, Path(folder))
            run.metadata[CODE] = digest
            nbformat.write(run, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else EXECUTED)
