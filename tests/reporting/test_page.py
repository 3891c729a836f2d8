"""Pages of one run."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from urllib.parse import unquote

import numpy as np
import pytest

from mets3d.reporting import report, summary_text
from tests.reporting.conftest import scores_shown

CASES = ("A", "B", "C", "D", "E", "F", "G")


def test_one_run_has_every_part_and_its_figures(make_run, data_set, scores_of, read_page, tmp_path):
    cases = CASES[:2]
    seen = []
    run = make_run(cases=cases, data=data_set(cases), scores=scores_of(cases, 0))
    index = report([run], tmp_path / "out", progress=lambda *step: seen.append(step))
    page = read_page(index)
    assert index == tmp_path / "out" / "index.html"
    assert sorted(file.name for file in (tmp_path / "out" / "figures").iterdir()) == [
        *("cohort_scores.svg", "lesions_A.svg", "lesions_B.svg", "slices_A.svg", "slices_B.svg", "training.svg"),
    ]
    headings = ("Scores on 2 held-out cases", "Slices and lesions", "Lesions and cohort", "What was trained")
    places = [index.read_text().index(f">{heading}</h2>") for heading in headings]
    assert places == sorted(places)
    assert [(done, total) for done, total, _ in seen] == [(1, 2), (2, 2)]
    for text in ("train.py --a=b", "1,234,567", "A, lesions by ET: 1 found, 0 missed, 0 false."):
        assert text in page.text


def test_the_page_loads_nothing_from_elsewhere(make_run, data_set, scores_of, read_page, tmp_path):
    run = make_run(cases=("A",), data=data_set(("A",)), scores=scores_of(("A",), 0))
    index = report([run], tmp_path / "out")
    page = read_page(index)
    assert len(page.sources) == 4  # slices and lesions of one case, training, cohort
    assert all(source.startswith("data:image/svg+xml,") for source in page.sources)
    assert not page.tags & {"link", "iframe", "object", "embed", "base", "form"}
    style = re.search(r"<style>(.*?)</style>", index.read_text(), re.DOTALL).group(1)
    assert "url(" not in style
    assert "@import" not in style
    for source in page.sources:
        svg = unquote(source.partition(",")[2])
        for element in ET.fromstring(svg).iter():
            loaded = [value for key, value in element.attrib.items() if key.endswith("href")]
            assert all(value.startswith(("data:image/png;base64,", "#")) for value in loaded)


def test_figure_files_are_the_figures_in_the_page(make_run, data_set, scores_of, read_page, tmp_path):
    run = make_run(cases=("A",), data=data_set(("A",)), scores=scores_of(("A",), 0))
    page = read_page(report([run], tmp_path / "out"))
    inside = {unquote(source.partition(",")[2]).encode() for source in page.sources}
    assert inside == {file.read_bytes() for file in (tmp_path / "out" / "figures").iterdir()}


def test_cases_of_the_training_are_not_scored(make_run, scores_of, read_page, tmp_path, empty_curves):
    scores = scores_of(("A", "B", "T1"), 6)
    page = read_page(report([make_run(cases=("A", "B"), scores=scores)], tmp_path / "out"))
    mean = np.mean([scores["A", "ET"]["dice"], scores["B", "ET"]["dice"]])
    assert "Scores on 2 held-out cases" in page.text
    assert scores_shown(page)["Whole-volume Dice", "mean ± SD"][2].startswith(f"{mean:.3f} ± ")
    assert "1 scored case was used in training and left out: T1." in page.text


def with_absent(scores, cases, false=()):
    """Scores with the region RC, of which there is nothing but the false lesions of some cases."""
    nothing = dict.fromkeys(("lesions_found", "lesions_missed", "lesions_false"), 0)
    return scores | {(case, "RC"): nothing | {"dice": 1.0, "lesions_false": int(case in false)} for case in cases}


def test_a_region_without_a_lesion_anywhere_is_left_out_and_named(make_run, scores_of, read_page, tmp_path):
    run = make_run("one", cases=("A", "B"), scores=with_absent(scores_of(("A", "B"), 0), ("A", "B")))
    page = read_page(report([run], tmp_path / "out"))
    named = "Left out: RC, of which no reference and no prediction has anything."
    assert named in page.text
    assert "RC" not in page.text.replace(named, "")
    figures = [file.read_text() for file in (tmp_path / "out" / "figures").iterdir()]
    assert not [svg for svg in figures if "RC" in re.sub(r"base64,[^\"]*", "", svg)]
    alike = make_run("alike", cases=("A", "B"), scores=with_absent(scores_of(("A", "B"), 2), ("A", "B")))
    pair = read_page(report([run, alike], tmp_path / "pair")).text
    assert pair.replace(named, "").count("RC") == 1, "in the ranking, which is the rule set's"
    other = make_run("two", cases=("A", "B"), scores=with_absent(scores_of(("A", "B"), 1), ("A", "B"), false="A"))
    assert "Left out" not in read_page(report([run, other], tmp_path / "both")).text  # one of them predicted it


def test_text_from_files_is_escaped(make_run, scores_of, tmp_path, empty_curves):
    hostile = "<script>alert('x')</script>&\"$body"
    environment = {"command": hostile, "device": hostile, "parameters": 5}
    run = make_run(cases=(hostile,), scores=scores_of((hostile,), 0), environment=environment)
    html = report([run], tmp_path / "out").read_text()
    assert html.count("<script") == 1  # the page's own
    escaped = html.replace("&#x27;", "&#39;").replace("&quot;", "&#34;")
    assert escaped.count("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&#34;$body") >= 3


def test_names_of_cases_are_escaped_beneath_their_slices(make_run, data_set, scores_of, tmp_path, empty_curves):
    name = '<i>&"A'
    run = make_run(cases=(name,), data=data_set((name,)), scores=scores_of((name,), 0))
    html = report([run], tmp_path / "out").read_text()
    assert "<figcaption>&lt;i&gt;&amp;&#34;A. Dice" in html
    assert 'alt="Slices of &lt;i&gt;&amp;&#34;A with' in html
    assert name not in html
    assert (tmp_path / "out" / "figures" / "slices__i___A.svg").exists()


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        ("scores.csv", "mets3d evaluate"),
        ("metrics.jsonl", "no training curves"),
        ("environment.json", "hardware, time and command are unknown"),
        ("split.json", "which cases were held out is unknown"),
        ("baseline.json", "no comparison with a threshold"),
        ("predictions", "mets3d predict"),
        ("predictions/predict.json", "the scans that were predicted are unknown"),
        ("data", "which slices need, are not at"),
    ],
)
def test_a_missing_piece_is_named_and_the_page_is_made(
    make_run, data_set, scores_of, read_page, tmp_path, empty_curves, missing, text
):
    baseline = {"per_case": {"A": 0.5}, "validation_dice": 0.5}
    run = make_run(cases=("A",), data=data_set(("A",)), scores=scores_of(("A",), 0), baseline=baseline)
    complete = read_page(report([run], tmp_path / "complete")).text
    assert text not in complete
    assert "Read this first" not in complete
    source = tmp_path / "data" if missing == "data" else run / missing
    source.rename(tmp_path / "gone")
    assert text in read_page(report([run], tmp_path / "out")).text


def test_a_run_directory_with_nothing_but_its_settings(make_run, read_page, tmp_path):
    run = make_run(environment=None, metrics=None, split=False)
    page = read_page(report([run], tmp_path / "out"))
    assert page.sources == []
    assert "mets3d predict" in page.text
    assert "mets3d evaluate" in summary_text(run)


def test_files_cut_off_are_named(make_run, scores_of, read_page, tmp_path, empty_curves):
    run = make_run(scores=scores_of(("A",), 0))
    with (run / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 99, "kind": "tr\n')
    (run / "environment.json").write_text("{")
    (run / "scores.csv").write_text("case,dice\nA,0.5\n")
    text = read_page(report([run], tmp_path / "out")).text
    assert "metrics.jsonl cannot be read" not in text  # a torn line is lost alone
    assert "environment.json cannot be read" in text
    assert "none called region, rules" in text


def test_a_prediction_on_another_grid_costs_only_its_own_slices(make_run, data_set, scores_of, read_page, tmp_path):
    import nibabel

    run = make_run(cases=("A", "B"), data=data_set(("A", "B")), scores=scores_of(("A", "B"), 0))
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 5, 5), np.uint8), np.eye(4)), run / "predictions" / "A.nii.gz")
    page = read_page(report([run], tmp_path / "out"))
    assert "No slices of A: A: the scan has (40, 36, 20) voxels, base has (5, 5, 5)" in page.text
    assert sorted(file.name for file in (tmp_path / "out" / "figures").glob("slices*")) == ["slices_B.svg"]


def test_not_a_run_directory(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(FileNotFoundError, match=r"config\.yaml missing"):
        report([tmp_path / "run"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_runs_and_the_same_run_twice(make_run, tmp_path):
    run = make_run()
    with pytest.raises(ValueError, match="at least one run directory"):
        report([], tmp_path / "out")
    with pytest.raises(ValueError, match="named twice"):
        report([run, run / ".." / "base"], tmp_path / "out")


def test_a_former_report_is_replaced_and_nothing_else_is(make_run, tmp_path, empty_curves):
    run, out = make_run(), tmp_path / "out"
    report([run], out)
    (out / "figures" / "old.svg").write_text("old")
    report([run], out)
    assert not (out / "figures" / "old.svg").exists()

    (out / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"not a former report \(found notes\.txt\)"):
        report([run], out)
    assert (out / "notes.txt").read_text() == "mine"

    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<html>another page</html>")
    with pytest.raises(FileExistsError, match=r"not a former report \(found index\.html\)"):
        report([run], tmp_path / "site")
    with pytest.raises(FileExistsError, match="is a file"):
        report([run], run / "config.yaml")
    with pytest.raises(FileExistsError, match="not a former report"):
        report([run], run)


def test_out_is_whole_or_absent(make_run, tmp_path, monkeypatch):
    run = make_run()
    monkeypatch.setattr("mets3d.reporting.page.training_curves", lambda record, figures: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report([run], tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["runs"]


def test_an_imported_run_does_not_claim_a_training(make_run, read_page, tmp_path):
    run = make_run(environment=None, metrics=None, split=False)
    (run / "plan.json").write_text(json.dumps({"imported_from": "fold0.model"}))
    text = read_page(report([run], tmp_path / "out")).text
    assert "weights imported from fold0.model" in text
    assert "trained for" not in text
    assert "AdamW, peak" not in text


def test_reporting_imports_no_torch():
    code = (
        "import sys, mets3d.reporting, mets3d.reporting.page, mets3d.data.nifti;"
        "heavy = {'torch', 'monai', 'accelerate', 'matplotlib.pyplot'} & set(sys.modules);"
        "print(sorted(heavy))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout.split() == [b"[]"]
