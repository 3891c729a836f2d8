"""Writes the page's section of what a reader has to know about the runs, the most important first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from mets3d.reporting.html_page import Section
from mets3d.reporting.rendering import render
from mets3d.reporting.run_record import Note, RunRecord
from mets3d.wording import agreed, counted

MOST_NAMED = 3  # runs before the same note
MOST_OPEN = 4  # notes on missing pieces; more are folded away where others bear on the numbers


def placed_notes(notes: Sequence[Note], *, answered: bool) -> tuple[Section | None, Section | None]:
    """Returns the section of the notes at the head of a page or, of mere missing pieces beside an answer, later."""
    section = notes_section(notes)
    if section and answered and not any(note.weighty for note in notes):
        return None, replace(section, title="What is missing on this page", short="What is missing")
    return section, None


def notes_section(notes: Sequence[Note]) -> Section | None:
    """Lists the notes in a box: those that bear on the numbers, then those on missing pieces; None without notes."""
    if not notes:
        return None
    weighty, minor = ([note for note in notes if note.weighty == wanted] for wanted in (True, False))
    folded = bool(weighty) and len(minor) > MOST_OPEN
    more = f"{counted(len(minor), 'piece')} that {agreed(len(minor), 'is', 'are')} missing" if folded else ""
    html = render(
        "notes.html", notes=weighty if folded else [*weighty, *minor], minor=minor if folded else [], more=more
    )
    return Section("notes", "Read this first", html)


def weighed(notes: Iterable[Note]) -> list[Note]:
    """Returns notes as such that bear on the numbers."""
    return [replace(note, weighty=True) for note in notes]


def own_notes(records: Sequence[RunRecord]) -> list[Note]:
    """Returns the notes of all runs, each text once, with the names of its runs where there are several."""
    runs = [run for record in records for run in record.members.values()]
    if len(runs) == 1:
        return list(runs[0].notes)
    by_text: dict[str, list[tuple[str, Note]]] = {}
    for run in runs:
        for note in run.notes:
            by_text.setdefault(note.text, []).append((run.label, note))
    return [
        replace(told[0][1], text=f"{_named([label for label, _ in told], len(runs))}: {text}")
        for text, told in by_text.items()
    ]


def _named(labels: Sequence[str], runs: int) -> str:
    if len(labels) == runs:
        return "Both runs" if runs == 2 else f"All {runs} runs"
    more = f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
    return ", ".join(labels[:MOST_NAMED]) + more
