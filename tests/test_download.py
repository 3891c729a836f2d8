"""From a download to predictions by one configuration: every oddity at once, no file moved by hand."""

import csv
import json
from pathlib import Path

import pytest

from mets3d.__main__ import main
from mets3d.data.nifti import read_header
from mets3d.data.store import open_store
from tests.builders import download
from tests.builders.runs import train


@pytest.mark.slow
def test_a_download_with_every_oddity_gets_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = download.make_download(tmp_path)
    data, store, out = tmp_path / "data", tmp_path / "store", tmp_path / "out"

    assert main(["check", str(data), "--config", str(config)]) == 0
    told = capsys.readouterr().out
    assert "21 cases" in told
    assert "UCSD - Training" in told

    assert main(["preprocess", str(data), str(store), "--config", str(config), "--jobs", "1"]) == 0
    told = capsys.readouterr().out
    stored = open_store(store)
    expected = {*download.ATLAS, *download.OLD_EDITIONS, *download.EMPTY, download.REPAIRED, download.ILLEGAL}
    assert set(stored.cases) == expected | {download.INCOMPLETE}
    counts = stored.lesion_counts(["ET"])
    assert all(counts[name] > 0 for name in (*download.ATLAS, *download.OLD_EDITIONS, download.REPAIRED))
    assert all(counts[name] == 0 for name in download.EMPTY)

    assert train(config, "--train.steps=1") == 0
    capsys.readouterr()
    run = tmp_path / "runs" / "run"
    assert main(["predict", str(run), str(data), str(out)]) == 0
    predicted = {path.name.removesuffix(".nii.gz") for path in out.glob("*.nii.gz")}
    assert predicted == expected | {download.INCOMPLETE, download.EXCLUDED, *download.UNLABELLED}
    scan = data / download.TOP / "UCSD - Training" / download.REPAIRED / f"{download.REPAIRED}-t1c.nii.gz"
    theirs, ours = read_header(scan).source, read_header(out / f"{download.REPAIRED}.nii.gz").source
    assert ours.orientation == theirs.orientation == "PIR"
    assert ours.shape == theirs.shape

    # Cases without a reference, or left out, are predicted and named; the label that is left in one is background.
    assert main(["evaluate", str(out), str(data), "--out", str(tmp_path / "scores.csv"), "--config", str(config)]) == 1
    told = capsys.readouterr().err
    assert f"evaluate: {download.REPAIRED}" not in told, "scored by the corrected reference"
    with (tmp_path / "scores.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["case"] for row in rows} == expected | {download.INCOMPLETE}
    split = json.loads((run / "split.json").read_text(encoding="utf-8"))
    patients = split["patients"]
    sides = [{patients[name] for name in split[side]} for side in ("training", "validation")]
    assert {patients[name] for name in download.EMPTY} == {name.rpartition("-")[0] for name in download.EMPTY}
    assert not sides[0] & sides[1], "patients with two time points stay on one side"
