"""Makes the tables of docs/recipe.md from finished runs of benchmarks/recipe.py.

Only imported by benchmarks/recipe.py; run by itself it does nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from harness import RESULTS, fill_page
from heads import ROOT
from recipe_arms import ARMS, GROUPS, SCALES
from recipe_data import Place
from recipe_run import MIRRORED, PLAIN, REGIONS

from mets3d.files import write_text
from mets3d.statistics.intervals import bootstrap_interval

KEPT = RESULTS / "recipe.json"
PAGE = ROOT / "docs" / "recipe.md"
Run = dict[str, Any]
Terms = np.ndarray  # [cases, columns]: numbers whose sums over cases make a score

SCORES = {"dice": "whole-volume Dice", "lesion_wise_dice": "lesion-wise Dice", "f1": "F1 of lesions"}


def make_tables(places: Sequence[Place]) -> None:
    """Merges the results of the folders into benchmarks/results/recipe.json and writes the tables into the page."""
    runs = _one_data_set(_merged(places))
    tables = {"compare": _compare(runs, "compare"), "long": _compare(runs, "long"), "ablate": _ablate(runs)}
    _keep(runs, tables)
    texts = {name: (_ablate_text if name == "ablate" else _compare_text)(rows) for name, rows in tables.items() if rows}
    fill_page(PAGE, {name: texts.get(name, "No run is finished yet.\n") for name in tables})


# ---------------------------------------------------------------- runs


def _merged(places: Sequence[Place]) -> list[Run]:
    """Returns the runs that were kept and those of the folders, which replace runs of the same arm and seed."""
    kept = json.loads(KEPT.read_text(encoding="utf-8"))["runs"] if KEPT.exists() else []
    new = [json.loads(file.read_text(encoding="utf-8")) for place in places for file in place.results.glob("*.json")]
    runs = {(run["arm"], run["seed"]): run for run in [*kept, *new] if run["arm"] in ARMS and _is_whole(run)}
    order = list(ARMS)
    return [runs[key] for key in sorted(runs, key=lambda key: (order.index(key[0]), key[1]))]


def _is_whole(run: Run) -> bool:
    """Returns whether a run has the patch, batch and steps that its arm has now; says which has not."""
    scale = SCALES[ARMS[run["arm"]].scale]
    whole: bool = run["scale"] == {"patch": scale.patch, "batch": scale.batch, "steps": scale.steps}
    if not whole:
        print(f"left out, for it is of another length or patch: {run['arm']}-{run['seed']}")
    return whole


def _one_data_set(runs: list[Run]) -> list[Run]:
    """Returns the runs on the heads that most were made on; says which others are left out."""
    keys = [run["data"]["phantoms"] for run in runs]
    most = max(set(keys), key=keys.count)
    contents = {run["data"]["content"] for run in runs if run["data"]["phantoms"] == most}
    same = [run for run in runs if run["data"]["phantoms"] == most or run["data"]["content"] in contents]
    left_out = [f"{run['arm']}-{run['seed']}" for run in runs if run not in same]
    if left_out:
        print(f"left out, for they were made on other heads: {', '.join(left_out)}")
    # Another processor may round a head otherwise; its lesions must be the same.
    lesions = {json.dumps([_lesions(run, region) for region in REGIONS]) for run in same}
    if len(lesions) > 1:
        print(f"the runs were scored on {len(lesions)} different sets of reference lesions")
    return same


def _lesions(run: Run, region: str) -> list[float]:
    """Returns the number of reference lesions in each held-out case."""
    scores = run[PLAIN][region]
    return [found + missed for found, missed in zip(scores["lesions_found"], scores["lesions_missed"], strict=True)]


def _keep(runs: Sequence[Run], tables: dict[str, Any]) -> None:
    lines = ",\n  ".join(json.dumps(run) for run in runs)
    made = json.dumps(tables, indent=1)
    write_text(KEPT, f'{{\n "runs": [\n  {lines}\n ],\n "tables": {made}\n}}\n')


# ---------------------------------------------------------------- scores


def _terms(run: Run, kind: str, score: str) -> Terms:
    """Returns for each held-out case what is summed: of a Dice its values and their number, of F1 hits and errors.

    All three regions are in it. A region that is absent in both maps has no Dice by the rules and adds nothing.
    """
    scores = run[kind]
    if score == "f1":
        found, missed, false = (
            np.sum([scores[region][f"lesions_{word}"] for region in REGIONS], 0)
            for word in ("found", "missed", "false")
        )
        return np.column_stack([2 * found, 2 * found + missed + false])
    values = np.array([scores[region][score] for region in REGIONS], float)
    return np.column_stack([np.nansum(values, 0), np.isfinite(values).sum(0)])


def _score(terms: Terms) -> float:
    hits, total = terms.sum(0)
    return float(hits / total) if total else float("nan")


def _of_seeds(runs: Sequence[Run], kind: str, score: str, cases: Sequence[str]) -> dict[str, Any]:
    """Returns a score over all seeds with its interval over cases, and the score of each seed."""
    terms = np.sum([_terms(run, kind, score) for run in runs], 0)
    interval = bootstrap_interval(lambda sums: sums[..., 0] / sums[..., 1], terms, cases)
    return {"value": _score(terms), "interval": interval, "seeds": [_score(_terms(run, kind, score)) for run in runs]}


def _difference(
    mine: Sequence[tuple[Run, str]], theirs: Sequence[tuple[Run, str]], score: str, cases: Sequence[str]
) -> dict[str, Any]:
    """Returns the difference of a score, paired by case: each resample of the cases is scored on both sides."""
    first, second = (np.sum([_terms(run, kind, score) for run, kind in side], 0) for side in (mine, theirs))

    def apart(sums: np.ndarray) -> np.ndarray:
        return np.asarray(sums[..., 0] / sums[..., 1] - sums[..., 2] / sums[..., 3])

    interval = bootstrap_interval(apart, np.column_stack([first, second]), cases)
    return {"value": _score(first) - _score(second), "interval": interval}


# ---------------------------------------------------------------- nnU-Net and ours


def _compare(runs: Sequence[Run], group: str) -> list[dict[str, Any]]:
    rows = []
    for kind in (MIRRORED, PLAIN):
        for name in GROUPS[group]:
            own = [run for run in runs if run["arm"] == name]
            if not own:
                continue
            row = _row(name, own) | {"mirror": kind == MIRRORED}
            row |= {score: _of_seeds(own, kind, score, own[0]["cases"]) for score in SCORES}
            against = [run for run in runs if run["arm"] == ARMS[name].against]
            if against:
                mine, theirs = ([(run, kind) for run in side] for side in (own, against))
                row["against"] = {score: _difference(mine, theirs, score, own[0]["cases"]) for score in SCORES}
            rows.append(row)
    return rows


def _row(name: str, own: Sequence[Run]) -> dict[str, Any]:
    seconds = [run["train_cpu_s"] for run in own if run.get("train_cpu_s") and "NVIDIA" not in run["device"]]
    return {
        "arm": name,
        "seeds": [run["seed"] for run in own],
        "devices": sorted({run["device"] for run in own}),
        "parameters": own[0]["parameters"],
        "train_cpu_s": float(np.median(seconds)) if seconds else None,
    }


def _compare_text(rows: Sequence[dict[str, Any]]) -> str:
    head = ["arm", "mirrored", "seeds", *SCORES.values(), "made on"]
    lines = [
        [
            ARMS[row["arm"]].what, "yes" if row["mirror"] else "no", str(len(row["seeds"])),
            *(_cell(row[score]) for score in SCORES), ", ".join(map(_short, row["devices"])),
        ]
        for row in rows
    ]  # fmt: skip
    apart = [
        [
            ARMS[row["arm"]].what, "yes" if row["mirror"] else "no",
            *(_signed(row["against"][score]) for score in SCORES),
        ]
        for row in rows
        if "against" in row
    ]  # fmt: skip
    differences = _markdown(["less nnU-Net's", "mirrored", *SCORES.values()], apart)
    return f"{_markdown(head, lines)}\n\n{differences}\n" if apart else _markdown(head, lines) + "\n"


def _cell(found: dict[str, Any]) -> str:
    """`0.712 [0.60, 0.80]; 0.70 - 0.72`: value, interval over cases, least and largest of the seeds."""
    low, high = min(found["seeds"]), max(found["seeds"])
    return f"{found['value']:.3f} {_interval(found['interval'], 2)}; {low:.3f} - {high:.3f}"


def _signed(found: dict[str, Any]) -> str:
    return f"{found['value']:+.3f} {_interval(found['interval'], 3)}"


def _interval(interval: Sequence[float] | None, digits: int) -> str:
    return "" if interval is None else f"[{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"


def _short(device: str) -> str:
    return "GPU" if "NVIDIA" in device else "CPU"


# ---------------------------------------------------------------- one change alone


def _ablate(runs: Sequence[Run]) -> list[dict[str, Any]]:
    rows = []
    for name in GROUPS["ablate"]:
        arm = ARMS[name]
        own = [run for run in runs if run["arm"] == name]
        if not own:
            continue
        cases = own[0]["cases"]
        rows.append(_row(name, own) | {score: _of_seeds(own, PLAIN, score, cases) for score in SCORES})
        base = [run for run in runs if run["arm"] == arm.against]
        if arm.mirrored:
            mine, theirs = ([(run, kind) for run in own] for kind in (MIRRORED, PLAIN))
            mirrored = {score: _of_seeds(own, MIRRORED, score, cases) for score in SCORES}
            against = {score: _difference(mine, theirs, score, cases) for score in SCORES}
            rows.append(_row(name, own) | {"mirror": True, "against": against} | mirrored)
        elif base:
            seeds = {run["seed"] for run in own} & {run["seed"] for run in base}
            mine, theirs = ([(run, PLAIN) for run in side if run["seed"] in seeds] for side in (own, base))
            rows[-1]["against"] = {score: _difference(mine, theirs, score, cases) for score in SCORES}
    return rows


def _ablate_text(rows: Sequence[dict[str, Any]]) -> str:
    head = ["change", "seeds", *chain.from_iterable((score, "seeds apart") for score in SCORES.values())]
    lines = [
        [
            _change(row), str(len(row["seeds"])),
            *chain.from_iterable(
                (
                    _signed(row["against"][score]) if "against" in row else f"**{row[score]['value']:.3f}**",
                    f"{max(row[score]['seeds']) - min(row[score]['seeds']):.3f}",
                )
                for score in SCORES
            ),
        ]
        for row in rows
    ]  # fmt: skip
    return _markdown(head, lines) + "\n"


def _change(row: dict[str, Any]) -> str:
    arm = ARMS[row["arm"]]
    return f"{arm.mode}: {'mirrored copies averaged in prediction' if row.get('mirror') else arm.what}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
