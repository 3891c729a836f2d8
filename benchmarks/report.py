"""Time and size of the page of a run or of many: arms x seeds x folds, made of synthetic tables.

    .venv/bin/python benchmarks/report.py [--arms 10 --seeds 3 --folds 1] [--cases 40 --lesions 5] [--open] [--keep DIR]

Each run has scores.csv and lesions.csv of its held-out cases with every column of brats2026, --lesions of a case and
region, and metrics.jsonl of 1,000 steps; no predictions, so no pictures. `mets3d report` and, of several runs,
`mets3d compare` run as processes of their own, so that starting Python counts; seconds are those on the wall and of
the processor.

--open: the index is opened five times in a headless Chromium, each time in a new profile. Milliseconds are from the
start of the navigation until the page is parsed, until it is loaded, and until a task behind the next frame has run:
then it answers the reader. An index above 3 MB ends in an error.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import print_table, save

from mets3d.config import Config, to_yaml
from mets3d.evaluation.lesions import SIZE_EDGES_MM3
from mets3d.evaluation.region_scores import size_class, size_classes
from mets3d.evaluation.scores import BY_SIZE, KEYS, score_columns

REGIONS = ("WT", "TC", "ET", "RC")
STEPS, VALIDATED_EVERY = 1000, 100
MOST_BYTES = 3e6  # of an index
BROWSERS, OPENINGS = ("chromium", "chromium-browser", "google-chrome"), 5
# What a page has noted of its own opening, and when a task behind its next frame runs.
TIMES = """() => new Promise((done) => {
  const [own] = performance.getEntriesByType("navigation");
  requestAnimationFrame(() => setTimeout(() => done([own.domInteractive, own.loadEventEnd, performance.now()])));
})"""
TERMS = ("none", "hausdorff_distance", "hausdorff_log", "signed_distance", "blob")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("arms", 10), ("seeds", 3), ("folds", 1), ("cases", 40), ("lesions", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--open", action="store_true", help="also open the index in a browser")
    parser.add_argument("--keep", type=Path, help="folder for runs and page, which are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="report-") as folder:
        place = options.keep or Path(folder)
        runs = made_runs(place, (options.arms, options.seeds, options.folds), options.cases, options.lesions)
        times = {"report": timed("report", *map(str, runs), "--out", str(place / "page"))}
        if len(runs) > 1:
            times["compare"] = timed("compare", *map(str, runs))
        index = place / "page" / "index.html"
        page_mib = round(index.stat().st_size / 2**20, 2)
        opening = opened(index) if options.open else {}
    rows = [[name, f"{own['wall_s']:.1f}", f"{own['cpu_s']:.1f}"] for name, own in times.items()]
    rows += [[name, f"{own['least']:.0f} ms", f"{own['median']:.0f} ms"] for name, own in opening.items()]
    print_table(f"{len(runs)} runs, page of {page_mib} MiB", ["", "wall s", "CPU s"], rows)
    shape = f"{options.arms} arms x {options.seeds} seeds x {options.folds} folds, {options.cases} cases"
    shape += f" with {options.lesions} lesions"
    save("report", shape, {**times, **opening, "page_mib": page_mib}, torch.device("cpu"))
    if page_mib * 2**20 > MOST_BYTES:
        raise SystemExit(f"report: expected an index of at most {MOST_BYTES / 1e6:g} MB, found {page_mib} MiB")


def timed(*words: str) -> dict[str, float]:
    """Runs a verb in a process of its own; seconds on the wall and of the processor."""
    before, started = os.times(), time.perf_counter()
    command = [sys.executable, "-m", "mets3d", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=600)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall_s": round(time.perf_counter() - started, 2), "cpu_s": round(cpu, 2)}


def opened(index: Path) -> dict[str, dict[str, float]]:
    """Opens a page in a browser, some times; the least and the median of each time in ms."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise SystemExit(f"report --open: expected one of {', '.join(BROWSERS)} on PATH, found none")
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        for _ in range(OPENINGS):
            page = browser.new_page(viewport={"width": 1200, "height": 900})
            page.goto(index.resolve().as_uri(), wait_until="load", timeout=300_000)
            found.append(page.evaluate(TIMES))
            page.close()
        browser.close()
    names = ("parsed_ms", "loaded_ms", "answers_ms")
    return {
        name: {"least": min(times), "median": statistics.median(times)}
        for name, times in zip(names, zip(*found, strict=True), strict=True)
    }


def made_runs(place: Path, runs: tuple[int, int, int], cases: int, lesions: int) -> list[Path]:
    """Writes directories of `runs`, which are arms, seeds and folds; those of an arm one after the other."""
    arms, seeds, folds = runs
    names = [f"P-{number:03d}-000" for number in range(cases)]
    return [
        made_run(place / "runs" / f"arm{arm}-seed{seed}-fold{fold}", arm, seed, (fold, folds), names, lesions)
        for arm in range(arms)
        for seed in range(seeds)
        for fold in range(folds)
    ]


def made_run(run: Path, arm: int, seed: int, part: tuple[int, int], names: Sequence[str], lesions: int) -> Path:
    """Writes one run: its settings, split, log and tables."""
    fold, folds = part
    held_out = list(names[fold::folds])
    run.mkdir(parents=True)
    loss = {"boundary": TERMS[arm % len(TERMS)], "boundary_weight": 0.1 + arm // len(TERMS)}
    settings = {"name": run.name, "seed": seed, "data": {"fold": fold}, "loss": loss, "train": {"steps": STEPS}}
    (run / "config.yaml").write_text(to_yaml(Config.model_validate(settings)), encoding="utf-8")
    split = {"fold": fold, "folds": folds, "training": [f"T-{number}" for number in range(40)], "validation": held_out}
    (run / "split.json").write_text(json.dumps(split), encoding="utf-8")
    (run / "environment.json").write_text(json.dumps({"device": "cpu", "parameters": 10**6}), encoding="utf-8")
    rng = np.random.default_rng([arm, seed, fold])
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in log(rng)), encoding="utf-8")
    rows = [row for case in held_out for region in REGIONS for row in case_lesions(case, region, lesions, rng)]
    write(run / "lesions.csv", rows)
    write(run / "scores.csv", [case_scores(case, region, rows, rng) for case in held_out for region in REGIONS])
    return run


def log(rng: np.random.Generator) -> list[dict[str, Any]]:
    """A training's log: falling loss, rising scores."""
    rows: list[dict[str, Any]] = []
    for step in range(1, STEPS + 1):
        loss = 1 / (1 + step / 100) + 0.05 * rng.random()
        parts = {"loss/dice": loss / 2, "loss/bce": loss / 2, "loss/boundary": loss, "boundary_weight": 0.1}
        rows.append({"step": step, "kind": "train", "loss": loss, "lr": 1e-3, "samples_per_second": 2.0, **parts})
        if step % VALIDATED_EVERY == 0:
            scores = {f"{score}/{of}": float(rng.random()) for score in ("dice", "lesion_wise_dice") for of in REGIONS}
            rows.append({"step": step, "kind": "validation", **scores})
    return rows


def case_lesions(case: str, region: str, amount: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Reference lesions of one case and region, found or missed by chance, and a false one."""
    volumes = np.random.default_rng([sum(map(ord, case)), len(region)]).lognormal(4, 2, amount)
    rows = []
    for number, volume in enumerate([*volumes.tolist(), 0.0], 1):
        kind = "false" if volume == 0 else ("missed", "found")[int(rng.random() < 0.8)]
        scores = {"dice": float(rng.random()), "hd95": float(rng.gamma(2))} if kind == "found" else {}
        size = size_class(volume, SIZE_EDGES_MM3) if volume else ""
        of = {"case": case, "region": region, "rules": "brats2026", "lesion": number, "kind": kind, "size_class": size}
        rows.append(of | {"reference_volume_mm3": volume} | scores)
    return rows


def case_scores(case: str, region: str, lesions: Sequence[dict[str, Any]], rng: np.random.Generator) -> dict[str, Any]:
    """A row of scores.csv, whose counts are those of the lesions."""
    own = [row for row in lesions if (row["case"], row["region"]) == (case, region)]
    row = {column: float(rng.random()) for column in score_columns() if column not in KEYS}
    row |= {f"lesions_{kind}": sum(one["kind"] == kind for one in own) for kind in ("found", "missed", "false")}
    for size in size_classes(SIZE_EDGES_MM3):
        kinds = [one["kind"] for one in own if one["size_class"] == size]
        row |= {f"{score.column}_{size}": float(rng.random()) for score in BY_SIZE}
        row |= {f"{kind}_{size}": kinds.count(kind) for kind in ("found", "missed")}
    return {"case": case, "region": region, "rules": "brats2026", **row}


def write(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(column for row in rows for column in row)))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
