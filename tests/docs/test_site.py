"""The built site: no warning, nothing fetched from elsewhere, every setting, verb, file and column on its page."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from mets3d.__main__ import main
from mets3d.config.keys import leaves
from mets3d.evaluation.lesions import lesion_scores
from mets3d.evaluation.rules import RULE_SETS
from mets3d.evaluation.scores import SCORES
from mets3d.rundir import CheckpointDir, ExportDir, Inside, PredictionsDir, RunDir
from mets3d.verbs.table import verb_table
from tests.builders.runs import ROOT

pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """What a page has: ids, the text of each element with an id, and the addresses that a browser would fetch."""

    def __init__(self, file: Path):
        super().__init__()
        self.ids: set[str] = set()
        self.fetched: list[str] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self.in_cell = False
        self.feed(file.read_text(encoding="utf-8"))
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids.add(given.get("id") or "")
        if tag != "a":
            self.fetched += [given[name] or "" for name in ("src", "href", "srcset", "data") if given.get(name)]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.in_cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self.in_cell:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it: a warning would be an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "40"},  # nor does a terminal's width change a page
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_document_is_a_page_of_the_site(site: Path) -> None:
    documents = {file.relative_to(ROOT / "docs").with_suffix(".html") for file in (ROOT / "docs").rglob("*.md")}
    assert documents <= {file.relative_to(site) for file in site.rglob("*.html")}


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for file in site.rglob("*.html"):
        addresses = [address for address in Page(file).fetched if re.match(r"(https?:)?//", address)]
        assert addresses == [], file.name
    for file in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", file.read_text(encoding="utf-8")), file.name


def test_every_setting_is_there_with_its_default_and_meaning(site: Path) -> None:
    page = Page(site / "reference" / "settings.html")
    by_key = {row[0].strip(): row for row in page.rows if len(row) == 4}
    for key, default, meaning in leaves():
        assert key in page.ids, f"no anchor for {key}"
        setting, kind, shown, said = (cell.strip() for cell in by_key[key])
        assert kind
        assert said.split() == meaning.replace("`", "").split(), setting
        if isinstance(default, bool) or default is None:
            assert shown == {True: "true", False: "false", None: "null"}[default]
        elif isinstance(default, float):
            assert float(shown) == pytest.approx(default, rel=1e-5)
        elif not isinstance(default, tuple):
            assert shown == str(default)


def test_every_verb_is_there_with_every_argument(site: Path) -> None:
    page = Page(site / "reference" / "commands.html")
    parsers = subparsers()
    assert set(parsers) == set(verb_table()) <= page.ids
    arguments = {row[0].strip() for row in page.rows if row}
    for name, parser in parsers.items():
        for action in parser._actions:
            among = f"{{{','.join(map(str, action.choices))}}}" if action.choices else action.dest
            shown = (action.option_strings or [str(action.metavar or among)])[0]
            assert action.dest == "help" or any(shown in argument for argument in arguments), (name, shown)


def subparsers() -> dict[str, object]:
    import argparse

    from mets3d.verbs.table import parser_of

    for action in parser_of(verb_table())._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError


def test_every_file_of_a_run_is_there(site: Path) -> None:
    text = Page(site / "reference" / "files.html").text
    for kind in (RunDir, CheckpointDir, PredictionsDir, ExportDir):
        for value in vars(kind).values():
            if isinstance(value, Inside):
                assert value.name in text, value.name


def declared(file: Path) -> dict[str, dict[str, str]]:
    """What the tables of a page say of each name in their first column: the other cells by their heading."""
    found, head = {}, []
    for cells in ([cell.strip() for cell in row] for row in Page(file).rows):
        if cells[0] in ("column", "field"):
            head = cells
        else:
            found[cells[0]] = dict(zip(head, cells, strict=True))
    return found


def undeclared(names: Iterable[str], known: dict[str, dict[str, str]], *stand_ins: str) -> list[str]:
    """The names without a row and meaning; words in capitals stand for anything without a slash."""
    patterns = [re.sub("|".join(stand_ins) or "(?!)", r"[^/]+", re.escape(name)) for name in known]
    assert all(row["meaning"] for row in known.values())
    return [name for name in names if not any(re.fullmatch(pattern, name) for pattern in patterns)]


def test_every_score_is_there(site: Path) -> None:
    known = declared(site / "reference" / "scores.html")
    assert {score.column for score in SCORES} <= known.keys()
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[1:4, 1:4, 1:4] = 3
    for rules in RULE_SETS:
        for row in lesion_scores(labels, labels, (1.0, 1.0, 1.0), rules=rules.name):
            assert undeclared(row, known, "CLASS") == [], rules.name
    assert known["lesion_wise_hd95"]["unit"] == "mm"
    assert (known["global_hd95"]["unit"], known["global_hd95"]["rule sets"]) == ("voxels", "brats2026")


def test_every_column_and_field_that_a_run_writes_is_there(
    site: Path, trained_run: Path, phantom_data: Path, tmp_path: Path
) -> None:
    fields, scores = (declared(site / "reference" / f"{page}.html") for page in ("columns", "scores"))
    name = sorted(folder.name for folder in phantom_data.iterdir())[0]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).symlink_to(phantom_data / name)
    out = tmp_path / "out"
    assert main(["predict", str(trained_run), str(tmp_path / "data"), str(out)]) == 0
    assert main(["evaluate", str(out), str(tmp_path / "data")]) == 0
    for table, known in (("scores.csv", scores), ("lesions.csv", fields)):
        with (out / table).open(encoding="utf-8", newline="") as stream:
            assert undeclared(next(csv.reader(stream)), known, "CLASS") == [], table
    assert undeclared(json.loads((out / "predict.json").read_text(encoding="utf-8")), fields) == []
    lines = [json.loads(line) for line in (trained_run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {line["kind"] for line in lines} == {"train", "validation"}
    for line in lines:
        assert undeclared(line, fields, "PART", "TERM", "LABEL", "REGION") == []
    assert (fields["memory_gb"]["unit"], fields["seconds"]["unit"], fields["x_mm"]["unit"]) == ("10^9 bytes", "s", "mm")


def test_the_names_of_the_python_contract_are_there(site: Path) -> None:
    ids = Page(site / "reference" / "python.html").ids
    document = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    names = re.findall(r"^::: (\S+)$", document, re.M)
    for part in ("TransUNet", "SegOutput", "QueryOutput", "from_original", "query_loss", "distance_transform",
                 "distance_to_other_class", "hausdorff_distance_loss", "hausdorff_erosion_loss", "cc_dice_loss",
                 "hausdorff_convolution_loss", "lesion_scores", "Predictor"):  # fmt: skip
        assert any(name.endswith(f".{part}") for name in names), part
    for name in names:
        assert name in ids, name
