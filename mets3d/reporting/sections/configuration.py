"""Writes the page's sections on what was trained: facts of each run, settings that differ, and all settings."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from markupsafe import Markup

from mets3d.config import as_dict, flatten, to_yaml
from mets3d.reporting.arms import runs_in_words
from mets3d.reporting.compare import configuration_differences
from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import table, table_row, text_cell
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.training_facts import facts

ONE_CELL = ("Command", "Software", "Hardware")  # facts that are written once where all runs share them


def facts_section(records: Sequence[RunRecord]) -> Section:
    """Writes a table of facts, a column a run."""
    html = facts_table([_facts(record) for record in records], _labels(records))
    return Section("trained", "What was trained", Markup(html))


def _facts(record: RunRecord) -> dict[str, str]:
    """Returns the facts of a run; of an arm those of the one that is pictured, with the seeds and folds of all."""
    return facts(record) | {"Seed": runs_in_words(record)} if record.runs else facts(record)


def facts_table(columns: Sequence[dict[str, str]], labels: Sequence[str]) -> str:
    """Writes facts of one or several runs, a row a fact; the command in a fixed-width face."""
    every = list(dict.fromkeys(label for facts in columns for label in facts))
    rows = []
    for label in every:
        cells = [facts.get(label, "–") for facts in columns]
        if label in ONE_CELL and len(set(cells)) == 1:
            content = [_fact(label, cells[0], span=len(cells))]
        else:
            content = [_fact(label, cell) for cell in cells]
        rows.append(table_row([f'<th scope="row">{escape(label)}</th>', *content]))
    return table("", ["", *labels] if len(columns) > 1 else [], rows, kind="text")


def differences_section(records: Sequence[RunRecord]) -> Section:
    """Writes a table of the settings in which the runs differ, or a sentence where they do not."""
    keys = configuration_differences(records)
    same = "<p>Nothing but names: the runs have the same settings.</p>"
    html = Markup(_settings_table(records, keys) if keys else same)
    return Section("differences", "What differs between the configurations", html, "Differing settings")


def settings_section(records: Sequence[RunRecord]) -> Section:
    """Writes the whole configuration of each run, folded away."""
    html = "".join(
        f'<details class="screen"><summary>{escape(record.label)}</summary><pre tabindex="0">'
        f"{escape(to_yaml(record.config))}</pre></details>"
        for record in records
    )
    return Section("settings", "All settings", Markup(html))


def _settings_table(records: Sequence[RunRecord], keys: Sequence[str]) -> str:
    """Writes the value of each dotted configuration key in each run."""
    flat = [flatten(as_dict(record.config)) for record in records]
    rows = [
        table_row(
            [f'<th scope="row"><code>{escape(key)}</code></th>', *(text_cell(_value(tree.get(key))) for tree in flat)]
        )
        for key in keys
    ]
    return table("", ["Setting", *_labels(records)], rows, kind="text settings")


def _labels(records: Sequence[RunRecord]) -> list[str]:
    return [record.label for record in records]


def _fact(label: str, text: str, span: int = 1) -> str:
    shown = f"<code>{escape(text)}</code>" if label == "Command" else escape(text)
    return f'<td colspan="{span}">{shown}</td>' if span > 1 else f"<td>{shown}</td>"


def _value(value: object) -> str:
    return "none" if value is None else str(value)
