"""Writes the page's sections on what was trained: facts of each run, settings that differ, and all settings."""

from __future__ import annotations

from collections.abc import Sequence

from mets3d.config import as_dict, flatten, to_yaml
from mets3d.reporting.arms import runs_in_words
from mets3d.reporting.compare import configuration_differences
from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import Cell, Heading, Table, flow
from mets3d.reporting.rendering import render
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.training_facts import facts

ONE_CELL = ("Command", "Software", "Hardware", "Other hosts")  # facts that are written once where all runs share them


def facts_section(records: Sequence[RunRecord]) -> Section:
    """Writes a table of facts, a column a run."""
    table = facts_table([_facts(record) for record in records], _labels(records))
    return Section("trained", "What was trained", flow(table))


def facts_table(columns: Sequence[dict[str, str]], labels: Sequence[str]) -> Table:
    """Returns facts of one or several runs, a row a fact; the command in a fixed-width face."""
    rows = []
    for label in dict.fromkeys(label for told in columns for label in told):
        texts = [told.get(label, "–") for told in columns]
        shared = label in ONE_CELL and len(set(texts)) == 1
        shown = [(texts[0], len(texts))] if shared else [(text, 1) for text in texts]
        cells = [Cell(text, words=True, columns=span, code=label == "Command") for text, span in shown]
        rows.append([Cell(label, heads=True), *cells])
    headings = [Heading(text, words=True) for text in ("Fact", *labels)] if len(columns) > 1 else []
    return Table("", headings, rows, kind="text", label="What was trained")


def differences_section(records: Sequence[RunRecord]) -> Section:
    """Writes a table of the settings in which the runs differ, or a sentence where they do not."""
    keys = configuration_differences(records)
    same = "Nothing but names: the runs have the same settings."
    html = flow(_settings_table(records, keys) if keys else same)
    return Section("differences", "What differs between the configurations", html, "Differing settings")


def settings_section(records: Sequence[RunRecord]) -> Section:
    """Writes the whole configuration of each run, folded away."""
    runs = [(record.label, to_yaml(record.config)) for record in records]
    return Section("settings", "All settings", render("settings.html", runs=runs))


def _settings_table(records: Sequence[RunRecord], keys: Sequence[str]) -> Table:
    """Returns the value of each dotted configuration key in each run."""
    flat = [flatten(as_dict(record.config)) for record in records]
    rows = [
        [Cell(key, heads=True, code=True), *(Cell(_value(tree.get(key)), words=True) for tree in flat)] for key in keys
    ]
    headings = [Heading(text, words=True) for text in ("Setting", *_labels(records))]
    return Table("", headings, rows, kind="text settings", label="Settings that differ")


def _facts(record: RunRecord) -> dict[str, str]:
    """Returns the facts of a run; of an arm those of the one that is pictured, with the seeds and folds of all."""
    return facts(record) | {"Seed": runs_in_words(record)} if record.runs else facts(record)


def _labels(records: Sequence[RunRecord]) -> list[str]:
    return [record.label for record in records]


def _value(value: object) -> str:
    return "none" if value is None else str(value)
