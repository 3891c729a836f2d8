from mets3d.reporting.run_record import Note
from mets3d.reporting.sections.notes import notes_section, weighed
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
