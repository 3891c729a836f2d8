"""A small data set with something of everything, and the page about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mets3d.reporting.explore import explore
from tests.builders.cases import SHAPE, make_case, two_lesions
from tests.builders.structure import Structure


@pytest.fixture(scope="package")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two time points of a patient, a cavity, an empty reference, a broken scan, a case without reference."""
    data = tmp_path_factory.mktemp("explore") / "small"
    cavity = two_lesions()
    cavity[7:9, 9:11, 5:7] = 4
    make_case(data, "MET-001-000")
    make_case(data, "MET-001-001", volumes={"seg": cavity})
    make_case(data, "MET-002-000", volumes={"seg": np.zeros(SHAPE, np.uint8)}, affine=np.diag([0.5, 0.5, 2.0, 1.0]))
    broken = make_case(data, "MET-003-000")
    broken.sequences["t2f"].path.write_bytes(b"nothing")
    make_case(data, "MET-004-000", volumes={"seg": None})
    return data


@pytest.fixture(scope="package")
def small_page(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `explore` wrote about it."""
    out = tmp_path_factory.mktemp("page") / "out"
    explore(small_data, out)
    return out


@pytest.fixture(scope="package")
def small_structure(small_page: Path) -> Structure:
    return Structure((small_page / "index.html").read_text(encoding="utf-8"))
