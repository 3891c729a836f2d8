"""Every score of every synthetic pair equals what the organisers' own programs returned (tests/golden/metrics)."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel
import pytest

from mets3d.evaluation.case import Scoring
from mets3d.evaluation.evaluate import Tables, evaluate

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics"
RULES = ("brats2023", "brats2024", "brats2026")
OFFICIAL = {rules: json.loads((GOLDEN / f"{rules}.json").read_text()) for rules in RULES}
REFUSED = "edge_label_five"  # the program of 2026 gives it no scores

COUNTS = {"Num_TP": "lesions_found", "Num_FN": "lesions_missed", "Num_FP": "lesions_false"}
LESION_WISE = {"LesionWise_Score_Dice": "lesion_wise_dice", "LesionWise_Score_HD95": "lesion_wise_hd95"}
PARTS = {"tp": "found", "fn": "missed", "fp": "false", "prec": "precision", "rec": "recall", "f1": "f1"}
SHARES = ("prec", "rec", "f1")
COLUMNS = {
    "brats2023": {
        **COUNTS,
        **LESION_WISE,
        "Legacy_Dice": "dice",
        "Legacy_HD95": "hd95",
        "Sensitivity": "sensitivity",
        "Specificity": "specificity",
        "GT_Complete_Volume": "reference_volume_mm3",
    },
    "brats2024": {
        **COUNTS,
        **LESION_WISE,
        "LesionWise_Score_NSD @ 0.5": "lesion_wise_nsd_0.5",
        "LesionWise_Score_NSD @ 1.0": "lesion_wise_nsd_1.0",
        "Legacy_Dice": "legacy_dice",
        "Legacy NSD @ 0.5": "legacy_nsd_0.5",
        "Legacy NSD @ 1.0": "legacy_nsd_1.0",
        "GT_Complete_Volume": "reference_volume_mm3",
        "whole:Sensitivity": "sensitivity",
        "whole:Specificity": "specificity",
        "whole:Legacy_Dice": "dice",
        "whole:Legacy_HD95": "hd95",
        "whole:Legacy NSD @ 0.5": "nsd_0.5",
        "whole:Legacy NSD @ 1.0": "nsd_1.0",
        "whole:GT_Complete_Volume": "reference_volume_mm3",
    },
    "brats2026": {
        **{f"all_instance_{old}": new if old in SHARES else f"lesions_{new}" for old, new in PARTS.items()},
        **{f"{size}_instance_{old}": f"{size}_{new}" for size in ("large", "small") for old, new in PARTS.items()},
        "global_dsc": "dice",
        "global_nsd": "global_nsd",
        "global_hd95": "global_hd95",
        "lesionwise_dsc_mean": "lesion_wise_dice",
        "lesionwise_dsc_std": "lesion_wise_dice_sd",
        "lesionwise_hd95_mean": "lesion_wise_hd95",
        "lesionwise_hd95_std": "lesion_wise_hd95_sd",
        "lesionwise_nsd_mean": "lesion_wise_nsd_spacing",
        "lesionwise_nsd_std": "lesion_wise_nsd_spacing_sd",
    },
}
OF_SWAPPED_SPACING = ("lesionwise_hd95", "lesionwise_nsd")
WAYS: list[tuple[str, str | None]] = [*((rules, None) for rules in RULES), ("brats2026", "organisers")]
# Cases that are scored with swapped voxel sizes too: all of uneven voxels, and of the others, whose sizes are equal,
# one in three.
UNEVEN = [case for case in OFFICIAL["brats2026"] if case.startswith("rand_s3")]
SWAPPED = [*UNEVEN, *[case for case in OFFICIAL["brats2026"] if case not in (*UNEVEN, REFUSED)][::3]]

Table = dict[tuple[str, str], dict[str, str]]


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str | None], Table]:
    """scores.csv as written, by case and region, for each rule set and for 2026 as the organisers' program has it."""
    found = {}
    some = tmp_path_factory.mktemp("swapped")
    for side in ("predictions", "references"):
        (some / side).mkdir()
        for case in SWAPPED:
            (some / side / f"{case}.nii.gz").symlink_to(GOLDEN / side / f"{case}.nii.gz")
    for rules, compat in WAYS:
        scores = tmp_path_factory.mktemp("scores") / "scores.csv"
        folder = GOLDEN if compat is None else some
        evaluate(folder / "predictions", folder / "references", Tables(scores), Scoring(rules, compat))
        with scores.open(newline="") as lines:
            found[rules, compat] = {(row["case"], row["region"]): row for row in csv.DictReader(lines)}
    return found


@pytest.mark.parametrize("rules", RULES)
def test_every_case_and_region_is_there_once(tables: dict[tuple[str, str | None], Table], rules: str) -> None:
    cases = [case for case in sorted(OFFICIAL[rules]) if rules != "brats2026" or case != REFUSED]
    assert len(cases) == 82 - (rules == "brats2026")
    regions = ("WT", "TC", "ET") if rules == "brats2023" else ("WT", "TC", "ET", "RC")
    assert list(tables[rules, None]) == [(case, region) for case in cases for region in regions]


@pytest.mark.parametrize("rules", RULES)
def test_no_official_score_is_left_out(rules: str) -> None:
    assert OFFICIAL["brats2026"][REFUSED] is None
    named = {name for case in OFFICIAL[rules].values() if case for scores in case.values() for name in scores}
    assert named == set(COLUMNS[rules])


@pytest.mark.parametrize(
    ("rules", "compat", "case"),
    [
        (rules, compat, case)
        for rules, compat in WAYS
        for case in (OFFICIAL["brats2023"] if compat is None else SWAPPED)
    ],
)
def test_equals_the_official_scores(
    tables: dict[tuple[str, str | None], Table], rules: str, compat: str | None, case: str
) -> None:
    x, _, z = nibabel.load(GOLDEN / "references" / f"{case}.nii.gz").header.get_zooms()
    for region, official in (OFFICIAL[rules][case] or {}).items():
        for name, expected in official.items():
            if rules == "brats2026" and compat is None and x != z and name.startswith(OF_SWAPPED_SPACING):
                continue
            cell = tables[rules, compat][case, region][COLUMNS[rules][name]]
            if expected is None:
                assert cell == "", (region, name)
            elif COLUMNS[rules][name].endswith(("found", "missed", "false")):
                assert float(cell) == expected, (region, name)
            else:
                assert float(cell) == pytest.approx(expected, rel=0, abs=1e-6), (region, name)


def test_compat_changes_the_lesion_wise_distances_of_uneven_voxels_alone(
    tables: dict[tuple[str, str | None], Table],
) -> None:
    true, swapped = tables["brats2026", None], tables["brats2026", "organisers"]
    differing = {
        (key[0].startswith("rand_s3"), name)
        for key, row in true.items()
        if key in swapped
        for name in row
        if row[name] != swapped[key][name]
    }
    of_means = {
        f"lesion_wise_{score}{tail}" for score in ("hd95", "nsd_spacing", "nsd_1.0", "nsd_0.5") for tail in ("", "_sd")
    }
    assert {name for _, name in differing} <= of_means
    assert {uneven for uneven, _ in differing} == {True}
    assert (True, "lesion_wise_hd95") in differing
