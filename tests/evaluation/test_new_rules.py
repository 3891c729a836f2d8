"""A rule set of tomorrow is one value: a made-up one goes through everything that scores, without another edit."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import get_args

import nibabel
import numpy as np
import pytest

from mets3d.evaluation import rules as known
from mets3d.evaluation import scores as table_of_scores
from mets3d.evaluation.case import Scoring
from mets3d.evaluation.evaluate import Tables, evaluate
from mets3d.evaluation.lesions import lesion_scores
from mets3d.evaluation.rules import BRATS_2024, BRATS_2026, RULE_SETS, RuleSet
from mets3d.regions import scored_regions
from mets3d.settings import Validate
from mets3d.statistics.cohort import cohort_table, cohort_text
from mets3d.statistics.comparison import compare_methods
from mets3d.statistics.comparison_tables import comparison_text
from mets3d.statistics.score_table import read_scores
from mets3d.tuning.rescoring import needs_outer

SIDE = 16
# Wherever a field has two choices, the one that the edition it is made from has not.
MADE_UP = replace(
    BRATS_2026,
    name="metsday2027",
    regions=scored_regions(),
    penalty_mm=lambda _shape: 99.0,
    scored_from_mm3=8.0,
    score_of_nothing=1.0,
    joins_et_by_netc=True,
    ranked_by=("lesion_wise_nsd_1.0", "small_recall"),
    official_ranking=False,
)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> RuleSet:
    monkeypatch.setattr(known, "RULE_SETS", (*RULE_SETS, MADE_UP))
    return MADE_UP


def labels(shift: int) -> np.ndarray:
    out = np.zeros((SIDE,) * 3, np.uint8)
    out[2 : 5 + shift, 3:7, 2:6] = 3
    out[10:12, 9:11, 8 : 9 + shift] = 1
    return out


def write_folders(folder: Path, methods: dict[str, int]) -> None:
    for case in range(4):
        for name, shift in {"references": 1, **methods}.items():
            file = folder / name / f"P-{case:03d}-000.nii.gz"
            file.parent.mkdir(parents=True, exist_ok=True)
            if case < 3 or name == "references":
                nibabel.save(nibabel.Nifti1Image(labels(shift), np.eye(4)), file)


def test_from_the_files_to_the_comparison(made_up: RuleSet, tmp_path: Path) -> None:
    write_folders(tmp_path, {"plain": 4, "boundary": 1})
    tables = {}
    for method in ("plain", "boundary"):
        out = tmp_path / f"{method}.csv"
        report = evaluate(tmp_path / method, tmp_path / "references", Tables(out), Scoring(made_up.name, "organisers"))
        assert (report.problems, report.unpredicted) == ([], ["P-003-000"])
        missing = [row for row in report.rows if row["case"] == "P-003-000"]
        assert [row["region"] for row in missing] == ["WT", "TC", "ET"]
        assert {row[name] for row in missing for name in ("hd95", "lesion_wise_hd95", "global_hd95")} == {99.0}
        assert [row["dice"] for row in missing] == [0.0, 0.0, 0.0]
        cohort = cohort_table(report.rows)
        assert {row["rules"] for row in cohort} == {made_up.name}
        assert f"rules {made_up.name}" in cohort_text(cohort)
        tables[method] = read_scores(out)
    comparison = compare_methods(tables)
    assert comparison.ranking is not None
    assert comparison.ranking.metrics == made_up.ranked_by
    assert comparison.ranking.mean_ranks["boundary"] < comparison.ranking.mean_ranks["plain"]
    assert f"No official ranking of {made_up.name}" in comparison_text(comparison)


def test_tuning_asks_the_value(made_up: RuleSet) -> None:
    assert needs_outer(made_up.name) == needs_outer(BRATS_2024.name) == ("ET",)
    assert needs_outer("brats2023") == needs_outer("brats2026") == ()


@pytest.mark.parametrize("rules", [*RULE_SETS, MADE_UP], ids=lambda rules: rules.name)
def test_a_case_has_the_columns_that_the_table_gives_to_its_rules(rules: RuleSet, made_up: RuleSet) -> None:
    given = {score.column for score in table_of_scores.SCORES if score.given_by(rules)}
    for row in lesion_scores(labels(2), labels(1), (1.0, 1.0, 1.0), rules=rules.name):
        columns = row.keys() - set(table_of_scores.KEYS)
        assert given == {column for column in columns if table_of_scores.split_by_size(column) is None}
        assert all(table_of_scores.score_of(column) is not None for column in columns)


def test_nothing_else_in_the_package_knows_a_rule_set_by_its_name() -> None:
    """A default is DEFAULT_RULES. Only the help of arguments names them, for `--help` imports no rule set, and the
    setting validate.rules, whose literals are the names that there are.
    """
    assert list(get_args(Validate.model_fields["rules"].annotation)) == [rules.name for rules in RULE_SETS]
    package = Path(known.__file__).parents[1]
    for file in package.rglob("*.py"):
        if file in (Path(known.__file__), Path(str(inspect.getsourcefile(Validate)))):
            continue
        for line in file.read_text(encoding="utf-8").splitlines():
            for name in ('"brats2023"', '"brats2024"', '"brats2026"'):
                assert name not in line, f"{file.name}: {line.strip()}"
            assert "BRATS_20" not in line, f"{file.name}: {line.strip()}"


@pytest.mark.parametrize(("limit_mm3", "given"), [(0.0, False), (0.5, True), (27.0, True)])
def test_rules_that_score_from_some_volume_give_the_spread_over_lesions(limit_mm3: float, given: bool) -> None:
    rules = replace(MADE_UP, scored_from_mm3=limit_mm3)
    (spread,) = (score for score in table_of_scores.SCORES if score.column == "lesion_wise_dice_sd")
    assert spread.given_by(rules) is given
