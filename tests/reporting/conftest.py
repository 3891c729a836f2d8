"""Fake run directories over tiny NIfTI cases, and a reader of the page's tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from types import MappingProxyType
from typing import Any

import nibabel
import numpy as np
import pytest

from mets3d.config import Config, to_yaml
from mets3d.reporting.read_run import read_run
from mets3d.reporting.run_record import RunRecord

SHAPE = (40, 36, 20)
REGIONS = ("WT", "TC", "ET")
COLUMNS = (
    *("case", "region", "rules", "lesion_wise_dice", "lesion_wise_hd95", "dice", "hd95"),
    *("lesions_found", "lesions_missed", "lesions_false"),
)

ENVIRONMENT = MappingProxyType({"parameters": 1234567, "device": "cpu", "command": "train.py --a=b"})

Cells = dict[tuple[str, str], dict[str, Any]]
MakeRun = Callable[..., Path]


class Page(HTMLParser):
    """Tables as {caption or label: rows of cell texts}, sources of what a browser would load, and the plain text."""

    def __init__(self, html: str):
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.sources: list[str] = []
        self.links: dict[str, str] = {}  # text -> address
        self.tags: set[str] = set()
        self.text = ""
        self._rows: list[list[str]] = []
        self._caption = self._label = ""
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        if tag == "a":
            self._address = dict(attrs).get("href", "")
        if tag != "a":  # a link is followed by a reader, not loaded
            self.sources += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if ("role", "region") in attrs:
            self._label = dict(attrs)["aria-label"]
        if tag == "table":
            self._rows, self._caption = [], ""
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._rows[-1].append("")
        if tag not in ("img", "meta", "link", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass
        if tag == "table":
            self.tables[self._caption.strip() or self._label or f"table {len(self.tables)}"] = self._rows
            self._label = ""

    def handle_data(self, data: str) -> None:
        if {"style", "script"} & set(self._open):
            return
        data = data.replace("\u00a0%", " %")
        self.text += data
        if "a" in self._open:
            self.links[data] = self._address
        if "caption" in self._open and "span" not in self._open:
            self._caption += data
        elif ("td" in self._open or "th" in self._open) and self._rows and self._rows[-1]:
            self._rows[-1][-1] += data


@pytest.fixture
def read_page() -> Callable[[Path], Page]:
    return lambda path: Page(path.read_text(encoding="utf-8"))


@pytest.fixture
def links_of() -> Callable[[Path], dict[str, str]]:
    return lambda path: Page(path.read_text(encoding="utf-8")).links


def random_scores(cases: Sequence[str], seed: int) -> Cells:
    rng = np.random.default_rng(seed)
    return {
        (case, region): {
            "lesion_wise_dice": float(rng.random()),
            "lesion_wise_hd95": float(100 * rng.random()),
            "dice": float(rng.random()),
            "hd95": float(20 * rng.random()),
            "lesions_found": int(rng.integers(0, 6)),
            "lesions_missed": int(rng.integers(0, 4)),
            "lesions_false": int(rng.integers(0, 4)),
        }
        for case in cases
        for region in REGIONS
    }


@pytest.fixture
def scores_of() -> Callable[[Sequence[str], int], Cells]:
    return random_scores


def phantom(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """t2f, t1c and labels: an ellipsoid head with one lesion of oedema, rim and core."""
    rng = np.random.default_rng(seed)
    x, y, z = (np.arange(n) - (n - 1) / 2 for n in SHAPE)
    head = (x[:, None, None] / 18) ** 2 + (y[None, :, None] / 16) ** 2 + (z[None, None, :] / 9) ** 2 < 1
    from_lesion = np.sqrt((x[:, None, None] - 6) ** 2 + (y[None, :, None] + 3) ** 2 + (z[None, None, :] - 1) ** 2)
    labels = np.zeros(SHAPE, np.uint8)
    for radius, label in ((6, 2), (4, 3), (2, 1)):
        labels[from_lesion < radius] = label
    noise = 5 * rng.standard_normal(SHAPE)
    t2f = np.where(head, 100 + noise + 80 * (labels > 0), 0)
    t1c = np.where(head, 100 + noise + 90 * (labels == 3), 0)
    return t2f, t1c, labels * head


@pytest.fixture
def data_set(tmp_path: Path) -> Callable[[Sequence[str]], Path]:
    """Writes cases in BraTS-METS layout, with labels, and returns the folder."""

    def make(cases: Sequence[str]) -> Path:
        for seed, case in enumerate(cases):
            folder = tmp_path / "data" / case
            folder.mkdir(parents=True)
            t2f, t1c, labels = phantom(seed)
            for name, array in (("t2f", t2f.astype(np.float32)), ("t1c", t1c.astype(np.float32)), ("seg", labels)):
                nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), folder / f"{case}-{name}.nii.gz")
        return tmp_path / "data"

    return make


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a run directory; a piece given as None is left out."""

    def make(
        name: str = "base",
        *,
        cases: Sequence[str] = ("A", "B", "C"),
        trained_on: Sequence[str] = ("T1", "T2", "T3", "T4"),
        settings: dict[str, Any] | None = None,
        environment: Mapping[str, Any] | None = ENVIRONMENT,
        metrics: Sequence[dict[str, Any]] | None = (),
        scores: Cells | None = None,
        baseline: dict[str, Any] | None = None,
        data: Path | None = None,
        split: bool = True,
    ) -> Path:
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        config = Config.model_validate(
            {"name": "any", "train": {"steps": 40}, "validate": {"rules": "brats2023"}} | (settings or {})
        )
        (run / "config.yaml").write_text(to_yaml(config))
        if environment is not None:
            (run / "environment.json").write_text(json.dumps(dict(environment)))
        if split:
            fold = {"fold": 0, "folds": 5, "training": list(trained_on), "validation": list(cases)}
            (run / "split.json").write_text(json.dumps(fold))
        if metrics is not None:
            lines = [json.dumps(row) for row in metrics or training_log(config.loss.boundary != "none")]
            (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
        if baseline is not None:
            (run / "baseline.json").write_text(json.dumps(baseline))
        if scores is not None:
            write_scores(run / "scores.csv", scores)
        if data is not None:
            write_predictions(run / "predictions", data, cases)
        return run

    return make


def training_log(boundary: bool) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for step in range(2, 41, 2):
        parts = {"loss/dice": 1 / step, "loss/bce": 0.5 / step} | ({"loss/boundary": 3.0} if boundary else {})
        rows.append(
            {"step": step, "kind": "train", "loss": sum(parts.values()), **parts, "lr": 1e-3, "boundary_weight": 1.0}
        )
        if step % 10 == 0:
            dice = {f"dice/{region}": 0.01 * step for region in REGIONS}
            rows.append({"step": step, "kind": "validation", **dice, "dice/mean": None})
    return rows


def write_scores(path: Path, scores: Cells) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        every = dict.fromkeys((*COLUMNS, *(column for row in scores.values() for column in row)))
        writer = csv.DictWriter(stream, list(every))
        writer.writeheader()
        for (case, region), row in scores.items():
            writer.writerow({"case": case, "region": region, "rules": "brats2023"} | row)


def write_predictions(folder: Path, data: Path, cases: Sequence[str]) -> None:
    """The reference moved by one voxel along X."""
    folder.mkdir()
    for case in cases:
        image = nibabel.load(data / case / f"{case}-seg.nii.gz")
        moved = np.roll(np.asarray(image.dataobj), 1, axis=0)
        nibabel.save(nibabel.Nifti1Image(moved, image.affine), folder / f"{case}.nii.gz")
    (folder / "predict.json").write_text(json.dumps({"data": str(data), "cases": list(cases)}))


def tables(html: str) -> dict[str, dict[str, list[str]]]:
    """Tables of some HTML by caption; each as first cell -> other cells, without the headings."""
    return {name: {row[0]: row[1:] for row in rows[1:]} for name, rows in Page(html).tables.items()}


def scores_shown(page: Page) -> dict[tuple[str, str], list[str]]:
    """The table of scores: (score without its arrow, statistic) -> a cell per region."""
    found: dict[tuple[str, str], list[str]] = {}
    rows = page.tables["Scores by region"][1:]
    columns = len(rows[0]) - 2
    score = ""
    for row in rows:
        *name, statistic = row[:-columns]
        score = name[0].rstrip(" ↑↓") if name else score
        found[score, statistic] = row[-columns:]
    return found


def cells_of(rows: Sequence[list[str]], score: str, region: str) -> list[str]:
    """The cells behind score and region of a table in which a score heads several rows."""
    head = ""
    for row in rows[1:]:
        if len(row) == len(rows[0]):
            head = row[0]
        if head.startswith(score) and row[-len(rows[0]) + 1] == region:
            return row[-len(rows[0]) + 2 :]
    raise AssertionError(f"no row {score} {region} in {rows}")


# ---------------------------------------------------------------- cohorts

LESIONS = ("case", "region", "rules", "lesion", "kind", "size_class", "reference_volume_mm3", "dice", "hd95")
FROC = ("case", "region", "rules", "threshold", "lesions_found", "lesions_missed", "lesions_false")


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)


def random_lesions(cases: Sequence[str], seed: int, amount: int = 40) -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(seed)
    return [
        (
            *(case, region, "brats2023", number, kind, ""),
            *(float(rng.lognormal(4, 2)), float(rng.random()) if kind == "found" else 0.0, 1.0),
        )
        for case in cases
        for region in ("WT", "TC", "ET")
        for number, kind in enumerate(rng.choice(["found", "missed", "ignored", "false"], amount), 1)
    ]


@pytest.fixture
def cohort_run(make_run: MakeRun, scores_of: Callable[[Sequence[str], int], Cells]) -> Callable[..., RunRecord]:
    """A run whose tables hold volumes, lesions and, where given, FROC counts."""

    def make(
        name: str = "base",
        seed: int = 0,
        cases: Sequence[str] = ("A", "B", "C"),
        lesions: list[Any] | None = None,  # tuples as LESIONS names them, or dicts
        points: list[tuple[Any, ...]] | None = None,
        volumes: bool = True,
    ) -> RunRecord:
        scores = scores_of(cases, seed)
        rng = np.random.default_rng(seed)
        run = make_run(name, cases=cases, scores=scores)
        if volumes:
            rows = list(csv.DictReader((run / "scores.csv").read_text().splitlines()))
            for row in rows:
                row["reference_volume_mm3"], row["prediction_volume_mm3"] = rng.lognormal(7, 1, 2).tolist()
                row["lesion_wise_nsd_1.0"] = rng.random()
            write_table(run / "scores.csv", rows[0], [row.values() for row in rows])
        if lesions and isinstance(lesions[0], dict):
            write_table(run / "lesions.csv", lesions[0], [row.values() for row in lesions])
        else:
            write_table(run / "lesions.csv", LESIONS, random_lesions(cases, seed) if lesions is None else lesions)
        if points is not None:
            write_table(run / "froc.csv", FROC, points)
        return read_run(run)

    return make


@pytest.fixture
def empty_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing diagrams takes most of a report's time; they have their own tests."""
    monkeypatch.setattr("mets3d.reporting.page.training_curves", lambda record, figures: None)
    monkeypatch.setattr("mets3d.reporting.page.cohort_figures", lambda records, cases, figures: None)
