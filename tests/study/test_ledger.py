"""The ledger: test cases are used once, by name and by content, and what an interrupted use is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mets3d.files import read_json
from mets3d.study.folder import StudyDir
from mets3d.study.ledger import Use, UsedError, begin_use, digests, end_use, read_uses
from tests.builders.cases import make_case

FIRST = Use("there", {"a": "1", "b": "2"}, {"run": "w"})


@pytest.fixture
def study(tmp_path: Path) -> StudyDir:
    return StudyDir(tmp_path)


def test_a_use_is_written_before_it_begins_and_noted_at_its_end(study: StudyDir) -> None:
    begin_use(study, FIRST)
    [use] = read_uses(study)
    assert (use.cases, use.runs, use.ended) == (FIRST.cases, FIRST.runs, None)
    assert use.command
    end_use(study, FIRST)
    assert read_uses(study)[0].ended is not None
    assert read_json(study.ledger)["remarks"] == [], "once is as it should be"


@pytest.mark.parametrize(
    "cases", [{"a": "1", "b": "2"}, {"a": "1"}, {"a": "9", "z": "8"}, {"other": "2", "z": "3"}], ids=str
)
def test_cases_that_were_used_are_refused_by_name_and_by_content(study: StudyDir, cases: dict[str, str]) -> None:
    begin_use(study, FIRST)
    end_use(study, FIRST)
    use = Use("elsewhere", cases, {"run": "w"})
    with pytest.raises(UsedError, match=r"of \d test cases? used before, on 20.*or say --again, and"):
        begin_use(study, use)
    assert len(read_uses(study)) == 1
    begin_use(study, replace(use, again=True))
    assert [use.again for use in read_uses(study)] == [False, True]
    [remark] = read_json(study.ledger)["remarks"]
    assert remark.startswith("Test cases were used again: those of elsewhere on 20")


def test_other_cases_are_a_first_use_of_their_own(study: StudyDir) -> None:
    begin_use(study, FIRST)
    begin_use(study, Use("x", {"c": "3"}, {"run": "w"}))
    assert len(read_uses(study)) == 2
    assert read_json(study.ledger)["remarks"] == []


def test_an_interrupted_use_goes_on_and_is_one(study: StudyDir) -> None:
    begin_use(study, FIRST)
    begin_use(study, replace(FIRST, begun="later"))
    assert [use.begun for use in read_uses(study)] == [FIRST.begun]
    with pytest.raises(UsedError):
        begin_use(study, replace(FIRST, runs={"run": "other weights"}))
    end_use(study, FIRST)
    with pytest.raises(UsedError):
        begin_use(study, FIRST)


@pytest.mark.parametrize("text", ["[", "{}", '{"uses": [3]}', '{"uses": [{"x": 1}]}'])
def test_a_broken_ledger_is_no_ledger_that_says_nothing(study: StudyDir, text: str) -> None:
    study.ledger.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"ledger\.json: "):
        begin_use(study, FIRST)
    assert study.ledger.read_text(encoding="utf-8") == text


def test_a_digest_is_of_the_content_and_not_of_names(tmp_path: Path) -> None:
    import shutil

    case = make_case(tmp_path / "one")
    other = make_case(tmp_path / "one", "BraTS-MET-00002-000")
    for file in case.files:
        (tmp_path / "two" / "BraTS-MET-00009-000").mkdir(parents=True, exist_ok=True)
        name = file.name.replace("00001", "00009")
        shutil.copy(file, tmp_path / "two" / "BraTS-MET-00009-000" / name)
    from mets3d.data.cases import find_cases

    [copy] = find_cases(tmp_path / "two")
    found = digests([case, other, copy], lambda *_: None)
    assert found[case.name] == found[copy.name] != found[other.name]
    json.dumps(found)
