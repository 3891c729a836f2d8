"""One HTML page of a run, or of runs compared, that opens offline: figures lie in the page and beside it as files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path

from mets3d import __version__
from mets3d.config import to_yaml
from mets3d.data import Progress, quiet
from mets3d.files import replacing
from mets3d.reporting.charts.training import dots_figure, overlay_figure, training_figure
from mets3d.reporting.cohort_section import cohort_section
from mets3d.reporting.cohort_tables import cohort_tables
from mets3d.reporting.compare import (
    COUNTS,
    METRICS,
    Corrected,
    comparison_notes,
    configuration_differences,
    holm_corrected,
    reference_first,
    shared_cases,
)
from mets3d.reporting.figures import Figures
from mets3d.reporting.gallery import gallery
from mets3d.reporting.html_page import GENERATOR, page_html
from mets3d.reporting.ranks import ranks_section
from mets3d.reporting.run_record import Note, RunRecord, read_runs
from mets3d.reporting.sentences import against_threshold, count, facts, lede, number, threshold_comparison
from mets3d.reporting.summary import summary_text
from mets3d.reporting.tables import case_table, facts_table, pair_tables, region_tables, settings_table
from mets3d.reporting.verdict import answer, caveat, question
from mets3d.statistics.cohort import summarise
from mets3d.statistics.intervals import RESAMPLES
from mets3d.statistics.paired_tests import EXACT_UP_TO

__all__ = ["report", "summary_text"]

INDEX, FIGURES = "index.html", "figures"
LONG_LIST = 40


def report(runs: Sequence[Path], out: Path, *, progress: Progress | None = None) -> Path:
    """Writes OUT/index.html and OUT/figures/*.svg for one run, or for several compared; returns the path of the page.

    A piece that a run lacks (scores, curves, predictions ...) is named on the page. Several runs are compared on the
    cases that all held out; the first without a boundary term, else the first, is what the others are compared with.
    OUT appears whole or not at all; a former report there is replaced. `progress` is told of each case drawn.

    Raises FileNotFoundError if one of `runs` is not a run directory, ValueError for no runs or the same run twice, and
    FileExistsError if OUT exists and is anything but a report.
    """
    if not runs:
        raise ValueError("report: expected at least one run directory, found none")
    if len({run.resolve() for run in runs}) < len(runs):
        raise ValueError(f"report: the same run directory is named twice: {', '.join(map(str, runs))}")
    records = reference_first(read_runs(runs))
    _refuse_what_is_not_a_report(out)
    others = ", ".join(record.label for record in records[1:])
    title = f"{others} against {records[0].label}" if others else records[0].label
    with replacing(out) as temporary:
        figures = Figures(temporary / FIGURES)
        slices = gallery(records, figures, progress or quiet)
        body = _single(records[0], figures, slices) if len(records) == 1 else _compared(records, figures, slices)
        html = page_html(escape(title), f"{_header(title, records)}{body}{_footer()}")
        (temporary / INDEX).write_text(html, encoding="utf-8")
    return out / INDEX


def _refuse_what_is_not_a_report(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise FileExistsError(f"{out} exists and is a file; name a folder for the report that does not exist yet")
    found = {entry.name for entry in out.iterdir()}
    strangers = sorted(found - {INDEX, FIGURES})
    marked = (
        INDEX in found
        and f'content="{GENERATOR}"' in (out / INDEX).read_text(encoding="utf-8", errors="replace")[:2000]
    )
    if strangers or (found and not marked):
        shown = ", ".join((strangers or sorted(found))[:5])
        raise FileExistsError(
            f"{out} exists and is not a former report (found {shown}); name another folder or empty it"
        )


# ---------------------------------------------------------------- one run


def _single(record: RunRecord, figures: Figures, slices: str) -> str:
    baseline = against_threshold(record)
    parts = [_notes(record.notes), _tiles(record)]
    if record.scores:
        said = (
            f"Rules {record.rules}. SD is the sample standard deviation; 25 % and 75 % are the quartiles. Lesion-wise "
            "scores hold a penalty for each missed and each false lesion."
        )
        parts += [
            f"<h2>Scores on {count(len(record.held_out), 'held-out case')}</h2>",
            f'<p class="small">{escape(said)}</p>',
            region_tables(record),
            cohort_tables(record),
        ]
    if baseline:
        parts.append(f"<h3>Against a threshold</h3><p>{escape(baseline)}</p>")
    parts.append(cohort_section([record], record.held_out, figures))
    parts += [slices, "<h2>What was trained</h2>", facts_table([facts(record)], [record.label])]
    if record.training or record.validation:
        caption = "Thin line: as logged; thick line: mean over neighbouring steps. Validation is on held-out cases."
        parts.append(figures.add("training", training_figure(record), caption))
    parts += [_case_list(record), _settings(record)]
    return "".join(parts)


def _tiles(record: RunRecord) -> str:
    tiles = []
    for region in record.regions:
        dice = summarise(record.values(region.name, METRICS[0].column))
        hd95 = summarise(record.values(region.name, METRICS[1].column))
        if dice is None:
            continue
        below = f"lesion-wise HD95 {number(hd95.mean, 1)} mm" if hd95 else ""
        found, missed, false = (sum(record.values(region.name, metric.column).values()) for metric in COUNTS)
        tiles.append(
            f'<div class="tile" style="border-top-color:{region.colour}"><strong>{escape(region.name)}</strong>'
            f"<b>{number(dice.mean, 3)}</b><span>mean lesion-wise Dice</span><span>{below}</span>"
            f"<span>{found:.0f} of {found + missed:.0f} lesions found, {false:.0f} false</span></div>"
        )
    beside = threshold_comparison(record)
    if beside is not None:
        gain = number(beside.network - beside.alone, 3, sign=True)
        tiles.append(
            f'<div class="tile"><strong>Best threshold on {escape(beside.sequence)}</strong>'
            f"<b>{number(beside.alone, 3)}</b><span>mean {escape(beside.region)} Dice, whole volume</span>"
            f"<span>network {number(beside.network, 3)}, {gain}</span></div>"
        )
    return f'<div class="tiles">{"".join(tiles)}</div>' if tiles else ""


# ---------------------------------------------------------------- several runs


def _compared(records: Sequence[RunRecord], figures: Figures, slices: str) -> str:
    cases = shared_cases(records)
    notes = comparison_notes(records)
    notes += [Note(f"{record.label}: {note.text}", note.command) for record in records for note in record.notes]
    first, *others = records
    corrected = holm_corrected(first, others, cases)
    parts = [_notes(notes), *(_pair(first, other, cases, corrected, named=len(others) > 1) for other in others)]
    parts.append(ranks_section(records, cases))
    if cases:
        caption = (
            "Every dot is a case, the same case is joined by a line, the bar is the mean. HD95 is linear up to 1 mm "
            "and logarithmic above."
        )
        parts += ["<h2>Case by case</h2>", figures.add("dots", dots_figure(records, cases, METRICS[:2]), caption)]
    baselines = [(record.label, text) for record in records if (text := against_threshold(record))]
    parts += ["<h3>Against a threshold</h3>"] if baselines else []
    parts += [f"<p><b>{escape(label)}.</b> {escape(text)}</p>" for label, text in baselines]
    parts.append(cohort_section(records, cases, figures))
    parts.append(slices)
    if any(record.training or record.validation for record in records):
        caption = "Thin line: as logged; thick line: mean over neighbouring steps."
        parts += ["<h2>Training</h2>", figures.add("training", overlay_figure(records), caption)]
    parts += ["<h2>What differs between the configurations</h2>", _differing(records)]
    parts += ["<h2>What was trained</h2>", facts_table([*map(facts, records)], [record.label for record in records])]
    parts += [_case_list(record, record.label) + _settings(record, record.label) for record in records]
    return "".join(parts)


def _pair(reference: RunRecord, run: RunRecord, cases: Sequence[str], corrected: Corrected, *, named: bool) -> str:
    heading = (f"{run.label}: " if named else "") + question(reference, run)
    said = answer(reference, run, cases, corrected)
    lines = "".join(f"<dt>{escape(what)}</dt><dd>{escape(text)}</dd>" for what, text in said)
    html = f'<h2>{escape(heading)}</h2><dl class="answer">{lines}</dl>'
    if not cases:
        return html
    how = (
        f"Means over the same {count(len(cases), 'held-out case')}. Intervals are percentile bootstrap intervals over "
        f"patients ({RESAMPLES:,} resamples, fixed seed), not corrected for the number of comparisons. p is that of "
        "Wilcoxon's signed-rank test over patients (zeros left out, exact given the ties up to "
        f"{EXACT_UP_TO} patients), beside it Holm's correction over the {count(len(corrected), 'test')} of this page. "
        "Effect is the rank-biserial correlation: 1 better in every patient, −1 worse in every one. Better/worse "
        "counts cases."
    )
    return (
        f'{html}<p class="small">{escape(caveat(reference, run, len(cases)))}</p><h3>{escape(run.label)} against '
        f'{escape(reference.label)}</h3><p class="small">{escape(how)}</p>'
        f"{pair_tables(reference, run, cases, corrected)}"
    )


def _differing(records: Sequence[RunRecord]) -> str:
    keys = configuration_differences(records)
    return settings_table(records, keys) if keys else "<p>Nothing but names: the runs have the same settings.</p>"


# ---------------------------------------------------------------- shared parts


def _header(title: str, records: Sequence[RunRecord]) -> str:
    said = [lede(records[0])] if len(records) == 1 else [f"{record.label}: {lede(record)}" for record in records]
    return f"<header><h1>{escape(title)}</h1>{''.join(f'<p>{escape(text)}</p>' for text in said)}</header>"


def _notes(notes: Sequence[Note]) -> str:
    if not notes:
        return ""
    items = "".join(
        f"<li>{escape(note.text)}" + (f" Run <code>{escape(note.command)}</code>" if note.command else "") + "</li>"
        for note in notes
    )
    return f'<section class="notes"><h2>Read this first</h2><ul>{items}</ul></section>'


def _case_list(record: RunRecord, label: str = "") -> str:
    if not record.scores:
        return ""
    amount = len(record.held_out)
    shown = " open" * (amount <= LONG_LIST and not label)
    named = f" of {escape(label)}" if label else ""
    return f"<details{shown}><summary>Scores of each case{named} ({amount})</summary>{case_table(record)}</details>"


def _settings(record: RunRecord, label: str = "") -> str:
    named = f" of {escape(label)}" if label else ""
    return f"<details><summary>All settings{named}</summary><pre>{escape(to_yaml(record.config))}</pre></details>"


def _footer() -> str:
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return (
        f"<footer>Made by mets3d {__version__} on {made}. Figures are in the folder {FIGURES} beside this page. "
        "Not for clinical use.</footer>"
    )
