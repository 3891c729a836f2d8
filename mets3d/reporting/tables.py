"""Tables of the page as HTML. Every column has one number of decimals, so right alignment aligns the decimal points."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mets3d.config import as_dict, flatten
from mets3d.regions import Region
from mets3d.reporting.compare import COMPARED, COUNTS, METRICS, Corrected, Metric, compare
from mets3d.reporting.html_table import number_cell, region_cell, spanned, table, table_row, text_cell
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import number, shortened
from mets3d.statistics.cohort import summarise
from mets3d.statistics.comparison_tables import p_text


def region_tables(record: RunRecord) -> str:
    """A table per score (cases, mean, its interval, SD, median, quartiles per region) and one of lesion counts."""
    tables = "".join(_score_table(record, metric) for metric in METRICS)
    return f'<div class="grid">{tables}{_lesion_table(record)}</div>'


def _score_table(record: RunRecord, metric: Metric) -> str:
    rows = []
    for region in record.regions:
        summary = summarise(record.values(region.name, metric.column))
        if summary is None:
            cells = ["0", *["–"] * 6]
        else:
            spread = (summary.sd, summary.median, *summary.quartiles)
            mean = number(summary.mean, metric.digits), spanned(summary.interval, metric.digits)
            cells = [str(summary.n), *mean, *(number(value, metric.digits) for value in spread)]
        rows.append(table_row([region_cell(region), *map(number_cell, cells)]))
    return table(_title(metric), ["Region", "n", "Mean", "95 % interval", "SD", "Median", "25 %", "75 %"], rows)


def _lesion_table(record: RunRecord) -> str:
    rows = []
    for region in record.regions:
        found, missed, false = (_total(record, region, metric) for metric in COUNTS)
        share = (
            f"{100 * found / (found + missed):.0f} %"
            if found is not None and missed is not None and found + missed
            else "–"
        )
        rows.append(
            table_row(
                [
                    region_cell(region),
                    *(number_cell(number(value, 0)) for value in (found, missed, false)),
                    number_cell(share),
                ]
            )
        )
    return table(
        "Lesions <span>of the reference, all cases together</span>",
        ["Region", "Found", "Missed", "False", "Share found"],
        rows,
    )


def _total(record: RunRecord, region: Region, metric: Metric) -> float | None:
    values = record.values(region.name, metric.column)
    return sum(values.values()) if values else None


def case_table(record: RunRecord) -> str:
    """All held-out cases: per region lesion-wise and whole-volume Dice and HD95, and lesions found/missed/false."""
    short = ("LW Dice", "LW HD95", "Dice", "HD95")
    head = "".join(
        f'<th colspan="5" class="group" style="border-color:{region.colour}">{escape(region.name)}</th>'
        for region in record.regions
    )
    columns = "".join(f"<th>{name}</th>" for name in (*short, "F/M/X")) * len(record.regions)
    values = {
        (region.name, metric.column): record.values(region.name, metric.column)
        for region in record.regions
        for metric in (*METRICS, *COUNTS)
    }
    rows = []
    for case in record.held_out:
        cells = [f'<th scope="row">{escape(case)}</th>']
        for region in record.regions:
            cells += [
                number_cell(number(values[region.name, metric.column].get(case), metric.digits), first=index == 0)
                for index, metric in enumerate(METRICS)
            ]
            counts = [number(values[region.name, metric.column].get(case), 0) for metric in COUNTS]
            cells.append(number_cell("/".join(counts) if set(counts) != {"–"} else "–"))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="wide"><table class="cases"><thead><tr><td></td>{head}</tr><tr><th>Case</th>{columns}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        '<p class="small">LW lesion-wise; HD95 in mm; F/M/X lesions found, missed and false.</p>'
    )


def pair_tables(reference: RunRecord, run: RunRecord, cases: Sequence[str], corrected: Corrected) -> str:
    """A table per score, a row per region: means of both runs on `cases`, difference, interval, tests, better/worse."""
    tables = "".join(_pair_table(metric, reference, run, cases, corrected) for metric in COMPARED)
    return f'<div class="grid one">{tables}</div>'


def _pair_table(
    metric: Metric, reference: RunRecord, run: RunRecord, cases: Sequence[str], corrected: Corrected
) -> str:
    digits = max(metric.digits, 2)
    differences = compare(metric, reference, run, cases)
    if not differences:
        return ""
    rows = []
    for region in reference.regions:
        found = differences.get(region.name)
        if found is None:
            rows.append(table_row([region_cell(region), *[number_cell("–")] * 9]))
            continue
        cells = (
            number(found.reference_mean, digits),
            number(found.method_mean, digits),
            number(found.difference, digits, sign=True),
            spanned(found.interval, digits, sign=True),
            p_text(found.p),
            p_text(corrected[run.label, metric.name, region.name]),
            number(found.effect, 2, sign=True),
            str(found.n),
            f"{found.improved}/{found.worsened}",
        )
        rows.append(table_row([region_cell(region), *map(number_cell, cells)]))
    names = [shortened(record.label, 14) for record in (reference, run)]
    headings = ["Region", *names, "Difference", "95 % interval", "p", "p (Holm)", "Effect", "n", "Better/worse"]
    return table(_title(metric, per_case=metric in COUNTS), headings, rows)


def settings_table(records: Sequence[RunRecord], keys: Sequence[str]) -> str:
    """The value of each dotted configuration key in each run."""
    flat = [flatten(as_dict(record.config)) for record in records]
    rows = [
        table_row(
            [f'<th scope="row"><code>{escape(key)}</code></th>', *(text_cell(_value(tree.get(key))) for tree in flat)]
        )
        for key in keys
    ]
    return table("", ["Setting", *(record.label for record in records)], rows, kind="text settings")


def facts_table(columns: Sequence[dict[str, str]], labels: Sequence[str]) -> str:
    """Facts of one or several runs, a row a fact; the command in a fixed-width face."""
    every = list(dict.fromkeys(label for facts in columns for label in facts))
    rows = []
    for label in every:
        cells = [facts.get(label, "–") for facts in columns]
        if label in ("Command", "Software", "Hardware") and len(set(cells)) == 1:
            content = [_fact(label, cells[0], span=len(cells))]
        else:
            content = [_fact(label, cell) for cell in cells]
        rows.append(table_row([f'<th scope="row">{escape(label)}</th>', *content]))
    return table("", ["", *labels] if len(columns) > 1 else [], rows, kind="text")


def _fact(label: str, text: str, span: int = 1) -> str:
    shown = f"<code>{escape(text)}</code>" if label == "Command" else escape(text)
    return f'<td colspan="{span}">{shown}</td>' if span > 1 else f"<td>{shown}</td>"


def _value(value: object) -> str:
    return "none" if value is None else str(value)


def _title(metric: Metric, *, per_case: bool = False) -> str:
    unit = f"{metric.unit}, " if metric.unit else "mean per case, " if per_case else ""
    return f"{escape(metric.name)} <span>{unit}{metric.better} is better</span>"
