"""Which settings a case is decoded by, and what is said of it: new cases, known patients, old and forced files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mets3d.files import write_json
from mets3d.inference.decoding_plan import DecodingPlan, decoding_plan
from mets3d.inference.decoding_settings import RegionDecoding
from mets3d.inference.decoding_words import plan_in_words, plan_remarks
from mets3d.regions import Target
from mets3d.rundir import RunDir
from mets3d.settings import Data, Predict

FILE: dict[str, Any] = {
    "regions": {"ET": {"threshold": 0.3}},
    "objective": "f1",
    "rules": "brats2026",
    "cases": ["A-001-000", "A-001-001", "B-002-000"],
    "patients": {"A-001-000": "A-001", "A-001-001": "A-001", "B-002-000": "B-002"},
    "folds": [
        {"patients": ["A-001"], "regions": {"ET": {"threshold": 0.2}}},
        {"patients": ["B-002"], "regions": {"ET": {"threshold": 0.4}}},
    ],
}


def plan(folder: Path, content: dict[str, Any], split: dict[str, str] | None = None, **data: Any) -> DecodingPlan:
    run = RunDir(folder)
    write_json(run.decoding, content)
    if split is not None:
        write_json(run.split, {"training": [], "validation": [], "patients": split})
    return decoding_plan(Target(), Predict(), run.decoding, [run], Data(**data))


def without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in FILE.items() if key not in keys}


def told(found: DecodingPlan, case: str | None, patient: str | None = None) -> tuple[float, str]:
    own = found.of(case, patient)
    return own.decoding["ET"].threshold, own.how


def test_known_patients_have_their_own_settings_and_others_those_of_new_cases(tmp_path: Path) -> None:
    found = plan(tmp_path, FILE)
    assert told(found, "A-001-000") == (0.2, "tuned out-of-fold")
    assert told(found, "B-002-000") == (0.4, "tuned out-of-fold")
    assert told(found, "C-003-000") == (0.3, "tuned (new case)")
    assert found.of("C-003-000").decoding["WT"] == RegionDecoding()


def test_another_time_point_of_a_known_patient_is_no_new_case(tmp_path: Path) -> None:
    assert told(plan(tmp_path, FILE), "A-001-007") == (0.2, "tuned out-of-fold")


def test_patients_are_those_of_the_run_where_names_do_not_tell(tmp_path: Path) -> None:
    """As where `data.patients` names them in a file, or by a pattern that fits cases of later days, too."""
    named = FILE | {"patients": {"scan7": "Ann"}, "cases": ["scan7"]}
    named["folds"] = [{"patients": ["Ann"], "regions": {"ET": {"threshold": 0.2}}}]
    assert told(plan(tmp_path / "a", named, {"scan9": "Ann", "scan8": "Bob"}), "scan9") == (0.2, "tuned out-of-fold")
    assert told(plan(tmp_path / "a", named, {"scan9": "Ann", "scan8": "Bob"}), "scan8") == (0.3, "tuned (new case)")
    found = plan(tmp_path / "b", named, patients="^([A-Z][a-z]+)_")
    assert told(found, "Ann_march") == (0.2, "tuned out-of-fold")
    assert told(found, "none of that kind", "Ann") == (0.2, "tuned out-of-fold"), "else as the data set says"


def test_a_case_without_name_or_patient_may_be_one_of_the_tuning(tmp_path: Path) -> None:
    found = plan(tmp_path, FILE)
    assert told(found, None) == (0.3, "tuned (perhaps on this case)")
    assert told(found, None, "A-001") == (0.2, "tuned out-of-fold")
    assert told(found, None, "Z-009") == (0.3, "tuned (new case)")


def test_a_file_without_folds_says_on_which_cases_it_was_tuned(tmp_path: Path) -> None:
    found = plan(tmp_path, without("folds", "patients"))
    assert told(found, "A-001-000") == (0.3, "tuned on this case")
    assert told(found, "A-001-007") == (0.3, "tuned on this case"), "of the same patient"
    assert told(found, "C-003-000") == (0.3, "tuned (new case)")
    [remark] = plan_remarks(found, tmp_path, {"tuned on this case": 2}, "brats2026")
    assert "no settings that were chosen without the patient of 2 cases" in remark


def test_an_exported_file_has_no_cases(tmp_path: Path) -> None:
    found = plan(tmp_path, without("folds", "patients") | {"cases": 3})
    assert told(found, "A-001-000") == (0.3, "tuned (perhaps on this case)")


def test_what_is_not_tuned_says_so(tmp_path: Path) -> None:
    assert told(plan(tmp_path, {"regions": {"ET": {"threshold": 0.3}}}), "A-001-000") == (0.3, "file")
    assert decoding_plan(Target(), Predict(), None).of("A-001-000").how == "default"
    assert decoding_plan(Target(), Predict(threshold=0.4), None).of("A-001-000").how == "threshold 0.4"


def test_a_forced_tuning_is_said_of_every_case(tmp_path: Path) -> None:
    found = plan(tmp_path, FILE | {"forced": ["ET"]})
    assert told(found, "A-001-000") == (0.2, "forced: tuned out-of-fold")
    assert told(found, "C-003-000") == (0.3, "forced: tuned (new case)")
    [remark] = plan_remarks(found, tmp_path / "x.json", {}, "brats2026")
    assert (
        remark == f"{tmp_path / 'x.json'} was written by --force: cross-validation does not support its settings of ET"
    )


def test_rules_other_than_the_runs_are_remarked(tmp_path: Path) -> None:
    found = plan(tmp_path, FILE)
    assert plan_remarks(found, tmp_path, {}, "brats2026") == []
    [remark] = plan_remarks(found, tmp_path, {}, "brats2023")
    assert "was tuned by brats2026" in remark
    assert "scores, is brats2023" in remark


def test_one_line_says_what_decodes_and_how_to_do_without(tmp_path: Path) -> None:
    found = plan(tmp_path, FILE)
    said = plan_in_words(found, Path("d.json"), Target(), {"tuned out-of-fold": 2, "tuned (new case)": 1})
    assert said == (
        "d.json, tuned by brats2026 (2 cases tuned out-of-fold, 1 case tuned (new case)); "
        "`--decoding default` predicts without it"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folds": 3}, "folds: expected a list of objects"),
        ({"folds": [{"regions": {}}]}, r"folds\[0\]\.patients: expected a list of names, found None"),
        ({"folds": [{"patients": ["A"]}]}, r"folds\[0\]\.regions: expected an object in braces, found None"),
        (
            {"folds": [{"patients": ["A"], "regions": {"ET": {"threshold": 2}}}]},
            r"folds\[0\]\.regions\.ET\.threshold: expected a number between 0 and 1, found 2",
        ),
        (
            {"folds": [{"patients": ["A"], "regions": {"XX": {}}}]},
            r"folds\[0\]\.regions\.XX: expected one of WT, TC, ET",
        ),
        ({"patients": []}, "patients: expected an object in braces"),
        ({"forced": "ET"}, "forced: expected a list of names"),
    ],
)
def test_a_broken_file_is_named_with_the_key(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"decoding\.json: {message}"):
        plan(tmp_path, FILE | change)
