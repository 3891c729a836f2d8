"""Writes the page's first section: whatever a reader has to know about the runs before looking at the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from markupsafe import Markup

from mets3d.reporting.html_page import Section
from mets3d.reporting.run_record import Note, RunRecord

MOST_NAMED = 3  # runs before the same note


def notes_section(notes: Sequence[Note]) -> Section | None:
    """Lists the notes in a box at the top of the page; None without notes."""
    if not notes:
        return None
    items = "".join(f"<li>{note_html(note)}</li>" for note in notes)
    return Section("notes", "Read this first", Markup(f'<div class="notes"><ul>{items}</ul></div>'))


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
        Note(f"{_named([label for label, _ in told], len(runs))}: {text}", told[0][1].command)
        for text, told in by_text.items()
    ]


def _named(labels: Sequence[str], runs: int) -> str:
    if len(labels) == runs:
        return f"All {runs} runs"
    more = f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
    return ", ".join(labels[:MOST_NAMED]) + more


def note_lines(notes: Sequence[Note]) -> str:
    """Writes each note as a small paragraph, for use in the middle of the page."""
    return "".join(f'<p class="small">{note_html(note)}</p>' for note in notes)


def note_html(note: Note) -> str:
    """Writes a note's text and the command that helps, if there is one."""
    command = f" Run <code>{escape(note.command)}</code>" if note.command else ""
    return f"{escape(note.text)}{command}"
