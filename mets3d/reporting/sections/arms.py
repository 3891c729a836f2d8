"""Writes the page's tables of arms x seeds x folds: which runs, their scores, and recall by lesion size."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from statistics import fmean, median

from markupsafe import Markup

from mets3d.evaluation.scores import Score
from mets3d.reporting.arms import runs_in_words
from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import heading_cell, number_cell, score_title, spanned, table, table_row, text_cell
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import amount, count, number, shortened, size_class_name
from mets3d.reporting.verdict import digits_of_difference
from mets3d.statistics.comparison_tables import p_text
from mets3d.statistics.family import family_in_words
from mets3d.statistics.lesion_counts import COUNTS
from mets3d.statistics.size_recall import SizeRecall
from mets3d.statistics.study_table import StudyTable, step_seconds

MAIN_SCORE = "lesion_wise_dice"  # of the table of every run
LONGEST = 60  # characters of an arm's name


def arms_section(records: Sequence[RunRecord], study: StudyTable | None, *, fair: bool) -> Section | None:
    """Writes the tables of the arms; None where every record is a single run, which have sections of their own.

    fair: whether they share all but what is compared, so that they are arms of one study.
    """
    if not any(record.runs for record in records):
        return None
    kind = "Arms" if fair else "Groups of runs, which are no arms of one study"
    tables = [_runs(records)]
    if study is not None:
        regions = [region.name for region in records[0].regions]
        scores = list(dict.fromkeys(score.score for score in study.scores))
        tables += [_every_run(records, study, region) for region in regions]
        tables += [_score(study, regions, score) for score in scores]
        tables += [_recall(study, region) for region in regions]
    html = f'<p class="small">{escape(_how(study))}</p><div class="grid one">{"".join(tables)}</div>'
    return Section("arms", f"{kind}: seeds and folds", Markup(html), "Seeds and folds")


def _how(study: StudyTable | None) -> str:
    if study is None:
        return "The arms have no scores on the same cases by the same rules: there is nothing to compare."
    said = (
        f"A case's score is its mean over an arm's runs, on {count(len(study.cases), 'case')} of "
        f"{count(study.patients, 'patient')} that all arms held out; folds are pooled over patients. ± is the standard "
        "deviation of the seeds' means. Differences are paired by patient, with 95 % bootstrap intervals over patients "
        f"and p of Wilcoxon's test after Holm's correction. {family_in_words(study.differences)}"
    )
    incomplete = [f"{shortened(arm, LONGEST)}: {', '.join(cases[:5])}" for arm, cases in study.partial.items() if cases]
    return said + (f" Not scored in all runs of an arm: {'; '.join(incomplete)}." if incomplete else "")


def _runs(records: Sequence[RunRecord]) -> str:
    rows = []
    for record in records:
        seconds = _seconds(record)
        cells = (number_cell(f"{record.config.train.steps:,}"), number_cell(number(seconds, 3)))
        pictured = text_cell(record.members[record.key].label)
        rows.append(table_row([_named(record.label), text_cell(runs_in_words(record)), *cells, pictured]))
    return table("Runs", ["Arm", "Runs", "Steps", "Seconds a step, median", "Pictured"], rows)


def _seconds(record: RunRecord) -> float | None:
    """Returns the median seconds of a step over the runs of an arm, each by its own median."""
    found = [step_seconds(run.training, run.config.train.batch_size) for run in record.members.values()]
    known = [seconds for seconds in found if seconds is not None]
    return median(known) if known else None


def _every_run(records: Sequence[RunRecord], study: StudyTable, region: str) -> str:
    """Writes the mean of the main score in every run, over its own cases: a column a seed and fold."""
    keys = sorted({key for runs in study.runs.values() for key in runs})
    rows = []
    for record in records:
        cells = []
        for key in keys:
            run = record.members.get(key)
            values = run.values(region, MAIN_SCORE).values() if run else ()
            cells.append(number_cell(number(fmean(values) if values else None, 3)))
        rows.append(table_row([_named(record.label), *cells]))
    several = len({fold for _, fold in keys}) > 1
    headings = [f"Seed {seed}" + (f", fold {fold}" if several else "") for seed, fold in keys]
    return table(f"Lesion-wise Dice of every run, {escape(region)}", ["Arm", *headings], rows)


def _score(study: StudyTable, regions: Sequence[str], score: Score) -> str:
    """Writes a score of every arm by region: mean ± SD over seeds; then difference, interval and corrected p."""
    digits = digits_of_difference(score)
    rows = []
    for arm in study.runs:
        cells = []
        for region in regions:
            own, test = study.score(arm, region, score.column), study.difference(arm, region, score.column)
            spread = f" ± {number(own.seed_sd, digits)}" if own and own.seed_sd is not None else ""
            cells.append(number_cell(number(own.mean if own else None, digits) + spread, first=True))
            if test is None:
                cells += [number_cell("–"), number_cell("–")]
            else:
                interval = f" ({spanned(test.found.interval, digits, sign=True)})" if test.found.interval else ""
                cells += [number_cell(number(test.found.difference, digits, sign=True) + interval)]
                cells += [number_cell(p_text(test.p_holm))]
        rows.append(table_row([_named(arm), *cells]))
    headings = [text for region in regions for text in (region, "Difference", "p (Holm)")]
    return f'<div class="wide">{table(score_title(score, per_case=score in COUNTS), ["Arm", *headings], rows)}</div>'


def _recall(study: StudyTable, region: str) -> str:
    """Writes the share of lesions found by size class, and the number of lesions."""
    classes: dict[str, SizeRecall] = {}
    for arm in study.runs:
        classes |= {size.size_class: size for size in study.recall(arm, region)}
    if not classes:
        return ""
    rows = []
    for arm in study.runs:
        own = {size.size_class: size for size in study.recall(arm, region)}
        found = [own.get(name) for name in classes]
        cells = [number_cell(number(size.recall if size else None, 3)) for size in found]
        rows.append(table_row([_named(arm), *cells]))
    headings = [f"{size_class_name(name)} mm³, n = {amount(size.lesions)}" for name, size in classes.items()]
    title = f"Share of lesions found by size, {escape(region)} <span>mean over runs, higher is better</span>"
    return table(title, ["Arm", *headings], rows)


def _named(label: str) -> str:
    return heading_cell(shortened(label, LONGEST))
