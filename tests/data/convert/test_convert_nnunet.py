"""nnU-Net's own integrity check on what is converted; runs where METS3D_NNUNET names a Python with nnunetv2."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mets3d.data.convert import convert
from tests.builders.cases import RAS, make_case, two_lesions
from tests.data.convert.test_convert import LPS, msd

PYTHON = os.environ.get("METS3D_NNUNET", "")
CHECK = """
import sys
from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity
if __name__ == "__main__":
    verify_dataset_integrity(sys.argv[1], 1)
"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not PYTHON, reason="METS3D_NNUNET names no Python with nnunetv2")]


def verified(folder: Path, script: Path) -> None:
    script.write_text(CHECK, encoding="utf-8")
    places = {name: str(folder.parent) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    result = subprocess.run(
        [PYTHON, script, folder], env={**os.environ, **places, "PYTHONPATH": ""}, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Done" in result.stdout
    assert not any(word in result.stdout for word in ("Error", "mismatch", "not the same"))


def test_brats_cases_with_all_that_has_to_be_written(tmp_path: Path) -> None:
    cavity, almost = two_lesions(), RAS.copy()
    cavity[5, 5, 8] = 4
    almost[:, 3] += 0.05
    data = tmp_path / "D"
    make_case(data, "BraTS-MET-00001-000")
    make_case(data, "Zoë 2", volumes={"seg": cavity.astype(np.float32) + np.float32(1e-4)})
    make_case(data, "P_0003", affines={"t2w": almost, "seg": almost})
    make_case(data, "turned", affine=LPS, volumes={"seg": np.zeros_like(cavity)})
    make_case(data, "tested", volumes={"seg": None})
    done = convert(data, tmp_path / "Dataset001_X", "nnunet-v2")
    assert (len(done.learned), len(done.tested), done.faults) == (4, 1, {})
    verified(tmp_path / "Dataset001_X", tmp_path / "check.py")


def test_4d_files_of_msd(tmp_path: Path) -> None:
    done = convert(msd(tmp_path / "Task01"), tmp_path / "Dataset002_X", "nnunet-v2")
    assert done.faults == {}
    verified(tmp_path / "Dataset002_X", tmp_path / "check.py")
