"""The files that a call of `lesion_scores` passes through: few, and those that docs/evaluation.md lists."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import mets3d
from mets3d.evaluation.lesions import lesion_scores
from mets3d.evaluation.rules import RULE_SETS
from tests.builders.runs import ROOT

PACKAGE = Path(mets3d.__file__).parent
MOST_FILES = 8


def files_of_a_call(rules: str) -> set[str]:
    reference = np.zeros((12, 12, 12), np.uint8)
    reference[2:6, 2:6, 2:6], reference[8:10, 8:10, 8:10] = 3, 1
    prediction = np.roll(reference, 1, axis=0)
    met: set[str] = set()

    def note(frame: FrameType, event: str, arg: Any) -> None:
        if event == "call":
            met.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        lesion_scores(prediction, reference, (1.0, 1.0, 1.5), rules=rules, compat="organisers")
    finally:
        sys.setprofile(None)
    return {str(Path(file).relative_to(PACKAGE)) for file in met if Path(file).is_relative_to(PACKAGE)}


@pytest.mark.parametrize("rules", [rule_set.name for rule_set in RULE_SETS])
def test_few_files_and_all_are_listed(rules: str) -> None:
    met = files_of_a_call(rules)
    listed = re.findall(
        r"^\d\. `mets3d/(\S+\.py)`", (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8"), re.M
    )
    assert len(listed) <= MOST_FILES
    assert met <= set(listed)
    assert "evaluation/lesions.py" in met
