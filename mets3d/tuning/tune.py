"""Thresholds and component limits of a run, chosen on its held-out cases for the mean over them of a named score.

Every case is read once (`held_out`); then the settings are searched (`search`), and searched again without each fold of
patients, to say what such a choice is worth on a case that it has not seen.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from mets3d.data import Progress, quiet
from mets3d.data.cases import find_cases, make_folds, patient_of
from mets3d.evaluation.rules import rules_named
from mets3d.files import NAMES, OBJECTS, TEXT, read_object
from mets3d.inference.decoding import WEIGHTS, Decoding, RegionDecoding, decoding_for, write_decoding
from mets3d.inference.outputs import PROBABILITIES, SUMMARY, recipe_of
from mets3d.regions import Region, Target
from mets3d.rundir import RunDir, open_run
from mets3d.tuning.rescoring import needs_outer, prepare, score
from mets3d.tuning.search import GAIN, SearchGrid, choose, cross_validated, grid_for, mean

OBJECTIVES = ("lesion_wise_dice", "f1", "dice")
FEW_CASES = 20
MOST_FOLDS = 10  # with up to as many patients each is left out on its own


@dataclass(frozen=True)
class RegionTuning:
    """One region's choice; scores are means over the `cases` that have one.

    crossed: each case scored with settings chosen without its patient; NaN with fewer than two patients.
    """

    region: str
    setting: RegionDecoding
    cases: int
    default: float
    tuned: float
    crossed: float


@dataclass(frozen=True)
class Tuning:
    """What was chosen, on what, and what it gains."""

    objective: str
    rules: str
    cases: tuple[str, ...]
    folds: int
    regions: tuple[RegionTuning, ...]
    file: Path

    def table(self) -> str:
        """One line per region, outermost first."""
        lines: list[tuple[str, ...]] = [("region", "cases", "default", "tuned", "cross-validated", *_SETTING_HEADS)]
        for row in self.regions:
            scores = (f"{x:.3f}" if math.isfinite(x) else "-" for x in (row.default, row.tuned, row.crossed))
            lines.append((row.region, str(row.cases), *scores, *_setting_cells(row.setting)))
        widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)

    def caveats(self) -> list[str]:
        """What to know before believing the table."""
        count = f"{len(self.cases)} case{'s' * (len(self.cases) != 1)}"
        few = f"; {count} are few to choose on" if len(self.cases) < FEW_CASES else ""
        honest = (
            f"the cross-validated one ({self.folds} folds by patient) is not"
            if self.folds
            else "with one patient there is no cross-validated one"
        )
        said = [f"the tuned score is that of the {count} it was chosen on, so optimistic; {honest}{few}"]
        for row in self.regions:
            for what, value in (("chosen without the case's patient", row.crossed), ("in the end", row.tuned)):
                if value < row.default - GAIN:
                    said.append(
                        f"{row.region}: {what}, settings score {value:.3f}, less than the default's {row.default:.3f}"
                    )
        return said


def tune(
    run_path: Path,
    data: Path,
    *,
    objective: str = "lesion_wise_dice",
    rules: str = "brats2023",
    jobs: int = 1,
    out: Path | None = None,
    progress: Progress = quiet,
) -> Tuning:
    """Chooses the decoding of every region that the rules score and writes it to `out`, by default RUN/decoding.json.

    Uses the probabilities of the run's held-out cases in RUN/predictions and the references in DATA. In label mode
    thresholds are left alone. `jobs` processes share the cases; the result does not depend on their number.

    Raises FileNotFoundError or ValueError before the search, naming the cases, if probabilities are missing, were made
    of training data or by other weights, or a case has no reference or another grid.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"expected the objective to be one of {', '.join(OBJECTIVES)}; found {objective!r}")
    scored = rules_named(rules).regions
    run = open_run(run_path, needs=("config", "split"))
    config = run.load_config()
    target = Target(config.data.target, config.data.cavity)
    default = decoding_for(target, config.predict, None)
    grids = {r.name: grid_for(default[r.name], target, r) for r in target.regions if r in scored}
    work, weights = _held_out_cases(run, data)
    names = tuple(case for case, _, _ in work)
    folds = _folds(names)
    steps = _Steps(progress, len(work) + len(grids) * (1 + len(folds)))
    with tempfile.TemporaryDirectory(prefix="mets3d-tune-") as folder, _workers(min(jobs, len(work))) as run_all:
        thresholds = sorted({threshold for grid in grids.values() for threshold in grid.thresholds})
        files = [Path(folder) / f"{number}.pickle" for number in range(len(work))]
        ready = partial(_prepare, target=target, thresholds=thresholds, rules=rules)
        problems = []
        for case, problem in zip(names, run_all(ready, list(zip(work, files, strict=True))), strict=True):
            problems += [problem] if problem else []
            steps.done(case)
        if problems:
            raise ValueError("held-out cases that cannot be used\n  " + "\n  ".join(problems))
        scores = _Scores(files, target, rules, objective, run_all)
        chosen = choose(scores, target, grids, default, np.arange(len(names)), steps.done)
        crossed = cross_validated(scores, target, grids, default, folds, steps.done) if folds else {}
        found = tuple(_told(scores, r, default, chosen, crossed) for r in target.regions if r.name in grids)
    tuning = Tuning(objective, rules, names, len(folds), found, out or Path(run.decoding))
    chosen_for = {} if weights is None else {WEIGHTS: weights}
    write_decoding(tuning.file, chosen, chosen_for | _record(tuning, grids))
    return tuning


# ---------------------------------------------------------------- cases


def _held_out_cases(run: RunDir, data: Path) -> tuple[list[tuple[str, Path, Path]], str | None]:
    """Name, probabilities and reference of every held-out case; and the sha256 of the weights, if it is known."""
    split = read_object(run.split, {"training": NAMES, "validation": NAMES})
    folder = Path(run.predictions) / PROBABILITIES
    again = f"run `mets3d predict {run.path} {data} --held-out --probabilities`"
    there = {file.name.removesuffix(".nii.gz") for file in folder.glob("*.nii.gz")} if folder.is_dir() else set()
    trained_on = sorted(there & set(split["training"]))
    if trained_on:
        raise ValueError(
            f"{folder} holds probabilities of {len(trained_on)} cases that the run was trained on, which say nothing "
            f"about new ones: {_some(trained_on)}; remove {run.predictions} and {again}"
        )
    missing = sorted(set(split["validation"]) - there)
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks the probabilities of {len(missing)} held-out cases: {_some(missing)}; {again}"
        )
    weights = _weights(run, sorted(split["validation"]), again)
    references = {case.name: case.labels for case in find_cases(data)}
    work = [(name, folder / f"{name}.nii.gz", references.get(name)) for name in sorted(split["validation"])]
    unknown = [name for name, _, reference in work if reference is None]
    if unknown:
        raise FileNotFoundError(
            f"{data} lacks the reference CASE-seg.nii.gz of {len(unknown)} held-out cases: {_some(unknown)}; "
            "name the data set that the run was trained on"
        )
    return [(name, ours, theirs) for name, ours, theirs in work if theirs is not None], weights


def _weights(run: RunDir, names: Sequence[str], again: str) -> str | None:
    """The sha256 of the weights that made the predictions, as the run or their summary tells; None if none does.

    Raises ValueError if the predictions' summary is broken, or names other weights than the run's, several runs,
    or another recipe than a case's record.
    """
    summary = Path(run.predictions) / SUMMARY
    may = {WEIGHTS: TEXT, "members": OBJECTS, "recipe": TEXT}
    told = read_object(summary, may=may, advice=again) if summary.exists() else {}
    if len(told.get("members", [])) > 1:
        raise ValueError(f"{summary}: an average of {len(told['members'])} runs, expected this run alone; {again}")
    recipe = told.get("recipe")
    otherwise = [name for name in names if recipe and recipe_of(summary.parent, name) not in (None, recipe)]
    if otherwise:
        raise ValueError(
            f"{summary.parent}: probabilities of {len(otherwise)} held-out cases were made otherwise than predict.json "
            f"tells, for a later prediction did not come to them: {_some(otherwise)}; {again}"
        )
    if not Path(run.weights).exists():
        return told.get(WEIGHTS)
    with Path(run.weights).open("rb") as stream:
        own = hashlib.file_digest(stream, "sha256").hexdigest()
    if told.get(WEIGHTS, own) != own:
        raise ValueError(f"{summary}: made by other weights than {run.weights}, most likely older ones; {again}")
    return own


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")


def _folds(names: Sequence[str]) -> list[Any]:
    """Positions of the cases of each fold; none with one patient."""
    patients = len({patient_of(name) for name in names})
    if patients < 2:
        return []
    position = {name: index for index, name in enumerate(names)}
    folds = make_folds(names, min(patients, MOST_FOLDS), seed=0)
    return [np.array([position[name] for name in fold]) for fold in folds]


# ---------------------------------------------------------------- scores, over processes

RunAll = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]


class _Scores:
    """What settings score on every case, each asked of the processes once. See `search.Scores`."""

    def __init__(self, files: Sequence[Path], target: Target, rules: str, objective: str, run_all: RunAll):
        self.files, self.target, self.rules, self.objective, self.run_all = files, target, rules, objective, run_all
        self.known: dict[tuple[Any, ...], Float64[np.ndarray, " C"]] = {}

    def __call__(
        self, region: Region, decoding: Decoding, candidates: Sequence[RegionDecoding]
    ) -> Float64[np.ndarray, "S C"]:
        regions = self.target.regions
        seen = regions if region.name in needs_outer(self.rules) else regions[regions.index(region) :]
        others = tuple(decoding[other.name] for other in seen if other != region)
        new = [setting for setting in dict.fromkeys(candidates) if (region, others, setting) not in self.known]
        if new:
            ask = partial(
                score,
                target=self.target,
                region=region,
                decoding=dict(decoding),
                candidates=new,
                rules=self.rules,
                objective=self.objective,
            )
            table = np.array(list(self.run_all(ask, self.files)), np.float64)
            self.known |= {(region, others, setting): table[:, index] for index, setting in enumerate(new)}
        return np.stack([self.known[region, others, setting] for setting in candidates])


@contextmanager
def _workers(jobs: int) -> Iterator[RunAll]:
    """`map` over that many processes."""
    if jobs <= 1:
        yield map
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # Spawned, for the caller may hold threads, which a fork would leave locked.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield pool.map


def _prepare(item: tuple[tuple[str, Path, Path], Path], **how: Any) -> str | None:
    (case, probabilities, reference), file = item
    return prepare(case, probabilities, reference, file, **how)


class _Steps:
    """Progress over all that is to be done: cases to read, then regions to search, once for all cases and per fold."""

    def __init__(self, progress: Progress, total: int):
        self.progress, self.total, self.count = progress, total, 0

    def done(self, name: str) -> None:
        self.count += 1
        self.progress(self.count, self.total, name)


# ---------------------------------------------------------------- what is told

_SETTING_HEADS = ("threshold", "peak above", "from mm3", "largest only", "fill holes")


def _setting_cells(setting: RegionDecoding) -> tuple[str, ...]:
    peak = "-" if setting.peak is None else f"{setting.peak:g}"
    switches = ("yes" if switch else "no" for switch in (setting.largest_only, setting.fill_holes))
    return (f"{setting.threshold:g}", peak, f"{setting.min_volume_mm3:g}", *switches)


def _told(
    scores: _Scores,
    region: Region,
    default: Decoding,
    chosen: Decoding,
    crossed: Mapping[str, Float64[np.ndarray, " C"]],
) -> RegionTuning:
    before = scores(region, default, [default[region.name]])[0]
    after = scores(region, chosen, [chosen[region.name]])[0]
    return RegionTuning(
        region.name,
        chosen[region.name],
        int(np.isfinite(after).sum()),
        float(mean(before)),
        float(mean(after)),
        float(mean(crossed[region.name])) if crossed else math.nan,
    )


def _record(tuning: Tuning, grids: Mapping[str, SearchGrid]) -> dict[str, Any]:
    return {
        "objective": tuning.objective,
        "rules": tuning.rules,
        "scores": {
            row.region: {
                "cases": row.cases,
                "default": _json(row.default),
                "tuned": _json(row.tuned),
                "cross_validated": _json(row.crossed),
            }
            for row in tuning.regions
        },
        "caveats": tuning.caveats(),
        "cross_validation_folds": tuning.folds,
        "cases": list(tuning.cases),
        "grid": {
            name: {
                "threshold": _spaced(grid.thresholds),
                "peak": _spaced(("none", *grid.peaks)),
                "min_volume_mm3": _spaced(grid.volumes_mm3),
                "largest_only, fill_holes": "tried" if len(grid.switches) > 1 else "left alone",
            }
            for name, grid in grids.items()
        },
    }


def _spaced(values: Iterable[float | str]) -> str:
    return " ".join(str(value) for value in values)


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None
