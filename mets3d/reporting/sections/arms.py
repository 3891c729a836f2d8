"""Writes the page's tables of arms x seeds x folds: runs and their cost, scores, and recall by lesion size."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from mets3d.evaluation.scores import Score
from mets3d.regions import Region
from mets3d.reporting.arms import runs_in_words
from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import Cell, Heading, Table, direction, region_head, row_head, spanned
from mets3d.reporting.rendering import render
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import amount, number, shortened, size_class_name
from mets3d.reporting.verdict import digits_of_difference
from mets3d.statistics.comparison_tables import p_text
from mets3d.statistics.family import family_in_words
from mets3d.statistics.lesion_counts import COUNTS
from mets3d.statistics.size_recall import SizeRecall, ordered_classes
from mets3d.statistics.study_table import StudyTable, step_seconds
from mets3d.wording import counted

MAIN_SCORE = "lesion_wise_dice"  # of the table of every run
LONGEST = 60  # characters of an arm's name
UNKNOWN = "–"


def arms_section(records: Sequence[RunRecord], study: StudyTable | None, *, fair: bool) -> Section | None:
    """Writes the tables of the arms, of which one may be a single run; None for one run by itself.

    fair: whether they share all but what is compared, so that they are arms of one study.
    """
    several = any(record.runs for record in records)
    if len(records) == 1 and not several:
        return None
    kind = "Arms" if fair else "Groups of runs, which are no arms of one study" if several else "Runs"
    tables = [_runs(records)]
    if study is not None:
        regions = list(records[0].regions)
        if several:
            tables.append(_every_run(records, study, regions))
        if several or len(records) > 2:
            tables.append(_scores(study, regions))
        if recall := _recall(study, regions):
            tables.append(recall)
    html = render("arms.html", tables=tables, how=_how(study))
    return Section("arms", f"{kind}: seeds and folds", html, "Seeds and folds")


def _how(study: StudyTable | None) -> str:
    if study is None:
        return "The arms have no scores on the same cases by the same rules: there is nothing to compare."
    said = (
        f"A case's score is its mean over an arm's runs, on {counted(len(study.cases), 'case')} of "
        f"{counted(study.patients, 'patient')} that all arms held out; folds are pooled over patients. ± is the "
        "standard deviation of the seeds' means. Differences are paired by patient, with 95 % bootstrap "
        "intervals over patients "
        f"and p of Wilcoxon's test after Holm's correction. {family_in_words(study.differences)}"
    )
    incomplete = [f"{shortened(arm, LONGEST)}: {', '.join(cases[:5])}" for arm, cases in study.partial.items() if cases]
    return said + (f" Not scored in all runs of an arm: {'; '.join(incomplete)}." if incomplete else "")


def _runs(records: Sequence[RunRecord]) -> Table:
    """Returns a row an arm: its runs, what a step costs on which hardware, and which run is pictured."""
    several = any(record.runs for record in records)
    rows = []
    for record in records:
        cells = [
            Cell(runs_in_words(record), words=True),
            Cell(f"{record.config.train.steps:,}"),
            Cell(number(_seconds(record), 3)),
            Cell(_devices(record), words=True),
        ]
        pictured = [Cell(record.members[record.key].label, words=True)] if several else []
        rows.append([_named(record.label), *cells, *pictured])
    headings: list[str | Heading] = [
        *(Heading(text, words=True) for text in ("Arm", "Runs")),
        *("Steps", "Seconds a step, median"),
        *(Heading(text, words=True) for text in ("On", *(["Pictured"] if several else []))),
    ]
    return Table("Runs", headings, rows)


def _seconds(record: RunRecord) -> float | None:
    """Returns the median seconds of a step over the runs of an arm, each by its own median."""
    found = [step_seconds(run.training, run.config.train.batch_size) for run in record.members.values()]
    known = [seconds for seconds in found if seconds is not None]
    return median(known) if known else None


def _devices(record: RunRecord) -> str:
    """Names what the runs of an arm were trained on, which is what a step's seconds are of."""
    found = {str(run.environment.get("device") or "") for run in record.members.values()} - {""}
    return " and ".join(sorted(found)) or UNKNOWN


def _every_run(records: Sequence[RunRecord], study: StudyTable, regions: Sequence[Region]) -> Table:
    """Returns the mean of the main score in every run, over its own cases: a column a seed and fold."""
    keys = sorted({key for runs in study.runs.values() for key in runs})
    rows = []
    for region in regions:
        for place, record in enumerate(records):
            cells = []
            for key in keys:
                run = record.members.get(key)
                values = run.values(region.name, MAIN_SCORE).values() if run else ()
                cells.append(Cell(number(fmean(values) if values else None, 3)))
            head = [region_head(region, rows=len(records))] if place == 0 else []
            rows.append([*head, _arm(record.label), *cells])
    several = len({fold for _, fold in keys}) > 1
    seeds = [f"Seed {seed}" + (f", fold {fold}" if several else "") for seed, fold in keys]
    headings: list[str | Heading] = [*(Heading(text, words=True) for text in ("Region", "Arm")), *seeds]
    return Table("Lesion-wise Dice of every run", headings, rows, kind="numbers scores")


def _scores(study: StudyTable, regions: Sequence[Region]) -> Table:
    """Returns rows per score and arm: in each region mean ± SD over seeds, difference with interval, corrected p."""
    scores = list(dict.fromkeys(own.score for own in study.scores))
    rows = []
    for score in scores:
        for place, arm in enumerate(study.runs):
            cells = [cell for region in regions for cell in _of_arm(study, arm, region.name, score)]
            name = Cell(score.name, heads=True, rows=len(study.runs), after=direction(score, per_case=score in COUNTS))
            rows.append([*([name] if place == 0 else []), _arm(arm), *cells])
    headings: list[str | Heading] = [
        *(Heading(text, words=True) for text in ("Score", "Arm")),
        *(text for region in regions for text in (region.name, "Difference", "p (Holm)")),
    ]
    return Table("Scores of every arm", headings, rows, "mean ± SD over seeds", kind="numbers scores")


def _of_arm(study: StudyTable, arm: str, region: str, score: Score) -> list[Cell]:
    digits = digits_of_difference(score)
    own, test = study.score(arm, region, score.column), study.difference(arm, region, score.column)
    spread = f" ± {number(own.seed_sd, digits)}" if own and own.seed_sd is not None else ""
    mean = Cell(number(own.mean if own else None, digits) + spread)
    if test is None:
        return [mean, Cell(UNKNOWN), Cell(UNKNOWN)]
    interval = f" ({spanned(test.found.interval, digits, sign=True)})" if test.found.interval else ""
    return [mean, Cell(number(test.found.difference, digits, sign=True) + interval), Cell(p_text(test.p_holm))]


def _recall(study: StudyTable, regions: Sequence[Region]) -> Table | None:
    """Returns the share of lesions found by size class, and of how many, by region and arm; None without lesions."""
    found = {
        (arm, region.name): {size.size_class: size for size in study.recall(arm, region.name)}
        for arm in study.runs
        for region in regions
    }
    classes = ordered_classes(name for own in found.values() for name in own)
    if not classes:
        return None
    rows = []
    for region in regions:
        for place, arm in enumerate(study.runs):
            cells = [_share(found[arm, region.name].get(name)) for name in classes]
            head = [region_head(region, rows=len(study.runs))] if place == 0 else []
            rows.append([*head, _arm(arm), *cells])
    sizes = [f"{size_class_name(name)} mm³" for name in classes]
    headings: list[str | Heading] = [*(Heading(text, words=True) for text in ("Region", "Arm")), *sizes]
    how = "mean over runs, and of how many lesions; higher is better"
    return Table("Share of lesions found by size", headings, rows, how, kind="numbers scores")


def _share(size: SizeRecall | None) -> Cell:
    return Cell(UNKNOWN) if size is None else Cell(number(size.recall, 3), after=f"of {amount(size.lesions)}")


def _named(label: str) -> Cell:
    return row_head(shortened(label, LONGEST))


def _arm(label: str) -> Cell:
    """Returns the cell of an arm in a row that a region or a score heads."""
    return Cell(shortened(label, LONGEST), words=True)
