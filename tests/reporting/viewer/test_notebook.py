"""A case in a notebook: the viewer in a frame, of files, of a folder of predictions, of what a Predictor found."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import mets3d
from mets3d.data import DataError
from mets3d.data.cases import find_cases
from mets3d.reporting.viewer import assets
from mets3d.reporting.viewer.notebook import Segmented, View

SHAPE = (12, 10, 8)


class Found:
    """What a Predictor returns, by hand."""

    def __init__(self, shape=SHAPE, scans=None):
        self.labels = np.zeros(shape, np.uint8)
        self.labels[4:7, 3:6, 2:5] = 3
        self.probabilities = {name: 0.75 * (self.labels > 0).astype(np.float32) for name in ("WT", "TC", "ET")}
        self.uncertainty = np.zeros(shape, np.float32)
        place = {"i": 5, "j": 4, "k": 3}
        self.lesions = [
            {"region": region, "lesion": 1, "volume_mm3": 324.0, "peak_probability": 0.75, **place}
            for region in ("WT", "TC", "ET")
        ]
        self.case = None
        self.scans = scans


def arrays() -> tuple[dict[str, np.ndarray], tuple[float, float, float]]:
    image = np.full(SHAPE, -1.0)
    image[2:10, 2:9, 1:7] = np.random.default_rng(0).random((8, 7, 6))
    return {"t1c": image, "t2f": image[::-1]}, (2.0, 2.0, 3.0)


def shown(view: View) -> dict:
    page = html.unescape(re.search('srcdoc="(.*)"', view._repr_html_(), re.DOTALL)[1])
    return json.loads(re.search('class="case-data">(.*?)</script>', page, re.DOTALL)[1]) | {"page": page}


def names(view: View) -> list[str]:
    return [layer["name"] for layer in shown(view)["layers"]]


def test_a_case_and_its_predictions(data_set, make_run, tmp_path):
    case = data_set(("A",)) / "A"
    predictions = make_run(cases=("A",), data=tmp_path / "data") / "predictions"
    assert names(mets3d.view(case)) == ["t1c", "t2f", "Reference"]
    assert names(mets3d.view(str(case), predictions)) == ["t1c", "t2f", "Reference", "Prediction"]
    assert names(mets3d.view(case, predictions / "A.nii.gz")) == ["t1c", "t2f", "Reference", "Prediction"]
    (found,) = find_cases(case)
    assert names(mets3d.view(found)) == ["t1c", "t2f", "Reference"]
    assert found._repr_html_() == mets3d.view(case)._repr_html_()


def test_what_a_predictor_found_in_arrays(tmp_path):
    found = Found(scans=arrays())
    assert isinstance(found, Segmented)
    view = mets3d.view(found)
    data = shown(view)
    assert names(view) == [
        *("t1c", "t2f", "Prediction", "Probability of ET", "Probability of TC", "Probability of WT", "Uncertainty"),
    ]  # fmt: skip
    # The box of what is not background (-1), with a margin of two voxels where there is room.
    assert (data["shape"], data["first"]) == ([12, 10, 8], [0, 0, 0])
    places = re.findall('data-mm="(.*?)">(.*?)<', data["page"])
    assert places == [("10.000 8.000 9.000", f"{region} 1") for region in ("ET", "TC", "WT")]
    assert data["start_mm"] == [10.0, 8.0, 9.0]


def test_of_files_and_a_prediction_of_another_grid(data_set, tmp_path):
    case = data_set(("A",)) / "A"
    assert "(40, 36, 20) voxels, the segmentation has (12, 10, 8)" in mets3d.view(case, Found())._repr_html_()
    assert names(mets3d.view(case, Found((40, 36, 20))))[:4] == ["t1c", "t2f", "Reference", "Prediction"]


def test_the_page_holds_niivue_where_it_is_there(data_set, monkeypatch, tmp_path):
    view = mets3d.view(data_set(("A",)) / "A")
    script = tmp_path / "niivue.js"
    monkeypatch.setattr(assets, "NIIVUE", script)
    assert "a stand-in" not in view.page()
    script.write_text("var niivue = 'a stand-in </script>';", encoding="utf-8")
    page = view.page()
    assert "a stand-in <\\/script>" in page
    assert not re.search(r'(src|href)="(?!#|data:)', page.replace(script.read_text(), ""))


def test_mistakes_are_refused_and_broken_files_are_a_sentence(data_set, tmp_path):
    case = data_set(("A", "B")) / "A"
    with pytest.raises(FileNotFoundError, match="no such folder"):
        mets3d.view(tmp_path / "nowhere")
    with pytest.raises(DataError, match="expected the folder of one case, found 2 cases"):
        mets3d.view(case.parent)
    with pytest.raises(FileNotFoundError, match="name a label map, or a folder with one of A"):
        mets3d.view(case, tmp_path / "nothing.nii.gz")
    with pytest.raises(ValueError, match="knows its scans"):
        mets3d.view(Found())
    view = mets3d.view(case)
    for file in case.glob("*.nii.gz"):
        file.write_bytes(b"<b>")
    assert view._repr_html_().startswith("<p>A cannot be shown: ")
    shutil.rmtree(case)
    assert view._repr_html_().startswith("<p>A cannot be shown: ")


def test_it_imports_no_torch():
    code = "import sys, mets3d; mets3d.view; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


def test_a_view_is_one_line(data_set):
    assert repr(mets3d.view(data_set(("A",)) / "A")) == "View(A)"
    assert repr(mets3d.view(Found(scans=arrays()))) == "View(an array)"
