"""plan.json: what each of its writers puts there, and what is refused when it is read."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mets3d.data.cases import SEQUENCES
from mets3d.data.normalise import Normalisation
from mets3d.data.plan import Z_SCORE, Plan, read_plan, write_plan
from mets3d.files import write_json

PLAN: dict[str, Any] = {"sequences": list(SEQUENCES), "spacing_mm": [1.0, 1, 2.5], "margin_voxels": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"plan\.json: expected JSON, found something else \("),
        ("\xff", r"plan\.json: expected JSON, found something else \("),
        ("[]", r"plan\.json: expected an object in braces, found \[\]"),
        ({"sequences": None}, r"plan\.json: sequences: expected .* t1n, t1c, t2w, t2f, .* found None"),
        ({"sequences": "t1n"}, r"plan\.json: sequences: expected .* found 't1n'"),
        ({"sequences": []}, r"plan\.json: sequences: expected .* found \[\]"),
        ({"sequences": ["t1n", "flair"]}, r"plan\.json: sequences: expected .* found \['t1n', 'flair'\]"),
        ({"sequences": ["t1n", "t1n"]}, r"plan\.json: sequences: expected .* each once"),
        ({"spacing_mm": 1}, r"plan\.json: spacing_mm: expected three numbers above 0, .* found 1;"),
        (
            {"spacing_mm": "median"},
            r"plan\.json: spacing_mm: expected three numbers above 0, .* or in_plane, found 'median'",
        ),
        ({"spacing_mm": [1, 1]}, r"plan\.json: spacing_mm: expected three numbers above 0, .* found \[1, 1\]"),
        ({"spacing_mm": [1, 1, 0]}, r"plan\.json: spacing_mm: expected three numbers above 0"),
        ({"spacing_mm": [1, 1, "1"]}, r"plan\.json: spacing_mm: expected three numbers above 0"),
        ({"spacing_mm": [1, 1, float("nan")]}, r"plan\.json: spacing_mm: expected three numbers above 0"),
        ({"margin_voxels": -1}, r"plan\.json: margin_voxels: expected a whole number from 0, found -1"),
        ({"margin_voxels": True}, r"plan\.json: margin_voxels: expected a whole number from 0, found True"),
    ],
)
def test_a_broken_plan_is_named_by_file_and_key(tmp_path: Path, text: Any, message: str) -> None:
    file = tmp_path / "plan.json"
    if isinstance(text, str):
        file.write_bytes(text.encode("latin-1"))
    else:
        write_json(file, PLAN | text)
    with pytest.raises(ValueError, match=message) as caught:
        read_plan(file)
    assert str(file) in str(caught.value)


def test_a_plan_that_lacks_something_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "plan.json", {"spacing_mm": [1, 1, 1]})
    with pytest.raises(ValueError, match=r"plan\.json: sequences, margin_voxels missing"):
        read_plan(tmp_path / "plan.json")
    write_json(tmp_path / "plan.json", PLAN)
    plan = read_plan(tmp_path / "plan.json")
    assert (plan.sequences, plan.spacing_mm, plan.margin_voxels) == (SEQUENCES, (1.0, 1.0, 2.5), 2)


OF_A_STORE = Plan(SEQUENCES, (1.0, 1.0, 2.5), 3, cavity=True, settings_hash="0123abcd", cases=("A-000", "B-000"))
IMPORTED = Plan(SEQUENCES, (1.0, 1.0, 1.0), 0, imported_from="fold0.model")


def test_the_plan_of_a_store_as_text(tmp_path: Path) -> None:
    write_plan(tmp_path / "plan.json", OF_A_STORE)
    content = {
        "spacing_mm": [1.0, 1.0, 2.5],
        "sequences": list(SEQUENCES),
        "normalisation": Z_SCORE.words,
        "margin_voxels": 3,
        "cavity": True,
        "settings_hash": "0123abcd",
        "cases": ["A-000", "B-000"],
    }
    assert (tmp_path / "plan.json").read_text(encoding="utf-8") == json.dumps(content, indent=1) + "\n"


def test_the_plan_of_an_imported_checkpoint_and_of_an_exported_run() -> None:
    assert list(IMPORTED.as_json().items()) == [
        ("spacing_mm", [1.0, 1.0, 1.0]),
        ("sequences", list(SEQUENCES)),
        ("normalisation", Z_SCORE.words),
        ("margin_voxels", 0),
        ("cavity", False),
        ("imported_from", "fold0.model"),
    ]
    assert list(OF_A_STORE.as_public_json().items()) == [
        ("sequences", SEQUENCES),
        ("spacing_mm", (1.0, 1.0, 2.5)),
        ("margin_voxels", 3),
        ("normalisation", Z_SCORE.words),
        ("cavity", True),
    ]


@pytest.mark.parametrize("plan", [OF_A_STORE, IMPORTED], ids=["store", "imported"])
def test_what_is_written_is_read_again(tmp_path: Path, plan: Plan) -> None:
    write_plan(tmp_path / "plan.json", plan)
    assert vars(read_plan(tmp_path / "plan.json")) == vars(plan)


def test_a_rule_in_the_place_of_a_voxel_size(tmp_path: Path) -> None:
    plan = replace(OF_A_STORE, spacing_mm="in_plane")
    write_plan(tmp_path / "plan.json", plan)
    assert json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))["spacing_mm"] == "in_plane"
    assert read_plan(tmp_path / "plan.json") == plan
    assert plan.spacing_of((0.5, 0.5, 3.0)) == (0.5, 0.5, 1.0)
    assert OF_A_STORE.spacing_of((0.5, 0.5, 3.0)) == (1.0, 1.0, 2.5)
    assert (plan.spacing_words, OF_A_STORE.spacing_words) == ("in_plane", "1 1 2.5")


def test_another_form_of_normalisation_is_part_of_a_plan(tmp_path: Path) -> None:
    landmarks = (("t1c", tuple(float(n) for n in range(11))),)
    plan = replace(OF_A_STORE, intensities=Normalisation("nyul", 99.5, landmarks))
    write_plan(tmp_path / "plan.json", plan)
    content = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    expected = {"form": "nyul", "clip_percentile": 99.5, "landmarks": {"t1c": list(range(11))}}
    assert content["intensities"] == plan.as_public_json()["intensities"] == expected
    assert content["normalisation"].startswith("Nyul's landmarks")
    assert read_plan(tmp_path / "plan.json") == plan
    assert hash(plan) == hash(read_plan(tmp_path / "plan.json"))
    assert plan != OF_A_STORE
    write_json(tmp_path / "plan.json", PLAN | {"intensities": {"form": "nyul", "clip_percentile": None}})
    with pytest.raises(ValueError, match=r"plan\.json: intensities: expected form \(z_score, percentile, nyul\)"):
        read_plan(tmp_path / "plan.json")


def test_plans_that_prepare_alike_are_equal() -> None:
    assert replace(OF_A_STORE, cases=("C",), settings_hash=None, cavity=False) == OF_A_STORE
    assert hash(replace(OF_A_STORE, cases=None)) == hash(OF_A_STORE)
    assert replace(OF_A_STORE, margin_voxels=4) != OF_A_STORE
