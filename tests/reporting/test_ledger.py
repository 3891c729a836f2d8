"""What the ledger of a study says stands at the head of the page."""

import json

from mets3d.reporting import report
from mets3d.reporting.ledger import ledger_remarks


def test_a_second_use_of_the_test_set_is_on_the_page(make_run, read_page, tmp_path, empty_curves):
    run = make_run("one")
    (tmp_path / "ledger.json").write_text(json.dumps({"uses": [], "remarks": ["The test set was used 2 times."]}))
    assert "The test set was used 2 times." in read_page(report([run], tmp_path / "out")).text


def test_ledgers_without_remarks_and_broken_ones(make_run, tmp_path):
    runs = [make_run("one"), make_run("two")]
    assert ledger_remarks(runs) == []
    (tmp_path / "ledger.json").write_text("{}")
    assert ledger_remarks(runs) == []
    (tmp_path / "ledger.json").write_text("[1")
    (said,) = ledger_remarks(runs)
    assert "cannot be read, so how often the test set was used is not known" in said
