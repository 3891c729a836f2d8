"""Page, consoles, comparison.csv and scores.csv agree: tuned or not, by two rule sets, with and without RC.

What is expected is computed here, plainly, from the cells of scores.csv alone: means, intervals, differences and tests,
in tables, in tiles and in the sentence that answers; of two runs, and of two arms of two seeds.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata

from mets3d.__main__ import main
from mets3d.config import Config, to_yaml
from mets3d.data.cases import Case, Scan
from mets3d.data.nifti import read_image, write_image
from mets3d.evaluation.scores import score_of
from mets3d.files import write_json, write_text
from mets3d.inference import outputs
from mets3d.inference.decoding import decode
from mets3d.inference.decoding_plan import decoding_plan
from mets3d.regions import Target
from mets3d.rundir import DECODED_BY, TUNED_BY, PredictionsDir, RunDir
from mets3d.settings import Predict
from mets3d.statistics import intervals
from tests.reporting.conftest import cells_of, scores_shown

SHAPE = (22, 18, 14)
CASES = {f"BraTS-MET-{patient:05d}-00{visit}": f"BraTS-MET-{patient:05d}" for patient, visit in
         [(1, 0), (2, 0), (2, 1), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0)]}  # fmt: skip
LABELS = {"WT": 2, "TC": 1, "ET": 3, "RC": 4}
MEANS = ("lesion_wise_dice", "lesion_wise_hd95", "dice", "hd95")
COUNTS = ("lesions_found", "lesions_missed", "lesions_false")
TESTED = ("lesion_wise_dice", "lesion_wise_hd95", "lesions_found")
DIGITS = {column: 1 if "hd95" in column else 0 if column in COUNTS else 3 for column in (*MEANS, *COUNTS)}
RESAMPLES = 1000
NUMBER = r"([+\-\u2212]?\d+(?:\.\d+)?)"
COMBINATIONS = list(itertools.product((False, True), ("brats2023", "brats2026"), (False, True)))


# ---------------------------------------------------------------- two runs, their tables and what is printed


def ball(centre: tuple[float, float, float], radius: float) -> np.ndarray:
    grid = np.indices(SHAPE).T - np.array(centre)
    return np.asarray(radius - np.sqrt((grid**2).sum(-1)).T)  # positive inside


def case_of(seed: int, cavity: bool) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
    """Labels of one or two lesions, and the signed distance in voxels to each region's edge."""
    rng = np.random.default_rng(seed)
    centre = (6.0 + rng.integers(3), 8.0, 6.0)
    small = ball((17, 13, 10), 1.3 if seed % 2 else -1)
    depth = {"WT": np.maximum(ball(centre, 5), small), "TC": np.maximum(ball(centre, 4), small)}
    depth["ET"] = np.maximum(ball(centre, 3), small) if seed != 3 else np.full(SHAPE, -9.0)  # one without ET
    depth["RC"] = ball((17, 4, 7), 2.5) if cavity and seed % 3 else np.full(SHAPE, -9.0)
    labels = np.zeros(SHAPE, np.uint8)
    for region, edge in depth.items():
        labels[edge > 0] = LABELS[region]
    return labels, depth


def probabilities(depth: Mapping[str, np.ndarray], target: Target, seed: int) -> list[np.ndarray]:
    """A region's probability falls over its edge, moved a little in each case, and has a false lesion in some."""
    rng = np.random.default_rng(seed)
    channels = []
    for name in target.names:
        soft = 1 / (1 + np.exp(-2 * (depth[name] + rng.normal(-0.3, 0.6))))
        if rng.random() < 0.3:
            soft = np.maximum(soft, np.where(ball((4, 14, 3), 1.1) > 0, 0.9, 0))
        channels.append(soft.astype(np.float32))
    return channels


def write_decoding(run: RunDir, target: Target, rules: str) -> None:
    """What `mets3d tune` writes: settings for new cases, and others for each fold of two patients."""
    patients = sorted(set(CASES.values()))
    folds = [patients[place : place + 2] for place in range(0, len(patients), 2)]
    settings = [{name: {"threshold": 0.2 + 0.1 * number} for name in target.names} for number in range(len(folds))]
    content = {
        "regions": {name: {"threshold": 0.3} for name in target.names},
        "objective": "lesion_wise_dice",
        "rules": rules,
        "cases": list(CASES),
        "patients": CASES,
        "folds": [{"patients": own, "regions": one} for own, one in zip(folds, settings, strict=True)],
    }
    write_json(run.decoding, content)


@dataclass(frozen=True)
class Made:
    """Two runs and all that is read of them: rows of scores.csv by run, what was printed by verb, and the pages."""

    rows: dict[str, list[dict[str, str]]]
    printed: dict[str, str]
    comparison: list[dict[str, str]]
    own_page: Path
    page: Path

    def values(self, run: str, region: str, column: str) -> dict[str, float]:
        """Case -> value, of the cases that have one."""
        own = [row for row in self.rows[run] if row["region"] == region and row[column]]
        return {row["case"]: float(row[column]) for row in own}

    @property
    def regions(self) -> list[str]:
        """The regions that any reference or prediction has anything of."""
        volumes = ("reference_volume_mm3", "prediction_volume_mm3")
        some = [row for rows in self.rows.values() for row in rows if any(float(row[name]) for name in volumes)]
        return [name for name in LABELS if any(row["region"] == name for row in some)]


def printed_by(*words: object) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as said:
        assert main([str(word) for word in words]) == 0, said.getvalue()
    return out.getvalue()


def make_run(
    path: Path, data: Path, depths: Mapping[str, Any], way: tuple[bool, str, bool], boundary: str, seed: int = 0
) -> RunDir:
    """A run of which only the training is made up: predictions are decoded and recorded as `mets3d predict` does."""
    tuned, rules, cavity = way
    run, target = RunDir(path), Target(cavity=cavity)
    settings = {"data": {"cavity": cavity}, "loss": {"boundary": boundary}, "validate": {"rules": rules}, "seed": seed}
    write_text(run.config, to_yaml(Config.model_validate(settings)))
    write_json(run.split, {"training": ["BraTS-MET-09999-000"], "validation": list(CASES), "patients": CASES})
    if tuned:
        write_decoding(run, target, rules)
    plan = decoding_plan(target, Predict(), run.decoding if tuned else None, [run])
    folder = PredictionsDir(run.predictions)
    for number, (name, depth) in enumerate(depths.items()):
        scan = data / name / f"{name}-t1c.nii.gz"
        own = plan.of(name)
        channels = probabilities(depth, target, number + 100 * (boundary != "none") + 1000 * seed)
        decoded = decode(channels, target, own.decoding, (1.0, 1.0, 1.0))
        grid = read_image(scan).source
        files = outputs.write_case(folder, name, channels, decoded, grid, target, (1.0, 1.0, 1.0), probabilities=False)
        case = Case(name, data / name, {"t1c": Scan(scan)}, None, CASES[name])
        outputs.finish_record(folder, case, "recipe", files, {DECODED_BY: own.how, TUNED_BY: plan.rules})
    return run


@pytest.fixture(scope="module")
def data_sets(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], tuple[Path, dict[str, Any]]]:
    """Writes the references once, without and with cavities; a data set and the distances to the edges by case."""
    made: dict[bool, tuple[Path, dict[str, Any]]] = {}

    def of(cavity: bool) -> tuple[Path, dict[str, Any]]:
        if cavity not in made:
            folder, depths = tmp_path_factory.mktemp("data"), {}
            for number, name in enumerate(CASES):
                labels, depths[name] = case_of(number, cavity)
                write_image(folder / name / f"{name}-t1c.nii.gz", np.ones(SHAPE, np.float32), np.eye(4))
                write_image(folder / name / f"{name}-seg.nii.gz", labels, np.eye(4))
            made[cavity] = folder, depths
        return made[cavity]

    return of


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Intervals of few resamples, which a loop can draw again."""
    intervals._times_drawn.cache_clear()
    monkeypatch.setattr(intervals, "RESAMPLES", RESAMPLES)
    yield
    intervals._times_drawn.cache_clear()


@pytest.fixture
def nothing_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures and diagrams take most of a page's time and have their own tests."""
    page = "mets3d.reporting.page"
    for name in ("case_pictures", "training_curves", "overlaid_curves", "cohort_figures", "case_dots"):
        monkeypatch.setattr(f"{page}.{name}", lambda *_words, **_named: None)
    monkeypatch.setattr(f"{page}.found_by_one_section", lambda *_words, **_named: None)
    monkeypatch.setattr(f"{page}.write_case_pages", lambda *_words, **_named: ({}, False))
    monkeypatch.setattr("mets3d.reporting.sections.answer.forest_figure", lambda *_words, **_named: "<svg/>")


@pytest.fixture(params=COMBINATIONS, ids=lambda way: f"{'tuned' if way[0] else 'plain'}-{way[1]}-RC{int(way[2])}")
def made(
    request: pytest.FixtureRequest, tmp_path: Path, data_sets: Any, nothing_drawn: None, few_resamples: None
) -> Made:
    data, depths = data_sets(request.param[2])
    rows, printed = {}, {}
    losses = {"base": "none", "other": "hausdorff_distance"}
    for name, boundary in losses.items():
        run = make_run(tmp_path / name, data, depths, request.param, boundary)
        printed[f"evaluate {name}"] = printed_by("evaluate", run.path, data, "--jobs", "1")
        rows[name] = list(csv.DictReader(run.scores.read_text(encoding="utf-8").splitlines()))
    runs = [tmp_path / name for name in losses]
    printed["report base"] = printed_by("report", runs[0], "--jobs", "1")
    printed["report"] = printed_by("report", *runs, "--out", tmp_path / "page", "--jobs", "1")
    printed["compare"] = printed_by("compare", *runs, "--out", tmp_path / "comparison.csv")
    comparison = list(csv.DictReader((tmp_path / "comparison.csv").read_text(encoding="utf-8").splitlines()))
    pages = (folder / "index.html" for folder in (runs[0] / "report", tmp_path / "page"))
    return Made(rows, printed, comparison, *pages)


SCORED = (
    "lesion_wise_dice",
    "lesion_wise_hd95",
    "dice",
    "hd95",
    *COUNTS,
    "reference_volume_mm3",
    "prediction_volume_mm3",
)


@pytest.fixture
def arms(tmp_path: Path, data_sets: Any, nothing_drawn: None, few_resamples: None) -> Made:
    """Two arms of two seeds; the rows of an arm have the means over its seeds."""
    data, depths = data_sets(False)
    rows: dict[str, list[dict[str, str]]] = {}
    runs = []
    for name, boundary in {"base": "none", "loss.boundary=hausdorff_distance": "hausdorff_distance"}.items():
        tables = []
        for seed in (0, 1):
            run = make_run(tmp_path / f"{boundary}{seed}", data, depths, (False, "brats2023", False), boundary, seed)
            printed_by("evaluate", run.path, data, "--jobs", "1")
            tables.append(list(csv.DictReader(run.scores.read_text(encoding="utf-8").splitlines())))
            runs.append(run.path)
        rows[name] = [
            dict(first) | {column: repr(fmean(float(row[column]) for row in (first, second))) for column in SCORED}
            for first, second in zip(*tables, strict=True)
        ]
    printed = {"report": printed_by("report", *runs, "--out", tmp_path / "page", "--jobs", "1")}
    printed["compare"] = printed_by("compare", *runs, "--out", tmp_path / "comparison.csv")
    comparison = list(csv.DictReader((tmp_path / "comparison.csv").read_text(encoding="utf-8").splitlines()))
    return Made(rows, printed, comparison, tmp_path / "none", tmp_path / "page" / "index.html")


# ---------------------------------------------------------------- by hand


def written(value: float, digits: int, sign: str = "") -> str:
    """A number as the page writes it."""
    rounded = round(value, digits) + 0.0
    return f"{rounded:{sign if rounded else ''}.{digits}f}".replace("-", "\u2212")


def interval(values: Mapping[str, float]) -> tuple[float, ...]:
    """The 2.5 and 97.5 percentiles of the mean over the cases of patients that are drawn again; empty below six."""
    patients = sorted({CASES[case] for case in values})
    if len(patients) < 6:
        return ()
    own = [[value for case, value in values.items() if CASES[case] == patient] for patient in patients]
    total, number = (np.array([measure(part) for part in own]) for measure in (sum, len))
    drawn = np.random.default_rng(0).integers(len(patients), size=(RESAMPLES, len(patients)))
    means = [total[places].sum() / number[places].sum() for places in drawn]
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def says(text: str, *values: float) -> bool:
    """Whether the numbers in a text, each with the digits that it has, are these values."""
    numbers = [found.replace("\u2212", "-") for found in re.findall(NUMBER, text)]
    rounding = [0.5 * 10 ** -len(number.partition(".")[2]) + 1e-9 for number in numbers]
    return len(numbers) == len(values) and all(
        abs(float(number) - value) <= most for number, value, most in zip(numbers, values, rounding, strict=True)
    )


def p_written(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def signed_rank_p(differences: Sequence[float]) -> float:
    """Wilcoxon's exact two-sided p by trying all signs; zeros are left out."""
    own = np.array([round(value, 10) for value in differences if round(value, 10)])
    if not len(own):
        return 1.0
    ranks = rankdata(np.abs(own))
    found = abs(float((np.sign(own) * ranks).sum()))
    every = [abs(float((np.array(signs) * ranks).sum())) for signs in itertools.product((-1, 1), repeat=len(own))]
    return fmean(total >= found - 1e-9 for total in every)


@dataclass(frozen=True)
class Pair:
    """base against other in one region by one score."""

    means: tuple[float, float]
    difference: float
    n: int
    better: int
    worse: int
    p: float
    tells: bool  # whether there is a difference in any patient
    interval: tuple[float, ...]  # of the difference


def pair(made: Made, region: str, column: str) -> Pair:
    base, other = (made.values(run, region, column) for run in made.rows)
    cases = sorted(base.keys() & other.keys())
    differences = {case: other[case] - base[case] for case in cases}
    gain = -1 if "hd95" in column or column in ("lesions_missed", "lesions_false") else 1
    gains = [gain * round(value, 10) for value in differences.values()]
    of_patients = [
        fmean(differences[case] for case in cases if CASES[case] == patient)
        for patient in sorted({CASES[case] for case in cases})
    ]
    return Pair(
        (fmean(base[case] for case in cases), fmean(other[case] for case in cases)),
        fmean(differences.values()),
        len(cases),
        sum(value > 0 for value in gains),
        sum(value < 0 for value in gains),
        signed_rank_p(of_patients),
        any(round(value, 10) for value in of_patients),
        interval(differences),
    )


def corrected(p_values: Mapping[Any, float]) -> dict[Any, float]:
    """Holm's correction."""
    found, highest = {}, 0.0
    for place, (key, p) in enumerate(sorted(p_values.items(), key=lambda entry: entry[1])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p))
        found[key] = highest
    return found


# ---------------------------------------------------------------- the test


def test_all_say_the_same_of_two_runs(made: Made, read_page: Any, request: pytest.FixtureRequest) -> None:
    tuned, rules, cavity = request.node.callspec.params["made"]
    scored = ["WT", "TC", "ET", *(["RC"] if rules == "brats2026" else [])]
    for rows in made.rows.values():
        assert [(row["case"], row["region"]) for row in rows] == [(case, name) for case in CASES for name in scored]
        assert {row["decoding"] for row in rows} == {"tuned out-of-fold" if tuned else "default"}
        assert {row["decoding_rules"] for row in rows if row.get("decoding_rules")} == ({rules} if tuned else set())
    assert made.regions == (scored if cavity else scored[:3])
    decoding = f"tuned out-of-fold by {rules}" if tuned else "default"
    for run in made.rows:
        check_evaluate(made, run, scored, decoding)
    check_report(made.printed["report base"], made, "base", scored, rules, decoding)
    for run in made.rows:
        check_report(made.printed["report"], made, run, scored, rules, decoding)
    check_own_page(read_page(made.own_page), made, decoding)
    check_own_answer(" ".join(read_page(made.own_page).text.split()), made)
    pairs = check_comparison(made, scored)
    check_compare(made.printed["compare"], made, pairs)
    check_compared_page(read_page(made.page), made, pairs, decoding)
    check_answer(" ".join(read_page(made.page).text.split()), made, pairs, "one training each")


def test_all_say_the_same_of_two_arms_of_two_seeds(arms: Made, read_page: Any) -> None:
    pairs = check_comparison(arms, ("WT", "TC", "ET"))
    check_compare(arms.printed["compare"], arms, pairs)
    check_compared_page(read_page(arms.page), arms, pairs, "default")
    check_answer(" ".join(read_page(arms.page).text.split()), arms, pairs, "2 seeds")


def check_evaluate(made: Made, run: str, scored: Sequence[str], decoding: str) -> None:
    lines = made.printed[f"evaluate {run}"].splitlines()
    assert f"decoding: {decoding}" in lines
    for region, column in itertools.product(scored, MEANS):
        values = made.values(run, region, column)
        rows = [line.split() for line in lines if line.split()[:2] == [region, column]]
        assert len(rows) == bool(values)
        assert all(int(cells[-1]) == len(values) for cells in rows)
        assert all(cells[2] == f"{fmean(values.values()):.{DIGITS[column]}f}" for cells in rows)
        assert all(says(" ".join(cells[3:5]), *interval(values)) for cells in rows if interval(values))


def check_report(text: str, made: Made, run: str, scored: Sequence[str], rules: str, decoding: str) -> None:
    lines = text.splitlines()
    head = f"{run}: means over {len(CASES)} held-out cases, rules {rules}, decoding: {decoding}"
    own = [line.split() for line in lines[lines.index(head) + 2 :]]
    for region, cells in zip(scored, own[: len(scored)], strict=True):
        values = {column: made.values(run, region, column) for column in (*MEANS, *COUNTS)}
        means = [f"{fmean(values[name].values()):.{DIGITS[name]}f}" if values[name] else "-" for name in MEANS]
        assert cells == [region, *means, *(f"{sum(values[name].values()):.0f}" for name in COUNTS)]


def check_own_page(page: Any, made: Made, decoding: str) -> None:
    shown = scores_shown(page)
    names = {column: score_of(column) for column in MEANS}
    for column, score in names.items():
        name = f"{score.name}{' [mm]' * (score.unit == 'mm')}"
        for region, cell in zip(made.regions, shown[name, "mean ± SD"], strict=True):
            values = made.values("base", region, column)
            told = f"n = {len(values)}" if len(values) != len(CASES) else ""
            assert cell.split(" ± ")[0].removesuffix(told) == written(fmean(values.values()), DIGITS[column])
            assert cell.endswith(told)
        for region, cell in zip(made.regions, shown[name, "95 % interval"], strict=True):
            assert says(cell, *interval(made.values("base", region, column))), (column, region)
    totals = {column: [sum(made.values("base", name, column).values()) for name in made.regions] for column in COUNTS}
    found = [cell.split(" (")[0] for cell in shown["Lesions", "found"]]
    lesions = zip(totals["lesions_found"], totals["lesions_missed"], strict=True)
    assert found == [f"{one:.0f} of {one + other:.0f}" for one, other in lesions]
    assert shown["Lesions", "missed"] == [f"{value:.0f}" for value in totals["lesions_missed"]]
    assert shown["Lesions", "false"] == [f"{value:.0f}" for value in totals["lesions_false"]]
    assert decoding in page.text


def check_own_answer(text: str, made: Made) -> None:
    """Compares the tiles of a run, and the sentence on what it reaches."""
    inside = rf"(?: \(?95 % interval {NUMBER} to {NUMBER}\)?)?"
    for region in made.regions:
        dice, hd95 = (made.values("base", region, column) for column in MEANS[:2])
        tile = re.search(rf" {region} {NUMBER} lesion-wise Dice, mean{inside} n = (\d+) cases? (.*?) false", text)
        assert bool(tile) == bool(dice)
        if tile is None:
            continue
        numbers = " ".join(filter(None, tile.groups()[:3]))
        assert says(numbers, fmean(dice.values()), *interval(dice)), region
        assert int(tile[4]) == len(dice)
        bounds, counted = re.fullmatch(r"(?:lesion-wise HD95 (.*?\)?) )??(\d+ of \d+ .*)", tile[5]).groups()  # type: ignore[union-attr]
        assert says((bounds or "").removesuffix(" mm").replace(" mm", ""), *([fmean(hd95.values()), *interval(hd95)]))
        found, missed, false = (sum(made.values("base", region, column).values()) for column in COUNTS)
        assert says(counted, found, found + missed, 100 * found / (found + missed), false)
    dice = made.values("base", "ET", "lesion_wise_dice")
    sentence = re.search(rf"The mean lesion-wise Dice in ET is {NUMBER}{inside}, on (.*?), one training", text)
    assert sentence is not None
    assert says(" ".join(filter(None, sentence.groups()[:3])), fmean(dice.values()), *interval(dice))
    some = f"{len(dice)} of " if len(dice) != len(CASES) else ""
    assert sentence[4] == f"{some}{len(CASES)} cases of {len(set(CASES.values()))} patients"


def check_comparison(made: Made, scored: Sequence[str]) -> dict[tuple[str, str], tuple[Pair, str, str]]:
    """Compares comparison.csv with what scores.csv gives; returns the pairs with p and Holm's p as they are written."""
    rows = {(row["region"], row["score"]): row for row in made.comparison if row["score"] in (*MEANS, *COUNTS)}
    found = {}
    for region, column in itertools.product(scored, (*MEANS, *COUNTS)):
        base, other = (made.values(run, region, column) for run in made.rows)
        if not base.keys() & other.keys():
            assert (region, column) not in rows
            continue
        own, row = pair(made, region, column), rows[region, column]
        numbers = [float(row[name]) for name in ("reference_mean", "method_mean", "difference")]
        assert numbers == pytest.approx([*own.means, own.difference], abs=1e-12)
        bounds = [float(row[name]) for name in ("ci_low", "ci_high") if row[name]]
        assert bounds == pytest.approx(list(own.interval), abs=1e-9)
        assert [int(row[name]) for name in ("cases", "better", "worse")] == [own.n, own.better, own.worse]
        found[region, column] = own, row["p"], row["p_holm"]
        assert row["family"] == ("primary" if column in TESTED else "exploratory")
        assert bool(row["p"]) == (column in TESTED and own.tells and not row["not_tested"])
        if row["p"]:
            assert float(row["p"]) == pytest.approx(own.p, abs=1e-12)
    tests = {key: float(p) for key, (_, p, _) in found.items() if p}
    assert tests, "the example tells nothing"
    for key, p in corrected(tests).items():
        assert float(found[key][2]) == pytest.approx(p, abs=1e-12)
    return {
        key: (own, *(p_written(float(p)) if p else "" for p in (p, p_holm))) for key, (own, p, p_holm) in found.items()
    }


def check_compare(text: str, made: Made, pairs: Mapping[tuple[str, str], tuple[Pair, str, str]]) -> None:
    assert f"{len(CASES)} cases of {len(set(CASES.values()))} patients, scored for all methods" in text
    lines = [line.split() for line in text.splitlines()]
    for (region, column), (own, p, p_holm) in pairs.items():
        (cells,) = [cells for cells in lines if cells[:2] == [region, column]]
        assert cells[2:5] == [*(f"{mean:.3f}" for mean in own.means), f"{own.difference:+.3f}"]
        assert not own.interval or says(" ".join(cells[5:8]), *own.interval)
        assert f"{own.better}/{own.worse}" in cells
        if p:
            assert f"{p} {p_holm} {own.n}" in " ".join(cells)


def check_compared_page(
    page: Any, made: Made, pairs: Mapping[tuple[str, str], tuple[Pair, str, str]], decoding: str
) -> None:
    base, other = made.rows
    (rows,) = (rows for name, rows in page.tables.items() if name.startswith(f"{other} against {base}"))
    for (region, column), (own, p, p_holm) in pairs.items():
        if region not in made.regions:
            continue  # of which there is nothing anywhere
        digits = max(DIGITS[column], 2)
        cells = cells_of(rows, score_of(column).name, region)
        assert cells[:3] == [*(written(mean, digits) for mean in own.means), written(own.difference, digits, "+")]
        assert says(cells[3].replace("–", ""), *own.interval)
        assert cells[4:6] == [p or "–", p_holm or "–"]
        assert cells[7:9] == [str(own.n), f"{own.better}/{own.worse}"]
    assert decoding in page.text


def check_answer(text: str, made: Made, pairs: Mapping[tuple[str, str], tuple[Pair, str, str]], trained: str) -> None:
    """Compares the answer in a sentence, and the tiles, of a comparison."""
    tests = {key: own for key, own in pairs.items() if own[1]}
    sentence = re.search(
        rf"([\w-]+ (?:Dice|HD95)|lesions found per case) of (\w+),?.*? changes by {NUMBER}(?: mm)? "
        rf"\((?:95 % interval {NUMBER} to {NUMBER}(?: mm)?, )?(.*?)p (\S+ ?\S*) after Holm over (\d+) tests?\)",
        text,
    )
    assert sentence is not None
    name, region = sentence[1], sentence[2]
    column = next(
        column for column in TESTED if score_of(column).name.lower() == name.lower().removesuffix(" per case")
    )  # type: ignore[union-attr]
    own, _, p_holm = tests[region, column]
    assert (region, column) == ("ET", "lesion_wise_hd95") or ("ET", "lesion_wise_hd95") not in tests
    assert says(" ".join(filter(None, sentence.groups()[2:5])), own.difference, *own.interval)
    some = f"{own.n} of " if own.n != len(CASES) else ""
    assert sentence[6] == f"{some}{len(CASES)} cases of {len(set(CASES.values()))} patients, {trained}, "
    assert (sentence[7], int(sentence[8])) == (p_holm, len(tests))
    assert "No difference shown" in text, "seven patients cannot come below 5 % after so many tests"
    base, other = made.rows
    for region in made.regions:
        own = pairs[region, "lesion_wise_dice"][0]
        inside = rf"(?: 95 % interval {NUMBER} to {NUMBER})?"
        tile = re.search(
            rf" {region} {NUMBER} difference in lesion-wise Dice{inside} n = (\d+) cases? "
            rf"{base[:4]}\S* {NUMBER}(.*?) {other[:4]}\S* {NUMBER}([^A-Z]*)",
            text,
        )
        assert tile is not None, region
        assert says(" ".join(filter(None, tile.groups()[:3])), own.difference, *own.interval)
        assert int(tile[4]) == own.n
        if own.n == len(CASES):
            for place, arm in ((5, base), (7, other)):
                values = made.values(arm, region, "lesion_wise_dice")
                bounds = re.match(rf" \({NUMBER} to {NUMBER}\)", tile[place + 1])
                assert says(f"{tile[place]} {bounds[0] if bounds else ''}", fmean(values.values()), *interval(values))
