"""Writes the page's first section: whatever a reader has to know about the runs before looking at the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mets3d.reporting.run_record import Note


def notes_section(notes: Sequence[Note]) -> str:
    """Lists the notes in a box at the top of the page; empty without notes."""
    if not notes:
        return ""
    items = "".join(f"<li>{note_html(note)}</li>" for note in notes)
    return f'<section class="notes"><h2>Read this first</h2><ul>{items}</ul></section>'


def note_lines(notes: Sequence[Note]) -> str:
    """Writes each note as a small paragraph, for use in the middle of the page."""
    return "".join(f'<p class="small">{note_html(note)}</p>' for note in notes)


def note_html(note: Note) -> str:
    """Writes a note's text and the command that helps, if there is one."""
    command = f" Run <code>{escape(note.command)}</code>" if note.command else ""
    return f"{escape(note.text)}{command}"
