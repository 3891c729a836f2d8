"""Writes the page's sections on what was trained: facts of each run, settings that differ, and all settings."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mets3d.config import as_dict, flatten, to_yaml
from mets3d.reporting.arms import runs_in_words
from mets3d.reporting.compare import configuration_differences
from mets3d.reporting.html_table import table, table_row, text_cell
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.training_facts import facts

ONE_CELL = ("Command", "Software", "Hardware")  # facts that are written once where all runs share them


def facts_section(records: Sequence[RunRecord]) -> str:
    """Writes a table of facts, a column a run."""
    return f"<h2>What was trained</h2>{facts_table([_facts(record) for record in records], _labels(records))}"


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


def differences_section(records: Sequence[RunRecord]) -> str:
    """Writes a table of the settings in which the runs differ, or a sentence where they do not."""
    keys = configuration_differences(records)
    same = "<p>Nothing but names: the runs have the same settings.</p>"
    return f"<h2>What differs between the configurations</h2>{_settings_table(records, keys) if keys else same}"


def all_settings(record: RunRecord, label: str = "") -> str:
    """Writes a run's whole configuration, folded away; `label` names the run where there are several."""
    named = f" of {escape(label)}" if label else ""
    return f"<details><summary>All settings{named}</summary><pre>{escape(to_yaml(record.config))}</pre></details>"


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
