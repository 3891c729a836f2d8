"""The tables that `mets3d evaluate` writes beside the scores, and what it refuses before it scores anything."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from mets3d.__main__ import main
from mets3d.config import Config, to_yaml
from mets3d.statistics.cohort import COHORT_COLUMNS

AFFINE = np.diag((1.0, 0.5, 2.0, 1.0))


def labels() -> np.ndarray:
    out = np.zeros((16, 14, 12), np.uint8)
    out[2:6, 3:8, 2:6] = 2
    out[3:5, 4:7, 3:5] = 3
    out[10:13, 9:12, 8:10] = 1
    return out


def save(path: Path, array: np.ndarray, channels: bytes = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(array, AFFINE)
    image.header["descrip"] = channels
    nibabel.save(image, path)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The command line that scores two perfect predictions into tmp_path/out/scores.csv."""
    for case in ("A", "B"):
        for role in ("predictions", "references"):
            save(tmp_path / role / f"{case}.nii.gz", labels())
    folders = [str(tmp_path / role) for role in ("predictions", "references")]
    return ["evaluate", *folders, "--out", str(tmp_path / "out" / "scores.csv"), "--jobs", "1"]


def test_four_tables_lie_side_by_side(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soft = np.stack([(labels() == label).astype(np.float32) for label in (0, 1, 2, 3)], axis=-1)
    for case in ("A", "B"):
        save(tmp_path / "predictions" / "probabilities" / f"{case}.nii.gz", soft, b"background NETC SNFH ET")
    assert main(words) == 0
    out = tmp_path / "out"
    assert sorted(file.name for file in out.iterdir()) == ["cohort.csv", "froc.csv", "lesions.csv", "scores.csv"]
    cohort = read(out / "cohort.csv")
    assert tuple(cohort[0]) == COHORT_COLUMNS
    means = {(row["region"], row["score"]): row for row in cohort}
    assert set(means) >= {(region, "dice") for region in ("WT", "TC", "ET")}
    mean = means["WT", "dice"]
    assert (mean["rules"], mean["cases"], float(mean["mean"]), float(mean["sd"])) == ("brats2023", "2", 1.0, 0.0)
    assert float(means["WT", "pooled_recall"]["mean"]) == 1.0  # of the lesion table too
    assert "WT      dice" in capsys.readouterr().out


@pytest.mark.parametrize("table", ["cohort.csv", "lesions.csv", "froc.csv"])
def test_a_folder_in_the_place_of_a_table_is_refused_before_scoring(
    words: list[str], tmp_path: Path, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out" / table).mkdir(parents=True)
    assert main(words) == 2
    assert f"{table} is a folder, and a table is to be written there; move it away" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "out").iterdir()] == [table]


def test_the_labels_of_a_data_set_are_not_taken_without_what_they_mean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "Task01" / "labelsTr"
    save(folder / "A.nii.gz", labels())
    (folder.parent / "dataset.json").write_text("{}")
    assert main(["evaluate", str(folder), str(folder), "--out", str(tmp_path / "scores.csv")]) == 2
    assert f"expected the folder of the data set, {folder.parent}" in capsys.readouterr().err


def test_references_without_enhancing_tumour_are_said(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    assert "no label 3" not in capsys.readouterr().err
    for file in tmp_path.rglob("*.nii.gz"):
        array = np.asanyarray(nibabel.load(file).dataobj)
        save(file, np.where(array == 3, 4, array).astype(np.uint8))
    assert main(words) == 0
    told = capsys.readouterr().err
    assert "no label 3, the enhancing tumour, in any of 2 references; found label 1 in 2, 2 in 2, 4 in 2" in told
    assert 'as --data.labels="{4: 3}"' in told
    assert main([*words, "--data.labels={4: 3}"]) == 0
    assert "no label 3" not in capsys.readouterr().err
    scores = read(tmp_path / "out" / "scores.csv")
    assert {row["dice"] for row in scores if row["region"] == "ET"} == {"0.0"}, "the predictions have none"


# ---------------------------------------------------------------- the rule set of a run


def make_run(run: Path, rules: str) -> Path:
    """A folder that is a run as far as its settings and predictions say."""
    (run / "predictions").mkdir(parents=True)
    (run / "config.yaml").write_text(to_yaml(Config.model_validate({"validate": {"rules": rules}})))
    return run


def rules_in(out: Path) -> set[str]:
    return {row["rules"] for name in ("scores", "lesions", "cohort") for row in read(out / f"{name}.csv")}


@pytest.mark.parametrize("named", ["run", "predictions", "noted"])
def test_predictions_of_a_run_are_scored_by_its_rule_set(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], named: str
) -> None:
    run = make_run(tmp_path / "run", "brats2024")
    if named == "noted":
        (tmp_path / "predictions" / "predict.json").write_text(json.dumps({"run": str(run)}))
    else:
        shutil.copytree(tmp_path / "predictions", run / "predictions", dirs_exist_ok=True)
        words[1] = str(run if named == "run" else run / "predictions")
    assert main(words) == 0
    assert rules_in(tmp_path / "out") == {"brats2024"}
    said = capsys.readouterr().out
    assert f"scores in {tmp_path / 'out' / 'scores.csv'}, by brats2024 (validate.rules of {run})" in said
    assert main([*words, "--rules", "brats2026"]) == 0
    assert rules_in(tmp_path / "out") == {"brats2026"}
    assert "by brats2026 (--rules)" in capsys.readouterr().out


def test_predictions_of_no_run_are_scored_by_the_default(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "predictions" / "predict.json").write_text(json.dumps({"run": str(tmp_path / "gone")}))
    assert main(words) == 0
    assert rules_in(tmp_path / "out") == {"brats2023"}
    assert "by brats2023 (the default)" in capsys.readouterr().out


def test_an_average_of_runs_has_the_rule_set_that_they_have_in_common(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [make_run(tmp_path / name, rules) for name, rules in (("a", "brats2026"), ("b", "brats2024"))]
    note = {"run": str(runs[0]), "members": [{"run": str(run)} for run in runs]}
    (tmp_path / "predictions" / "predict.json").write_text(json.dumps(note))
    assert main(words) == 2
    message = capsys.readouterr().err
    assert f"one rule set, found brats2026 of {runs[0]}, brats2024 of {runs[1]}; name --rules" in message
    assert not (tmp_path / "out").exists()
    assert main([*words, "--rules", "brats2024"]) == 0
    (runs[1] / "config.yaml").write_text((runs[0] / "config.yaml").read_text())
    assert main(words) == 0
    assert rules_in(tmp_path / "out") == {"brats2026"}


def test_a_run_whose_settings_cannot_be_read_needs_a_rule_set(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", "brats2026")
    (run / "config.yaml").write_text("validate: {rules: brats1999}")
    (tmp_path / "predictions" / "predict.json").write_text(json.dumps({"run": str(run)}))
    assert main(words) == 2
    assert "the run's rule set cannot be read" in capsys.readouterr().err
    assert main([*words, "--rules", "brats2023"]) == 0


# ---------------------------------------------------------------- where the tables go


@pytest.mark.parametrize("named", ["run", "predictions", "other"])
def test_without_out_the_scores_lie_in_the_run_or_beside_the_maps(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], named: str
) -> None:
    predictions, references = tmp_path / "predictions", words[2]
    expected = predictions / "scores.csv"
    if named != "other":
        run = make_run(tmp_path / "run", "brats2023")
        shutil.copytree(predictions, run / "predictions", dirs_exist_ok=True)
        predictions, expected = (run if named == "run" else run / "predictions"), run / "scores.csv"
    assert main(["evaluate", str(predictions), references]) == 0
    assert f"scores in {expected}" in capsys.readouterr().out
    assert {row["case"] for row in read(expected)} == {"A", "B"}
    assert expected.with_name("lesions.csv").is_file()


def test_a_run_without_predictions_is_said(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", "brats2023")
    (run / "predictions").rmdir()
    assert main(["evaluate", str(run), words[2]]) == 2
    assert f"a run without predictions; make them with `mets3d predict {run} DATA`" in capsys.readouterr().err
    assert [file.name for file in run.iterdir()] == ["config.yaml"]


def test_folders_in_the_wrong_order_are_refused_in_one_line(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", "brats2026")
    shutil.copytree(tmp_path / "predictions", run / "predictions", dirs_exist_ok=True)
    assert main(["evaluate", words[2], str(run)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "expected mets3d evaluate PREDICTIONS REFERENCES, found predictions as REFERENCES: it is a run" in told
    assert not (tmp_path / "references" / "scores.csv").exists()


# ---------------------------------------------------------------- how cases were decoded


def record(predictions: Path, case: str, **told: str) -> None:
    size = (predictions / f"{case}.nii.gz").stat().st_size
    (predictions / "records").mkdir(exist_ok=True)
    content = {"recipe": "r", "files": {f"{case}.nii.gz": size}, **told}
    (predictions / "records" / f"{case}.json").write_text(json.dumps(content))


def test_how_cases_were_decoded_is_in_the_table_and_on_the_console(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    assert "decoding" not in read(tmp_path / "out" / "scores.csv")[0]
    assert "decoding:" not in capsys.readouterr().out
    record(tmp_path / "predictions", "A", decoding="tuned out-of-fold", decoding_rules="brats2026")
    record(tmp_path / "predictions", "B", decoding="tuned on this case", decoding_rules="brats2026")
    assert main(words) == 0
    rows = {row["case"]: row for row in read(tmp_path / "out" / "scores.csv")}
    assert {case: row["decoding"] for case, row in rows.items()} == {
        "A": "tuned out-of-fold",
        "B": "tuned on this case",
    }
    assert {row["decoding_rules"] for row in rows.values()} == {"brats2026"}
    assert list(rows["A"])[:3] == ["case", "region", "rules"]
    assert not [row for row in read(tmp_path / "out" / "cohort.csv") if "decoding" in row["score"]], "it is no score"
    printed = capsys.readouterr()
    assert "decoding: tuned out-of-fold (1), tuned on this case (1) by brats2026" in printed.out
    assert "the decoding of 1 case (B) was tuned on these very cases" in printed.err
    assert "tuned by brats2026 and these are scores by brats2023" in printed.err


def test_a_case_without_a_prediction_has_no_decoding(words: list[str], tmp_path: Path) -> None:
    for case in ("A", "B"):
        record(tmp_path / "predictions", case, decoding="default")
    (tmp_path / "predictions" / "B.nii.gz").unlink()
    assert main([*words, "--rules", "brats2026"]) == 0
    rows = {row["case"]: row["decoding"] for row in read(tmp_path / "out" / "scores.csv")}
    assert rows == {"A": "default", "B": ""}
