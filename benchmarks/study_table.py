"""Chooses the weights of benchmarks/study.py, keeps its results and makes the tables of docs/study.md.

Only imported by benchmarks/study.py; run by itself it does nothing.
"""

from __future__ import annotations

import json
import re
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import fill_page
from heads import ROOT
from study_arms import (
    BASE,
    CHOSEN,
    FAMILIES,
    KEPT,
    LEARNED,
    MODES,
    PUBLISHED_WEIGHT,
    WEIGHTS,
    arms,
    start_of,
)
from study_data import Place
from study_run import CONFIG, LESIONS, RECORD, REGIONS, SCORES

from mets3d.evaluation.tables import Row, csv_text
from mets3d.files import write_json, write_text
from mets3d.statistics.against_reference import SHARED_LESIONS
from mets3d.statistics.family import Difference
from mets3d.statistics.pooled_runs import ArmRuns, MethodTables
from mets3d.statistics.power import smallest_difference, spread_of_differences
from mets3d.statistics.score_table import columns_of, finite, read_cells, read_scores, values_of
from mets3d.statistics.study_table import StudyTable, study_table

PAGE = ROOT / "docs" / "study.md"
ALL = "all"  # a row beside those of WT, TC and ET: their means, and their lesions together
# Declared before any run: the question is whether boundaries get better and more lesions are found.
FAMILY = ("lesion_wise_dice", SHARED_LESIONS.column, "lesions_found")
ASKED = ("hausdorff", "conditioned")  # the arms whose tests are that family; all others are described
COLUMNS = {
    "lesion_wise_dice": ("lesion-wise Dice", 3),
    SHARED_LESIONS.column: ("HD95 of lesions found by both, mm", 2),
    "lesions_found": ("lesions found a head", 2),
    "lesions_false": ("false lesions a head", 2),
    "dice": ("whole-volume Dice", 3),
}


# ---------------------------------------------------------------- weights and power


def choose_weights(place: Place) -> int:
    """Chooses for each family the weight with the best score on the inner split, and writes them down.

    The score is the mean of lesion-wise Dice, over heads and regions, and of the F1 of all lesions, so that neither
    boundaries nor detection decide alone. Of equal scores the smaller weight is taken.
    """
    keep(place)
    inner = {name: [_score(folder) for folder in kept(name)] for name, arm in arms().items() if arm.inner}
    missing = [name for name, scores in inner.items() if not scores]
    if missing:
        raise SystemExit(f"no result yet of {', '.join(missing)}; run study.py all --arms inner first")
    table = {
        family: {f"{weight:g}": round(float(np.mean(inner[f"inner-{family}-{weight:g}"])), 4) for weight in WEIGHTS}
        for family in FAMILIES
    }
    chosen = {family: max(WEIGHTS, key=lambda weight: (row[f"{weight:g}"], -weight)) for family, row in table.items()}
    base = round(float(np.mean(inner[f"inner-{BASE}"])), 4)
    write_json(CHOSEN, {"weights": chosen, "scores": table, BASE: base, "default": PUBLISHED_WEIGHT})
    for family, row in table.items():
        print(f"{family:12} {row}  chosen {chosen[family]:g}  (base loss {base})")
    print(f"\n{_power_text()}")
    return 0


def _power_text() -> str:
    """Returns the smallest difference in lesion-wise Dice that the study can show, from the runs on the inner split."""
    base = values_of(_of_all(read_scores(kept(f"inner-{BASE}")[0] / SCORES)), "lesion_wise_dice")
    lines = []
    for family in ASKED:
        pilot = values_of(_of_all(read_scores(kept(f"inner-{family}-0.1")[0] / SCORES)), "lesion_wise_dice")
        spread = spread_of_differences({0: {case: pilot[case] - base[case] for case in base.keys() & pilot.keys()}})
        tests = len(ASKED) * len(FAMILY) * len(MODES)
        shown = smallest_difference(spread, patients=40, seeds=5, tests=tests)
        lines.append(f"{family}: {shown.these_networks:.3f} at 80 % power, 40 heads, {tests} tests (Holm's first)")
    return "Smallest difference in lesion-wise Dice that the study shows, from the pilot: " + "; ".join(lines)


def _score(folder: Path) -> float:
    rows = [row for row in read_scores(folder / SCORES) if row["region"] in REGIONS]
    dice = [value for row in rows if (value := finite(row.get("lesion_wise_dice"))) is not None]
    found, missed, false = (
        sum(finite(row.get(f"lesions_{word}")) or 0.0 for row in rows) for word in ("found", "missed", "false")
    )
    return (float(np.mean(dice)) + 2 * found / max(1.0, 2 * found + missed + false)) / 2


# ---------------------------------------------------------------- what is kept


# What the tables need of a run: 25 kB a run in place of 400.
KEPT_SCORES = re.compile(
    r"case|region|rules|patient|(lesion_wise_)?(dice|hd95)|lesions_(found|missed|false)|f1|(found|missed)_.*\d.*"
)
KEPT_LESIONS = re.compile(r"case|region|rules|lesion|kind|dice|hd95")


def keep(place: Place) -> None:
    """Copies the results of finished runs into benchmarks/results/study, of the tables what is shown."""
    for record in sorted(place.results.glob(f"*/{RECORD}")):
        folder = KEPT / record.parent.name
        if (folder / RECORD).exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        _thin(record.parent / SCORES, folder / SCORES, KEPT_SCORES)
        _thin(record.parent / LESIONS, folder / LESIONS, KEPT_LESIONS)
        shutil.copy(record.parent / CONFIG, folder / CONFIG)
        shutil.copy(record, folder / RECORD)


def _thin(full: Path, thin: Path, columns: re.Pattern[str]) -> None:
    """Writes the rows of WT, TC and ET, no false lesions, in some columns and six digits."""
    rows = [row for row in read_cells(full) if row["region"] in REGIONS and row.get("kind") != "false"]
    wanted = [column for column in columns_of(rows) if columns.fullmatch(column)]
    write_text(thin, csv_text(wanted, ({column: _short(row[column]) for column in wanted} for row in rows)))


def _short(cell: str) -> str:
    value = finite(cell)
    return cell if value is None or cell.lstrip("-").isdigit() else f"{value:.6g}"


def kept(arm: str) -> list[Path]:
    """Returns the folders of an arm's finished runs, in the order of their seeds."""
    found = sorted(KEPT.glob(f"{arm}-[0-9]"), key=_seed_of)
    return [folder for folder in found if (folder / RECORD).exists()]


def _seed_of(folder: Path) -> int:
    return int(folder.name.rsplit("-", 1)[1])


def _record(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / RECORD).read_text(encoding="utf-8")))


# ---------------------------------------------------------------- tables


def make_tables(place: Place) -> int:
    """Keeps the results, and writes the tables of docs/study.md from all that are kept."""
    keep(place)
    fill_page(PAGE, {f"{kind}-{mode}": text for mode in MODES for kind, text in _of_mode(mode).items()})
    return 0


def _of_mode(mode: str) -> dict[str, str]:
    """Returns the tables of one mode: what was asked, all arms, recall by size, cost."""
    runs = {name: _runs(name) for name, arm in arms().items() if arm.mode == mode and arm.depth and not arm.inner}
    runs = {name: own for name, own in runs.items() if own}
    _same_start([folder for name in runs for folder in kept(name)])
    base = f"{mode}-{BASE}"
    if base not in runs or len(runs) < 2:
        nothing = "No run is finished yet.\n"
        return dict.fromkeys(("asked", "arms", "recall", "cost"), nothing)
    asked = {name: runs[name] for name in (base, *(f"{mode}-{family}" for family in ASKED)) if name in runs}
    plain = {name: own for name, own in runs.items() if arms()[name].depth == 1}
    tuned = {name: own for name, own in runs.items() if arms()[name].depth == 2}
    made = {
        "asked": _asked(study_table(asked, reference=base, regions=(ALL,), family=FAMILY)),
        "arms": _start(mode) + _arms(study_table(plain, reference=base, regions=(ALL, *REGIONS))),
        "recall": _recall(study_table(plain, reference=base, regions=(ALL,))),
        "cost": _cost(list(runs)),
    }
    reference = f"{mode}-tuned-{BASE}"
    if reference in tuned and len(tuned) > 1:
        made["arms"] += "\n" + _arms(study_table(tuned, reference=reference, regions=(ALL,)))
    return made


def _start(mode: str) -> str:
    """Returns which seeds' starts count, and what they reached on the inner heads."""
    cells = []
    for folder in kept(start_of(mode)):
        dice = _record(folder)["dice"]
        reached = ", ".join(f"{region} {value:.2f}" for region, value in dice.items())
        cells.append(f"seed {_seed_of(folder)}: {reached}{'' if min(dice.values()) >= LEARNED else ', does not count'}")
    text = f"Dice of the starts on the inner heads: {'; '.join(cells)}."
    return f"{textwrap.fill(text, 100)}\n\n" if cells else ""


def _same_start(folders: Sequence[Path]) -> None:
    """Raises SystemExit where runs of one seed went on from different weights, as of two machines."""
    by_seed: dict[tuple[str, int], set[str]] = {}
    for folder in folders:
        arm = arms()[folder.name.rsplit("-", 1)[0]]
        by_seed.setdefault((str(arm.after), _seed_of(folder)), set()).add(_record(folder)["from_weights"])
    mixed = [f"{after}-{seed}" for (after, seed), weights in by_seed.items() if len(weights) > 1]
    if mixed:
        raise SystemExit(f"{KEPT}: arms of one seed went on from different {', '.join(mixed)}; make one machine's anew")


def _runs(arm: str) -> ArmRuns:
    """Returns the tables of an arm's finished runs, each with rows of all regions together."""
    found = {}
    for folder in kept(arm):
        scores = [row for row in read_scores(folder / SCORES) if row["region"] in REGIONS]
        lesions: list[Row] = [row for row in read_cells(folder / LESIONS) if row["region"] in REGIONS]
        together = [row | {"region": ALL, "lesion": f"{row['region']} {row['lesion']}"} for row in lesions]
        found[_seed_of(folder), 0] = MethodTables([*scores, *_of_all(scores)], [*lesions, *together])
    return found


def _of_all(scores: Sequence[Row]) -> list[Row]:
    """Returns a row a head: the means of its scores over the regions that have one, and the sums of its counts."""
    by_case: dict[str, list[Row]] = {}
    for row in scores:
        if row["region"] in REGIONS:
            by_case.setdefault(row["case"], []).append(row)
    return [_together(rows) for rows in by_case.values()]


def _together(rows: Sequence[Row]) -> Row:
    together: Row = rows[0] | {"region": ALL}
    for column in {key for row in rows for key in row} - {"case", "region", "rules", "patient"}:
        values = [value for row in rows if (value := finite(row.get(column))) is not None]
        counts = re.fullmatch(r"(lesions_)?(found|missed|false)(_.*)?", column) is not None
        together.pop(column, None)
        if values:
            together[column] = sum(values) if counts else sum(values) / len(values)
    return together


def _asked(table: StudyTable) -> str:
    head = "| arm | score | base loss | with the term | difference | seeds | p | p, Holm |\n|" + " --- |" * 8 + "\n"
    rows = [
        f"| {_what(test.method)} | {COLUMNS[test.score.column][0]} | {_number(test.found.reference_mean, test)} | "
        f"{_number(test.found.method_mean, test)} | {_difference(test)} | {_by_seed(test)} | {_p(test, test.p)} | "
        f"{_p(test, test.p_holm)} |"
        for test in table.differences
        if test.score.column in FAMILY
    ]
    return head + "\n".join(rows) + "\n"


def _arms(table: StudyTable) -> str:
    regions = list(dict.fromkeys(score.region for score in table.scores))
    head = "| region | arm | seeds | " + " | ".join(name for name, _ in COLUMNS.values()) + " |\n"
    head += "|" + " --- |" * (3 + len(COLUMNS)) + "\n"
    rows = [
        f"| {region} | {_what(arm)} | {len(runs)} | "
        + " | ".join(_cell(table, arm, region, column) for column in COLUMNS)
        + " |"
        for region in regions
        for arm, runs in table.runs.items()
    ]
    return head + "\n".join(rows) + "\n"


def _cell(table: StudyTable, arm: str, region: str, column: str) -> str:
    """Returns the reference's mean, with the seeds' standard deviation, or another arm's difference from it."""
    if arm != table.reference:
        test = table.difference(arm, region, column)
        return "" if test is None else _difference(test)
    score = table.score(arm, region, column)
    if score is None:
        return ""
    digits = COLUMNS[column][1]
    return f"{score.mean:.{digits}f}" + ("" if score.seed_sd is None else f" (SD {score.seed_sd:.{digits}f})")


def _recall(table: StudyTable) -> str:
    arms_of = {arm: table.recall(arm, ALL) for arm in table.runs}
    classes = list(dict.fromkeys(one.size_class for sizes in arms_of.values() for one in sizes))
    head = "| arm | " + " | ".join(name.replace("_", " ") + " mm³" for name in classes) + " |\n"
    head += "|" + " --- |" * (1 + len(classes)) + "\n"
    rows = []
    for arm, sizes in arms_of.items():
        by_class = {one.size_class: one for one in sizes}
        cells = [
            f"{by_class[name].found / by_class[name].lesions:.2f} of {by_class[name].lesions:.0f}"
            if name in by_class
            else ""
            for name in classes
        ]
        rows.append(f"| {_what(arm)} | " + " | ".join(cells) + " |")
    return head + "\n".join(rows) + "\n"


def _cost(names: Sequence[str]) -> str:
    head = "| arm | weight | term's share of the gradient | CPU s a step | device |\n| --- | --- | --- | --- | --- |\n"
    rows = []
    for name in names:
        records = [_record(folder) for folder in kept(name)]
        weights = {word.split("=")[1] for one in records for word in one["settings"] if "boundary_weight" in word}
        steps = [one["train_cpu_s"] / one["steps"] for one in records if "train_cpu_s" in one]
        shares = [one["gradient_share"] for one in records if "gradient_share" in one]
        devices = ", ".join(sorted({one["device"] for one in records}))
        rows.append(
            f"| {_what(name)} | {', '.join(sorted(weights))} | {_median(shares, 3)} | {_median(steps, 2)} | {devices} |"
        )
    return head + "\n".join(rows) + "\n"


def _what(arm: str) -> str:
    return arms()[arm].what


def _number(value: float, test: Difference) -> str:
    return f"{value:.{COLUMNS[test.score.column][1]}f}"


def _difference(test: Difference) -> str:
    digits = COLUMNS[test.score.column][1]
    interval = test.found.interval
    brackets = "" if interval is None else f" [{interval[0]:+.{digits}f}, {interval[1]:+.{digits}f}]"
    return f"{test.found.difference:+.{digits}f}{brackets}"


def _p(test: Difference, p: float | None) -> str:
    if p is None:
        return str(test.not_tested or "")
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _by_seed(test: Difference) -> str:
    digits = COLUMNS[test.score.column][1]
    return ", ".join(f"{value:+.{digits}f}" for _, value in sorted(test.by_seed.items()))


def _median(values: Sequence[float], digits: int) -> str:
    return f"{float(np.median(values)):.{digits}f}" if values else ""
