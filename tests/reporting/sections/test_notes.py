from mets3d.reporting.read_run import read_runs
from mets3d.reporting.run_record import Note
from mets3d.reporting.sections.notes import notes_section, own_notes, placed_notes, weighed
from tests.reporting.conftest import Page


def test_what_bears_on_the_numbers_comes_first_and_many_missing_pieces_are_folded():
    missing = [Note(f"No piece {n}.", f"make {n}") for n in range(5)]
    html = notes_section([*missing, *weighed([Note("Other steps.")])]).html
    assert html.index("Other steps.") < html.index("5 pieces that are missing") < html.index("No piece 0.")
    assert "<code>make 4</code>" in html
    alone = notes_section(missing).html
    assert "<details" not in alone
    assert Page(alone).text.count("No piece") == 5
    assert notes_section([]) is None


def test_mere_missing_pieces_stand_below_the_answer():
    missing = [Note("No piece.")]
    first, later = placed_notes(missing, answered=True)
    assert (first, later.title, later.anchor) == (None, "What is missing on this page", "notes")
    first, later = placed_notes(missing, answered=False)
    assert (first.title, later) == ("Read this first", None)
    first, later = placed_notes([*missing, *weighed([Note("Other steps.")])], answered=True)
    assert (first.title, later) == ("Read this first", None)
    assert placed_notes([], answered=True) == (None, None)


def test_a_note_of_two_runs_is_of_both(make_run):
    records = read_runs([make_run(name) for name in ("one", "two")])
    texts = [note.text for note in own_notes(records)]
    assert "Both runs: No scores.csv: no scores on this page." in texts
