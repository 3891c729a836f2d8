"""Tables of the page as HTML. Every column has one number of decimals, so right alignment aligns the decimal points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from mets3d.config import as_dict, flatten
from mets3d.regions import Region
from mets3d.reporting.compare import COUNTS, METRICS, SHARED_LESIONS, Metric, compare, summarise
from mets3d.reporting.record import RunRecord
from mets3d.reporting.words import number, shortened


def region_tables(record: RunRecord) -> str:
    """A table per score (cases, mean, SD, median, quartiles per region) and one of lesions found, missed and false."""
    tables = "".join(_score_table(record, metric) for metric in METRICS)
    return f'<div class="grid">{tables}{_lesion_table(record)}</div>'


def _score_table(record: RunRecord, metric: Metric) -> str:
    rows = []
    for region in record.regions:
        summary = summarise(record.values(region.name, metric.column))
        if summary is None:
            cells = ["0", *["–"] * 5]
        else:
            spread = (summary.mean, summary.sd, summary.median, *summary.quartiles)
            cells = [str(summary.n), *(number(value, metric.digits) for value in spread)]
        rows.append(_row([_region(region), *map(_number, cells)]))
    return _table(_title(metric), ["Region", "Cases", "Mean", "SD", "Median", "25 %", "75 %"], rows)


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
            _row([_region(region), *(_number(number(value, 0)) for value in (found, missed, false)), _number(share)])
        )
    return _table(
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
                _number(number(values[region.name, metric.column].get(case), metric.digits), first=index == 0)
                for index, metric in enumerate(METRICS)
            ]
            counts = [number(values[region.name, metric.column].get(case), 0) for metric in COUNTS]
            cells.append(_number("/".join(counts) if set(counts) != {"–"} else "–"))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="wide"><table class="cases"><thead><tr><td></td>{head}</tr><tr><th>Case</th>{columns}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        '<p class="small">LW lesion-wise; HD95 in mm; F/M/X lesions found, missed and false.</p>'
    )


def pair_tables(reference: RunRecord, run: RunRecord, cases: Sequence[str]) -> str:
    """A table per score, a row per region: means of both runs on `cases`, difference, interval, better and worse."""
    metrics = (*METRICS, SHARED_LESIONS, *COUNTS)
    return f'<div class="grid">{"".join(_pair_table(metric, reference, run, cases) for metric in metrics)}</div>'


def _pair_table(metric: Metric, reference: RunRecord, run: RunRecord, cases: Sequence[str]) -> str:
    digits = max(metric.digits, 2)
    differences = compare(metric, reference, run, cases)
    if not differences:
        return ""
    rows = []
    for region in reference.regions:
        found = differences.get(region.name)
        if found is None:
            rows.append(_row([_region(region), *[_number("–")] * 6]))
            continue
        interval = [number(bound, digits, sign=True) for bound in found.interval or ()]
        cells = (
            number(found.reference_mean, digits),
            number(found.run_mean, digits),
            number(found.mean, digits, sign=True),
            " to ".join(interval) or "–",
            str(found.n),
            f"{found.improved}/{found.worsened}",
        )
        rows.append(_row([_region(region), *map(_number, cells)]))
    names = [shortened(record.label, 14) for record in (reference, run)]
    headings = ["Region", *names, "Difference", "95 % interval", "n", "Better/worse"]
    return _table(_title(metric, per_case=metric in COUNTS), headings, rows)


def settings_table(records: Sequence[RunRecord], keys: Sequence[str]) -> str:
    """The value of each dotted configuration key in each run."""
    flat = [flatten(as_dict(record.config)) for record in records]
    rows = [
        _row([f'<th scope="row"><code>{escape(key)}</code></th>', *(_text(_value(tree.get(key))) for tree in flat)])
        for key in keys
    ]
    return _table("", ["Setting", *(record.label for record in records)], rows, kind="text settings")


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
        rows.append(_row([f'<th scope="row">{escape(label)}</th>', *content]))
    return _table("", ["", *labels] if len(columns) > 1 else [], rows, kind="text")


def _fact(label: str, text: str, span: int = 1) -> str:
    shown = f"<code>{escape(text)}</code>" if label == "Command" else escape(text)
    return f'<td colspan="{span}">{shown}</td>' if span > 1 else f"<td>{shown}</td>"


def _value(value: object) -> str:
    return "none" if value is None else str(value)


# ---------------------------------------------------------------- parts of a table


def _table(title: str, headings: Sequence[str], rows: Iterable[str], kind: str = "numbers") -> str:
    """`title` is HTML; headings are text."""
    caption = f"<caption>{title}</caption>" if title else ""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    thead = f"<thead><tr>{head}</tr></thead>" if headings else ""
    return f'<table class="{kind}">{caption}{thead}<tbody>{"".join(rows)}</tbody></table>'


def _title(metric: Metric, *, per_case: bool = False) -> str:
    unit = f"{metric.unit}, " if metric.unit else "mean per case, " if per_case else ""
    return f"{escape(metric.name)} <span>{unit}{metric.better} is better</span>"


def _row(cells: Iterable[str]) -> str:
    return f"<tr>{''.join(cells)}</tr>"


def _region(region: Region) -> str:
    return f'<th scope="row"><i style="background:{region.colour}"></i>{escape(region.name)}</th>'


def _number(text: str, *, first: bool = False) -> str:
    kind = "n start" if first else "n"
    return f'<td class="{kind}">{escape(text)}</td>'


def _text(text: str) -> str:
    return f"<td>{escape(text)}</td>"
