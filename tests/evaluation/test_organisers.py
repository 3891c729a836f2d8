"""Every score of every synthetic pair equals what the organisers' own program returned (tests/golden/metrics)."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from mets3d.evaluation.score import evaluate

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics"
OFFICIAL = json.loads((GOLDEN / "brats2023.json").read_text())
COLUMNS = {
    "LesionWise_Score_Dice": "lesion_wise_dice",
    "LesionWise_Score_HD95": "lesion_wise_hd95",
    "Legacy_Dice": "dice",
    "Legacy_HD95": "hd95",
    "Num_TP": "lesions_found",
    "Num_FN": "lesions_missed",
    "Num_FP": "lesions_false",
    "Sensitivity": "sensitivity",
    "Specificity": "specificity",
    "GT_Complete_Volume": "reference_volume_mm3",
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, str]]:
    """scores.csv as written, by case and region."""
    scores = tmp_path_factory.mktemp("scores") / "scores.csv"
    evaluate(GOLDEN / "predictions", GOLDEN / "references", rules="brats2023", scores=scores)
    with scores.open(newline="") as lines:
        return {(row["case"], row["region"]): row for row in csv.DictReader(lines)}


def test_every_case_and_region_is_there_once(table: dict[tuple[str, str], dict[str, str]]) -> None:
    assert len(OFFICIAL) == 82
    assert list(table) == [(case, region) for case in sorted(OFFICIAL) for region in ("WT", "TC", "ET")]


@pytest.mark.parametrize("case", OFFICIAL)
def test_equals_the_official_scores(table: dict[tuple[str, str], dict[str, str]], case: str) -> None:
    for region, official in OFFICIAL[case].items():
        ours = {name: float(table[case, region][column]) for name, column in COLUMNS.items()}
        assert ours == pytest.approx(official, rel=0, abs=1e-6), region
        for name in ("Num_TP", "Num_FN", "Num_FP"):
            assert ours[name] == official[name], (region, name)
