"""`mets3d check`: settings, exit codes and the file of findings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mets3d.__main__ import main
from mets3d.data.cases import Finding
from mets3d.data.check import CheckReport
from mets3d.data.wording import WHOLE_SET
from tests.builders.cases import make_case
from tests.builders.oddities import patient, patients
from tests.builders.summaries import summary


@pytest.fixture
def old_edition(tmp_path: Path) -> Path:
    """Three cases with label 4 for ET, and one without reference."""
    data = tmp_path / "data"
    patients(data, lambda volumes, _: {**volumes, "seg": np.where(volumes["seg"] == 3, 4, volumes["seg"])})
    make_case(data, "BraTS-MET-00009-000", volumes={**patient(9), "seg": None})
    return data


def test_an_error_of_the_whole_set_is_one_of_each_case_with_reference(old_edition: Path, tmp_path: Path) -> None:
    assert main(["check", str(old_edition), "--json", str(tmp_path / "found.json")]) == 1
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["unusable"] == [f"BraTS-MET-0000{number}-000" for number in (1, 2, 3)]
    assert [one["case"] for one in found["findings"] if one["severity"] == "error"] == [WHOLE_SET]
    assert len(found["overview"]) == 5


def test_the_map_that_is_advised_helps(old_edition: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(old_edition)]) == 1
    assert "write data.labels: {4: 3}" in capsys.readouterr().out
    assert main(["check", str(old_edition), "--data.labels={4: 3}"]) == 0
    assert "4 cases, all can be used (0 errors, 0 warnings, 0 notes)" in capsys.readouterr().out
    config = tmp_path / "own.yaml"
    config.write_text("data: {labels: {4: 3}}\n", encoding="utf-8")
    assert main(["check", str(old_edition), "--config", str(config)]) == 0


def test_every_finding_is_in_the_file_and_few_on_the_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    patients(data, lambda volumes, _: {**volumes, "seg": volumes["seg"] * 0}, cases=5)
    assert main(["check", str(data), "--json", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["findings"]
    assert sum(one["what"] == "empty reference" for one in found) == 5
    shown = [line for line in capsys.readouterr().out.splitlines() if "empty reference " in line]
    assert len(shown) == 4  # the count and three examples


def test_the_closing_line_of_a_large_set_is_short() -> None:
    cases = [summary(number) for number in range(1296)]
    findings = [Finding(case.name, "error", "broken", "file") for case in cases]
    report = CheckReport(Path("data"), [case.name for case in cases], findings, cases, ["overview"])
    closing = report.table().splitlines()[-1]
    assert closing.startswith("1,296 cases, 1,296 cannot be used: BraTS-MET-00000-000, ")
    assert closing.endswith("and 1,291 more (1,296 errors, 0 warnings, 0 notes)")
    assert len(report.table().splitlines()) < 10
